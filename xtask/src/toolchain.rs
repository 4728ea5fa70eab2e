//! What the BPF object is built with: one rustc, one linker, one standard library source.
//!
//! All three are pinned, since the object is compared to the byte.

mod library;
mod linker;
mod rustc;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::workspace;

pub(crate) use linker::VERSION as LINKER;
pub(crate) use rustc::Rustc;

/// Everything that is needed to compile for the BPF target.
pub(crate) struct Toolchain {
    /// The pinned compiler
    pub(crate) rustc: Rustc,
    /// The file of the pinned bpf-linker
    pub(crate) linker: PathBuf,
    /// A directory laid out like a sysroot that holds nothing but the library's source
    pub(crate) sysroot: PathBuf,
}

impl Toolchain {
    /// Finds the toolchain, and fetches what is missing.
    pub(crate) fn find(root: &Path) -> Result<Self> {
        let tools = workspace::bpf_tools(root);
        let rustc = Rustc::find()?;
        let linker = linker::find(&rustc, &tools)?;
        let source = library::find(&rustc, &tools)?;
        let sysroot = library::sysroot_of(&source, &tools)?;
        Ok(Self {
            rustc,
            linker,
            sysroot,
        })
    }

    /// The source that `-Z build-std` compiles.
    pub(crate) fn library(&self) -> PathBuf {
        self.sysroot.join(library::IN_SYSROOT)
    }
}
