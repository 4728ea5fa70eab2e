//! Which BPF object runs: the one built into twtrace, or one the user names.

use std::{borrow::Cow, fs, path::Path};

use anyhow::{Context, Result, ensure};

/// Built by `cargo xtask bpf`; `cargo xtask bpf --check` proves that it is
/// what the source in twtrace-ebpf gives.
#[cfg(target_arch = "x86_64")]
static EMBEDDED: &[u8] = aya::include_bytes_aligned!("../../bpf/twtrace.x86_64.bpf.o");
/// As above; registers have other names there.
#[cfg(target_arch = "aarch64")]
static EMBEDDED: &[u8] = aya::include_bytes_aligned!("../../bpf/twtrace.aarch64.bpf.o");
/// The first bytes of any ELF file.
const ELF_MAGIC: &[u8] = b"\x7fELF";

/// The bytes of the object to load: of `file`, or the embedded one.
///
/// # Errors
/// A file that cannot be read or is no ELF object.
pub fn bytes(file: Option<&Path>) -> Result<Cow<'static, [u8]>> {
    let Some(path) = file else {
        return Ok(Cow::Borrowed(EMBEDDED));
    };
    let name = path.display();
    let bytes = fs::read(path).with_context(|| {
        format!("cannot read the BPF object {name}: build one with `cargo xtask bpf -o FILE`")
    })?;
    ensure!(
        bytes.starts_with(ELF_MAGIC),
        "{name} is not a BPF object: build one with `cargo xtask bpf -o FILE`"
    );
    Ok(Cow::Owned(bytes))
}
