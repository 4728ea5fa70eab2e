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

/// Our own cgroup of the v2 hierarchy.
fn own() -> PathBuf {
    let own = fs::read_to_string("/proc/self/cgroup").expect("our cgroups");
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).expect("cgroup v2");
    v2_mount().join(own)
}

/// The names of the processes in the cgroup `name` below ours; none if there is no such cgroup.
pub fn processes_in(name: &str) -> Vec<String> {
    let pids = fs::read_to_string(own().join(name).join("cgroup.procs")).unwrap_or_default();
    // One may have ended since.
    let comms = pids.lines().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok());
    comms.map(|comm| comm.trim_end().to_owned()).collect()
}

/// The cgroups that `twtrace ports` has made below ours, by name.
pub fn command_cgroups() -> Vec<String> {
    let listed = fs::read_dir(own()).expect("our own cgroup");
    let names = listed.map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("twtrace-ports-")).collect()
}

fn v2_mount() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
    let v2 = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let point = v2.and_then(|line| line.split(' ').nth(4));
    PathBuf::from(point.expect("cgroup v2 is mounted nowhere: this test cannot run here"))
}
