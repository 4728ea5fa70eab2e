//! Lets the kernel measure how long programs run.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use aya::sys::{Stats, enable_stats};

/// As long as this is there, the kernel measures each run of each program, which makes runs a
/// little longer.
#[derive(Debug)]
pub struct Measuring(#[expect(dead_code, reason = "it is held, and no more")] OwnedFd);

impl Measuring {
    /// From now on.
    ///
    /// # Errors
    /// Without `CAP_SYS_ADMIN`.
    pub fn start() -> Result<Self> {
        let measuring = enable_stats(Stats::RunTime);
        Ok(Self(measuring.context("the kernel measures programs only with CAP_SYS_ADMIN")?))
    }
}
