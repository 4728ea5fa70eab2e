//! What the BPF object is built with: one rustc, one linker, one standard library source.
//!
//! All three are pinned, since the object is compared to the byte.

mod library;
mod linker;
mod rustc;
mod sysroot;

use std::path::{Path, PathBuf};
use std::process::Command;

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
    /// What the compiler takes for its home, with the library's source in it
    sysroot: PathBuf,
    /// The compiler with that sysroot
    shim: PathBuf,
}

impl Toolchain {
    /// Finds the toolchain, and fetches what is missing.
    pub(crate) fn find(root: &Path) -> Result<Self> {
        let tools = workspace::bpf_tools(root);
        let rustc = Rustc::find()?;
        let linker = linker::find(&rustc, &tools)?;
        let source = library::find(&rustc, &tools)?;
        let sysroot = sysroot::lay_out(&rustc, &source, &tools)?;
        let shim = sysroot::shim(&rustc, &sysroot, &tools)?;
        Ok(Self { rustc, linker, sysroot, shim })
    }

    /// The source that `-Z build-std` compiles.
    pub(crate) fn library(&self) -> PathBuf {
        self.sysroot.join(library::IN_SYSROOT)
    }

    /// A program of the toolchain that compiles with the sysroot made here.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = self.rustc.command(&self.rustc.tool(program));
        command.env("RUSTC", &self.shim);
        command
    }
}
