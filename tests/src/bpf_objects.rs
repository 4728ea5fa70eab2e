//! The BPF programs, maps and links that a process has made, and whether they still exist.

use std::fs;
use std::time::{Duration, Instant};

use crate::wait_for;

/// A BPF program, map or link, by the number the kernel gives to no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BpfObject {
    /// A program.
    Program(u32),
    /// A map.
    Map(u32),
    /// What attaches a program to its hook, such as a cgroup.
    Link(u32),
}

/// Those that process `pid` holds open.
pub fn held_by(pid: u32) -> Vec<BpfObject> {
    let dir = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("cannot list {dir}: {error}"));
    let mut objects = Vec::new();
    for entry in entries.flatten() {
        // A descriptor may be closed between the two looks.
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let id = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key))?;
            value.trim().parse().ok()
        };
        // A link tells the program it runs.
        objects.extend(id("prog_id:").map(BpfObject::Program));
        objects.extend(id("map_id:").map(BpfObject::Map));
        objects.extend(id("link_id:").map(BpfObject::Link));
    }
    objects.sort_unstable();
    objects.dedup();
    objects
}

/// How many links to a cgroup it holds open.
pub fn cgroup_links_of(pid: u32) -> usize {
    let dir = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("cannot list {dir}: {error}"));
    let texts = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let is_cgroup = |line: &str| line.strip_prefix("link_type:").map(str::trim) == Some("cgroup");
    texts.filter(|text| text.lines().any(is_cgroup)).count()
}

impl BpfObject {
    /// Whether the kernel still has it, whoever holds it.
    pub fn exists(self) -> bool {
        /// <https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/bpf.h#L924-L925>
        const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
        const BPF_MAP_GET_FD_BY_ID: libc::c_long = 14;
        const BPF_LINK_GET_FD_BY_ID: libc::c_long = 30;

        /// The member of `union bpf_attr` that these commands use.
        #[repr(C)]
        struct GetFdById {
            id: u32,
            next_id: u32,
            open_flags: u32,
        }

        let (command, id) = match self {
            Self::Program(id) => (BPF_PROG_GET_FD_BY_ID, id),
            Self::Map(id) => (BPF_MAP_GET_FD_BY_ID, id),
            Self::Link(id) => (BPF_LINK_GET_FD_BY_ID, id),
        };
        let attr = GetFdById { id, next_id: 0, open_flags: 0 };
        // SAFETY: bpf(2) reads `size` bytes from `attr`, which lives across the call and has
        // exactly that size; these commands write nothing back.
        let fd =
            unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attr, size_of_val(&attr)) };
        if fd >= 0 {
            // SAFETY: the call above has just returned this descriptor, and nobody else has it.
            unsafe { libc::close(fd as libc::c_int) };
            return true;
        }
        let error = std::io::Error::last_os_error();
        assert_eq!(
            error.raw_os_error(),
            Some(libc::ENOENT),
            "asking for BPF objects by number needs CAP_SYS_ADMIN: {error}"
        );
        false
    }
}

/// Waits until a tool has attached: it holds objects, and for a while no others.
#[track_caller]
pub fn wait_until_attached(pid: u32) {
    const STEADY: Duration = Duration::from_millis(500);
    let (mut count, mut since) = (0, Instant::now());
    wait_for("the tool to attach", Duration::from_secs(20), || {
        let held = held_by(pid).len();
        if held != count {
            (count, since) = (held, Instant::now());
        }
        (count > 0 && since.elapsed() >= STEADY).then_some(())
    });
}
