//! A cgroup that no process is in.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Where the second version of cgroups is mounted.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// What it is called, from the root of the hierarchy.
pub(super) const PATH: &str = "/twtrace-bench";

/// Removed when dropped.
pub(super) struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes it, or finds the one of a bench that was killed.
    pub(super) fn make() -> Result<Self> {
        let has_version_2 = |root: &&&str| fs::metadata(format!("{root}/cgroup.procs")).is_ok();
        let root = ROOTS.iter().find(has_version_2);
        let root = root.context("no cgroups of version 2 are mounted here")?;
        let dir = PathBuf::from(format!("{root}{PATH}"));
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Fails only if somebody has put a process into it, whose it is then.
        let _ = fs::remove_dir(&self.0);
    }
}
