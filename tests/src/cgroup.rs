//! Cgroups that belong to one test.

use std::fs;
use std::path::{Path, PathBuf};

/// A cgroup of the v2 hierarchy, right below its root; gone with this value.
pub struct Cgroup {
    root: PathBuf,
    directory: PathBuf,
}

impl Cgroup {
    /// An empty one of this name.
    pub fn new(name: &str) -> Self {
        let root = v2_mount();
        let directory = root.join(name);
        fs::create_dir(&directory).expect("making a cgroup takes root and cgroup v2");
        Self { root, directory }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Where the root of the hierarchy is.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process may still be in it, and must not hide the test's own failure.
        let _ = fs::remove_dir(&self.directory);
    }
}

fn v2_mount() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
    let v2 = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let point = v2.and_then(|line| line.split(' ').nth(4));
    PathBuf::from(point.expect("cgroup v2 is mounted nowhere: this test cannot run here"))
}
