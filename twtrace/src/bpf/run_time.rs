//! Lets the kernel measure how long programs run.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use aya::sys::{Stats, enable_stats};

use crate::host::Reach;

/// As long as this is there, the kernel measures each run of each program, which makes runs a
/// little longer.
#[derive(Debug)]
pub struct Measuring(#[expect(dead_code, reason = "it is held, and no more")] OwnedFd);

impl Measuring {
    /// From now on, with our own rights or through a helper.
    ///
    /// # Errors
    /// Without `CAP_SYS_ADMIN`, and without a helper that has it.
    pub fn start(reach: &Reach) -> Result<Self> {
        reach.measuring().unwrap_or_else(open).map(Self)
    }
}

/// What the kernel measures as long as it is open.
///
/// # Errors
/// Without `CAP_SYS_ADMIN`.
pub fn open() -> Result<OwnedFd> {
    enable_stats(Stats::RunTime).context("the kernel measures programs only with CAP_SYS_ADMIN")
}
