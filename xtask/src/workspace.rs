//! Where things lie in the checkout.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::bpf::Arch;

/// The root of the workspace.
///
/// What cargo says at run time comes first: one target directory may serve several checkouts,
/// and the path known at compile time is then that of another one.
pub(crate) fn root() -> Result<PathBuf> {
    let manifest =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let root = Path::new(&manifest)
        .parent()
        .context("xtask lies in no workspace: run `cargo xtask` inside the checkout")?;
    root.canonicalize()
        .with_context(|| format!("{} is gone: run `cargo xtask` inside it", root.display()))
}

/// What `cargo xtask bpf` builds in. Fixed, whatever CARGO_TARGET_DIR says: host builds and BPF
/// builds must not throw each other's work away.
pub(crate) fn bpf_target(root: &Path) -> PathBuf {
    root.join("target/bpf")
}

/// The tools and sources that were fetched to build the BPF object.
pub(crate) fn bpf_tools(root: &Path) -> PathBuf {
    root.join("target/bpf-tools")
}

/// Kernels of `cargo xtask vm`, the twtrace that it runs in them, and what they said.
pub(crate) fn vm(root: &Path) -> PathBuf {
    root.join("target/vm")
}

/// What the program that is shipped is built in.
pub(crate) fn shipped(root: &Path) -> PathBuf {
    root.join("target/shipped")
}

/// Packages, and what they are made of.
pub(crate) fn dist(root: &Path) -> PathBuf {
    root.join("target/dist")
}

/// A Debian to install packages on.
pub(crate) fn debian(root: &Path) -> PathBuf {
    root.join("target/debian")
}

/// Tests with AddressSanitizer.
pub(crate) fn asan(root: &Path) -> PathBuf {
    root.join("target/asan")
}

/// Programs that were compiled to check the checkout with.
pub(crate) fn tools(root: &Path) -> PathBuf {
    root.join("target/tools")
}

/// What the last soak came to.
pub(crate) fn soak(root: &Path) -> PathBuf {
    root.join("target/soak")
}

/// The fuzz targets, what they found new, and what they crashed on.
pub(crate) fn fuzz(root: &Path) -> PathBuf {
    root.join("target/fuzz")
}

/// What was run on which kernel.
pub(crate) fn kernel_support(root: &Path) -> PathBuf {
    root.join("docs/kernel-support.md")
}

/// The object that users of an architecture load.
pub(crate) fn committed_object(root: &Path, arch: Arch) -> PathBuf {
    root.join(format!("twtrace/bpf/twtrace.{}.bpf.o", arch.name()))
}

/// What the committed objects were built from.
pub(crate) fn committed_provenance(root: &Path) -> PathBuf {
    root.join("twtrace/bpf/provenance.toml")
}
