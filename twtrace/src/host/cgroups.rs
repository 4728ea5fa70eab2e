//! Names of cgroups, and the containers in them.

use std::{
    collections::{HashMap, hash_map},
    fs,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Dir, FileType, Mode, OFlags},
    path::Arg,
};

use super::netns::unescape_mount;

/// The most cgroups that are remembered; later ones have no name.
pub const MAX_CGROUPS: usize = 100_000;

/// No more than one walk in this time.
const WALK_INTERVAL_NS: u64 = 1_000_000_000;

/// Beyond 1,000 cgroups this much for each: many times what a directory
/// costs, so that a host with very many does not walk all the time.
const WALK_INTERVAL_EACH_NS: u64 = 1_000_000;

/// Resolves ids of the cgroup v2 hierarchy to paths.
///
/// An id is the inode of the cgroup's directory, 64 bits, and the kernel does
/// not give it out again while the host runs
/// ([`kernfs_new_node`](https://github.com/torvalds/linux/blob/v6.12/fs/kernfs/dir.c)).
/// So what was found stays true, and what a walk did not find is gone for good.
#[derive(Debug)]
pub struct Cgroups {
    mounts: Vec<Mount>,
    /// `None` for ids that were asked for and not found.
    paths: HashMap<u64, Option<Box<str>>>,
    limit: usize,
    walked_ns: Option<u64>,
}

/// A mount of the v2 hierarchy, or of a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The cgroup that is mounted, as a path in the hierarchy; empty for its root.
    pub root: String,
    /// Where.
    pub point: PathBuf,
}

impl Cgroups {
    /// Finds where the v2 hierarchy is mounted. Without such a mount every id is unknown.
    pub fn new() -> Self {
        let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
        Self::with_mounts(parse_mounts(&String::from_utf8_lossy(&table)), MAX_CGROUPS)
    }

    fn with_mounts(mounts: Vec<Mount>, limit: usize) -> Self {
        Self { mounts, paths: HashMap::new(), limit, walked_ns: None }
    }

    /// The path of cgroup `id` from the root of the hierarchy, `/` for the root itself.
    ///
    /// `now_ns` is any clock that does not run backwards. Directories are
    /// walked when an id is new, at most once a second, and less often beyond
    /// 1,000 cgroups: until the next walk the id is unknown.
    pub fn path(&mut self, id: u64, now_ns: u64) -> Option<&str> {
        if !self.paths.contains_key(&id) && self.may_walk(now_ns) {
            self.walked_ns = Some(now_ns);
            self.walk();
            // Asked for before the walk, so it existed before; it will not appear later.
            self.remember(id, None);
        }
        self.paths.get(&id)?.as_deref()
    }

    fn may_walk(&self, now_ns: u64) -> bool {
        let interval = WALK_INTERVAL_NS.max(self.paths.len() as u64 * WALK_INTERVAL_EACH_NS);
        let due = |then| now_ns.saturating_sub(then) >= interval;
        !self.mounts.is_empty() && self.walked_ns.is_none_or(due)
    }

    /// What is there now goes in first, then old names as far as there is room:
    /// records of a cgroup may come after its end.
    fn walk(&mut self) {
        let old = std::mem::take(&mut self.paths);
        for mount in self.mounts.clone() {
            self.walk_mount(&mount);
        }
        for (id, path) in old {
            self.remember(id, path);
        }
    }

    fn walk_mount(&mut self, mount: &Mount) {
        let mut pending = Vec::new();
        if let Ok(stat) = rustix::fs::stat(&mount.point) {
            let name = if mount.root.is_empty() { "/" } else { &mount.root };
            if self.remember(stat.st_ino, Some(name.into())) {
                pending.push(mount.root.clone());
            }
        }
        while let Some(path) = pending.pop() {
            let below = path.strip_prefix(&mount.root).unwrap_or(&path).trim_start_matches('/');
            for (id, name) in child_directories(&mount.point.join(below)) {
                let child = format!("{path}/{name}");
                if self.remember(id, Some(child.as_str().into())) {
                    pending.push(child);
                }
            }
        }
    }

    /// Returns whether it was new and there was room.
    fn remember(&mut self, id: u64, path: Option<Box<str>>) -> bool {
        let full = self.paths.len() >= self.limit;
        match self.paths.entry(id) {
            hash_map::Entry::Vacant(entry) if !full => {
                entry.insert(path);
                true
            }
            hash_map::Entry::Vacant(_) | hash_map::Entry::Occupied(_) => false,
        }
    }
}

impl Default for Cgroups {
    fn default() -> Self {
        Self::new()
    }
}

/// Inode and name of each directory in `parent`; kernfs tells both and the
/// type without a stat. Nothing if `parent` is gone or forbidden.
///
/// Most cgroups are leaves, and to list their dozens of files costs several
/// times the stat that tells so: kernfs gives a directory two links and one
/// for each directory in it
/// ([`kernfs_refresh_inode`](https://github.com/torvalds/linux/blob/v6.12/fs/kernfs/inode.c)).
fn child_directories(parent: &Path) -> Vec<(u64, String)> {
    if rustix::fs::stat(parent).is_ok_and(|stat| stat.st_nlink == 2) {
        return Vec::new();
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let Ok(dir) = rustix::fs::openat(CWD, parent, flags, Mode::empty()).and_then(Dir::new) else {
        return Vec::new();
    };
    dir.map_while(Result::ok)
        .filter(|entry| entry.file_type() == FileType::Directory)
        .filter(|entry| !matches!(entry.file_name().to_bytes(), b"." | b".."))
        .filter_map(|entry| Some((entry.ino(), entry.file_name().as_str().ok()?.to_owned())))
        .collect()
}

/// The cgroup2 mounts of a mountinfo table
/// ([proc_pid_mountinfo(5)](https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html)),
/// those of more of the hierarchy first.
pub fn parse_mounts(mountinfo: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let mut fields = left.split(' ').skip(3);
        let (root, point) = (unescape_mount(fields.next()?), unescape_mount(fields.next()?));
        // A root above the caller's cgroup namespace has no path that would mean anything.
        let root = if root == "/" || root.starts_with("/..") { String::new() } else { root };
        right.starts_with("cgroup2 ").then(|| Mount { root, point: point.into() })
    };
    let mut mounts: Vec<Mount> = mountinfo.lines().filter_map(mount).collect();
    mounts.sort_by_key(|mount| mount.root.len());
    mounts
}

/// The length of the ids that Docker, containerd, CRI-O and Podman give.
const CONTAINER_ID: usize = 64;

/// The id of the container that a cgroup belongs to, of the innermost one if
/// they are nested; `None` if it is not in a container.
///
/// A component of the path names one if it is 64 lower-case hexadecimal
/// digits, alone (cgroupfs driver) or behind the name of the runtime (systemd
/// driver). Supervisors such as `libpod-conmon-ID` are not in the container.
pub fn container_id(path: &str) -> Option<&str> {
    path.rsplit('/').find_map(|component| {
        let unit = component.strip_suffix(".scope").unwrap_or(component);
        let (runtime, id) = match unit.rfind(['-', ':']) {
            Some(at) => (&unit[..at], &unit[at + 1..]),
            None => ("", unit),
        };
        let is_id = id.len() == CONTAINER_ID
            && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (is_id && !runtime.ends_with("conmon")).then_some(id)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use proptest::prelude::*;

    use super::*;

    const ID: &str = "3fa1c1e2d4b5968778695a4b3c2d1e0ff0e1d2c3b4a5968778695a4b3c2d1e0f";
    const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000000";

    #[test]
    fn containers_in_real_paths() {
        for path in [
            "/system.slice/docker-ID.scope",
            "/system.slice/docker-ID.scope/init.scope",
            "/docker/ID",
            "/docker/ID/system.slice/nginx.service",
            "/docker/OTHER/docker/ID",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod6d9a_b1.slice/cri-containerd-ID.scope",
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/crio-ID.scope",
            "/kubepods.slice/kubepods-pod1.slice/docker-ID.scope",
            "/kubepods/burstable/podc3c1f2a8-0b7e-4a6e-9c55-1f2e3d4c5b6a/ID",
            "/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:ID",
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod1.slice/cri-containerd-ID.scope",
            "/machine.slice/libpod-ID.scope",
            "/machine.slice/libpod-ID.scope/container",
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
            "/libpod_parent/libpod-ID",
            "/ecs/0123456789abcdef0123456789abcdef/ID",
            "/actions_job/ID",
            "/default/ID",
        ] {
            let path = path.replace("ID", ID).replace("OTHER", OTHER);
            assert_eq!(container_id(&path), Some(ID), "{path}");
        }
    }

    #[test]
    fn no_containers() {
        for path in [
            "",
            "/",
            "/system.slice/ssh.service",
            "/user.slice/user-1000.slice/session-3.scope",
            "/machine.slice/libpod-conmon-ID.scope",
            "/kubepods.slice/kubepods-pod1.slice/crio-conmon-ID.scope",
            "/some.service/2ae7f7cba99d8c2a5a2dc919b5fb5412",
            "/kubepods/burstable/podc3c1f2a8-0b7e-4a6e-9c55-1f2e3d4c5b6a",
            "/ecs/0123456789abcdef0123456789abcdef-1234567890",
            "/lxc.payload.web",
            "/docker/IDa",
            "/docker/aID",
            "/system.slice/docker-ID.mount",
            "/docker-ID.scope.scope",
        ] {
            let path = path.replace("ID", ID);
            assert_eq!(container_id(&path), None, "{path}");
        }
        assert_eq!(container_id(&ID.to_uppercase()), None);
        assert_eq!(container_id(&ID[1..]), None);
    }

    #[test]
    fn mounts_of_v2_only() {
        let table = "\
38 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
60 31 0:38 /docker/x /mnt/part\\040of rw - cgroup2 cgroup2 rw
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
61 31 0:38 /../.. /above rw - cgroup2 none rw
62 31 0:38
";
        let mounts = parse_mounts(table);
        let found: Vec<_> = mounts
            .iter()
            .map(|mount| (mount.root.as_str(), mount.point.to_str().unwrap()))
            .collect();
        assert_eq!(
            found,
            [("", "/sys/fs/cgroup/unified"), ("", "/above"), ("/docker/x", "/mnt/part of")]
        );
    }

    /// Any tree has inodes; cgroupfs is not needed to walk one.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let tree =
                Self(std::env::temp_dir().join(format!("twtrace-{name}-{}", std::process::id())));
            tree.add("a/b");
            tree
        }

        fn add(&self, path: &str) -> u64 {
            fs::create_dir_all(self.0.join(path)).unwrap();
            fs::metadata(self.0.join(path)).unwrap().ino()
        }

        fn cgroups(&self, root: &str, limit: usize) -> Cgroups {
            let mount = Mount { root: root.into(), point: self.0.clone() };
            Cgroups::with_mounts(vec![mount.clone(), mount], limit)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn ids_become_paths_and_a_miss_walks_once_a_second() {
        let tree = Tree::new("walk");
        let (root, inner) = (tree.add(""), tree.add("a/b"));
        let mut cgroups = tree.cgroups("", 100);
        assert_eq!(cgroups.path(inner, 0), Some("/a/b"));
        assert_eq!(cgroups.path(root, 0), Some("/"));
        let late = tree.add("late");
        assert_eq!(cgroups.path(late, WALK_INTERVAL_NS - 1), None);
        assert_eq!(cgroups.path(late, WALK_INTERVAL_NS), Some("/late"));
    }

    #[test]
    fn a_gone_cgroup_keeps_its_name_and_an_unknown_one_costs_one_walk() {
        let tree = Tree::new("gone");
        let inner = tree.add("a/b");
        let mut cgroups = tree.cgroups("/docker/x", 100);
        assert_eq!(cgroups.path(inner, 0), Some("/docker/x/a/b"));
        fs::remove_dir(tree.0.join("a/b")).unwrap();
        assert_eq!(cgroups.path(u64::MAX, 2 * WALK_INTERVAL_NS), None);
        assert_eq!(cgroups.path(inner, 2 * WALK_INTERVAL_NS), Some("/docker/x/a/b"));
        let walked = cgroups.walked_ns;
        assert_eq!(cgroups.path(u64::MAX, 9 * WALK_INTERVAL_NS), None);
        assert_eq!(cgroups.walked_ns, walked, "known to be gone");
    }

    #[test]
    fn the_number_of_names_is_bounded() {
        let tree = Tree::new("bound");
        for n in 0..20 {
            tree.add(&n.to_string());
        }
        let mut cgroups = tree.cgroups("", 5);
        for id in 0..50 {
            let _ = cgroups.path(u64::MAX - id, id * WALK_INTERVAL_NS);
        }
        assert_eq!(cgroups.paths.len(), 5);
    }

    #[test]
    fn without_a_mount_nothing_is_known() {
        assert_eq!(Cgroups::with_mounts(Vec::new(), 10).path(1, 0), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(?s).*") {
            let _ = (container_id(&text), parse_mounts(&text));
        }
    }
}
