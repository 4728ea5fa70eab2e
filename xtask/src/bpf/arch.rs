//! The CPU architectures that objects are built for.
//!
//! A breakpoint hands its program the CPU's registers, and in which of them the
//! arguments are the object has to know.

use std::env::consts;

use anyhow::{Context, Result};

/// An architecture that twtrace runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arch {
    X86_64,
    Aarch64,
}

impl Arch {
    pub(crate) const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// As Rust and aya name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// That of this machine.
    pub(crate) fn host() -> Result<Self> {
        let host = Self::ALL.into_iter().find(|arch| arch.name() == consts::ARCH);
        host.with_context(|| format!("there is no BPF object for {}", consts::ARCH))
    }
}
