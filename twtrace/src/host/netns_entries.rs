//! By what a command gets into a network namespace.

use std::{collections::BTreeMap, fs, path::PathBuf};

use super::netns::{link_inode, mounted_namespaces};

/// How a network namespace is entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetnsEntry {
    /// As a process does that is in it: `nsenter --target PID --net`.
    Process(u32),
    /// By a file: `nsenter --net=FILE`.
    File(PathBuf),
}

/// Of every namespace that has one: by a file, which stays, before the process that has the
/// lowest number.
pub fn netns_entries() -> BTreeMap<u32, NetnsEntry> {
    let mut found = BTreeMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> =
        processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    for pid in pids {
        if let Ok(inode) = link_inode(rustix::fs::CWD, &format!("/proc/{pid}/ns/net")) {
            found.entry(inode).or_insert(NetnsEntry::Process(pid));
        }
    }
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    for (inode, path) in mounted_namespaces(&String::from_utf8_lossy(&mounts)) {
        found.insert(inode, NetnsEntry::File(path));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_has_an_entry() {
        assert!(netns_entries().contains_key(&crate::host::own().unwrap().inode));
    }
}
