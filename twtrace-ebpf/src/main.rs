//! twtrace's BPF programs.
//!
//! Each program in [`probes`] is one hook: it takes its arguments, and hands
//! over to a body that all tiers share. The rest is what those bodies need:
//! [`globals`] that user space sets before loading, [`maps`], [`memory`],
//! [`sock`] and [`mini`] (the only readers of kernel memory), [`process`],
//! [`processor`], [`wanted`], [`connecting`], [`verdict`], [`searching`], [`counting`] and
//! [`emit`].
//!
//! Build it with `cargo xtask bpf`. On the host this crate is an empty program,
//! so that `cargo build --workspace` needs nothing special.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod connecting;
#[cfg(target_arch = "bpf")]
mod counting;
#[cfg(target_arch = "bpf")]
mod emit;
#[cfg(target_arch = "bpf")]
mod globals;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod memory;
#[cfg(target_arch = "bpf")]
mod mini;
#[cfg(target_arch = "bpf")]
mod probes;
#[cfg(target_arch = "bpf")]
mod process;
#[cfg(target_arch = "bpf")]
mod processor;
#[cfg(target_arch = "bpf")]
mod searching;
#[cfg(target_arch = "bpf")]
mod sock;
#[cfg(target_arch = "bpf")]
mod verdict;
#[cfg(target_arch = "bpf")]
mod wanted;

#[cfg(target_arch = "bpf")]
mod licence {
    /// Helpers that read kernel memory are for GPL-compatible programs only.
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}

/// A panic that survives optimisation is an endless loop, which the verifier
/// refuses: it must never be turned into undefined behaviour instead.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("these are BPF programs: build them with `cargo xtask bpf`");
    std::process::exit(2);
}
