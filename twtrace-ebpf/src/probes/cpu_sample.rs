//! What each processor is doing, looked at many times a second: is it searching a
//! port, and for whom?
//!
//! The timer that asks interrupts the processor, and the kernel hands out the stack
//! that it interrupted, innermost function first
//! ([`bpf_get_stack_pe`](https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/stackmap.c)).
//! A softirq that came in between is not the search's cost, so the first function that
//! means something decides.

#![expect(clippy::needless_pass_by_value, reason = "aya hands programs their context by value")]

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext,
    bindings::bpf_perf_event_data,
    helpers::{self, generated},
    macros::perf_event,
    programs::PerfEventContext,
};
use twtrace_common::Doing;

use crate::{
    emit, globals,
    memory::{self, Probed},
    process, wanted,
};

/// Innermost functions looked at. What a search calls is not deep; where it is not
/// among so many, something interrupted it.
const FRAMES: usize = 8;

#[perf_event]
fn cpu_sample(ctx: PerfEventContext) -> u32 {
    // To ask for the stack costs ten times what this does. The idle task has the number 0.
    if in_user_mode(&ctx) || helpers::bpf_get_current_pid_tgid() == 0 {
        return 0;
    }
    match doing(&ctx) {
        Doing::Connect => found(true),
        Doing::Bind => found(false),
        Doing::Nothing | Doing::Softirq => {}
    }
    0
}

/// The upper half of the addresses is the kernel's.
#[inline(always)]
fn in_user_mode(ctx: &PerfEventContext) -> bool {
    let data = ctx.as_ptr().cast::<bpf_perf_event_data>();
    // SAFETY: the verifier knows the context. Volatile keeps the load whole: the kernel
    // refuses half of it.
    let interrupted_at = unsafe {
        #[cfg(bpf_target_arch = "x86_64")]
        let register = &raw const (*data).regs.rip;
        #[cfg(bpf_target_arch = "aarch64")]
        let register = &raw const (*data).regs.pc;
        core::ptr::read_volatile(register)
    };
    interrupted_at >> 63 == 0
}

#[inline(always)]
fn found(connects: bool) {
    // Of a sample the process is known, and not the socket.
    if wanted::netns(process::netns()) {
        emit::sample(connects, process::current::<Probed>());
    }
}

#[inline(always)]
fn doing(ctx: &PerfEventContext) -> Doing {
    // The helper writes the frames there are, and no more.
    let mut room = MaybeUninit::uninit();
    let frames: &mut [u64; FRAMES] = memory::zero(&mut room);
    // SAFETY: the helper writes at most the size of the array.
    let written = unsafe {
        generated::bpf_get_stack(
            ctx.as_ptr(),
            frames.as_mut_ptr().cast(),
            size_of_val(frames) as u32,
            0,
        )
    };
    if written <= 0 {
        return Doing::Nothing;
    }
    for &mut frame in frames {
        for known in globals::sampled() {
            // A return address lies behind its call, which may be a function's last.
            if frame > known.start && frame <= known.end {
                return known.doing;
            }
        }
    }
    Doing::Nothing
}
