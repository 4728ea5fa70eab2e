//! Which processes hold sockets, by what they have open.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    ffi::CStr,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd},
};

use foldhash::fast::FixedState;
use rustix::{
    fd::OwnedFd,
    fs::{CWD, Dir, Mode, OFlags},
    path::Arg,
};

use super::processes::start_time_ns;

/// A process that holds a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// When it started, as [`start_time_ns`] tells.
    pub started_ns: u64,
    /// Its number.
    pub pid: u32,
}

/// Which of all processes holds each of the sockets with these inodes. Of several that share one
/// (fork) it is the one that started first.
///
/// This reads a link for everything that any process has open: a second on a large host. Left
/// out are sockets of processes that the caller may not look at, those that no file descriptor
/// refers to (one may be under way in a message, or be registered with io_uring), and those of
/// a thread that has a table of files of its own.
pub(super) fn socket_holders(
    wanted: &HashSet<u32, FixedState>,
) -> HashMap<u32, Holder, FixedState> {
    let Ok(proc) = open_dir(CWD, "/proc") else { return HashMap::default() };
    socket_holders_among(entries(&proc).filter_map(|name| number(&name)), wanted)
}

/// The same, of these processes alone.
pub(super) fn socket_holders_among(
    pids: impl Iterator<Item = u32>,
    wanted: &HashSet<u32, FixedState>,
) -> HashMap<u32, Holder, FixedState> {
    let mut found = HashMap::default();
    for pid in pids {
        let Ok(files) = open_dir(CWD, format!("/proc/{pid}/fd")) else { continue };
        let sockets: HashSet<u32, FixedState> = entries(&files)
            .filter_map(|name| socket_inode(files.as_fd(), &name))
            .filter(|inode| wanted.contains(inode))
            .collect();
        if let Some(started_ns) = start_time_ns(pid).filter(|_| !sockets.is_empty()) {
            sockets.iter().for_each(|inode| keep(&mut found, *inode, Holder { started_ns, pid }));
        }
    }
    found
}

fn keep(found: &mut HashMap<u32, Holder, FixedState>, inode: u32, holder: Holder) {
    match found.entry(inode) {
        Entry::Occupied(mut first) => *first.get_mut() = holder.min(*first.get()),
        Entry::Vacant(vacant) => drop(vacant.insert(holder)),
    }
}

fn open_dir(dir: impl AsFd, path: impl Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, path, flags, Mode::empty())
}

/// The names in a directory; none if it is gone.
fn entries(dir: &OwnedFd) -> impl Iterator<Item = std::ffi::CString> {
    let entries = Dir::read_from(dir).into_iter().flatten();
    entries.map_while(Result::ok).map(|entry| entry.file_name().to_owned())
}

fn number(name: &CStr) -> Option<u32> {
    name.to_str().ok()?.parse().ok()
}

/// The inode of the socket that a link of /proc/PID/fd refers to.
fn socket_inode(files: BorrowedFd<'_>, name: &CStr) -> Option<u32> {
    // Longer targets are cut, and are no sockets.
    let mut buffer = [MaybeUninit::<u8>::uninit(); 32];
    let (target, _) = rustix::fs::readlinkat_raw(files, name, &mut buffer).ok()?;
    std::str::from_utf8(target).ok().and_then(label_inode)
}

/// The inode in `socket:[4026]`, how the kernel writes it:
/// [`sockfs_dname`](https://github.com/torvalds/linux/blob/v6.12/net/socket.c).
pub fn label_inode(label: &str) -> Option<u32> {
    label.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsRawFd};

    use super::*;

    #[test]
    fn labels_of_sockets_and_of_others() {
        assert_eq!(label_inode("socket:[4026]"), Some(4_026));
        for other in ["net:[4026]", "socket:[]", "socket:[1", "/dev/null", "socket:[4294967296]"] {
            assert_eq!(label_inode(other), None, "{other}");
        }
    }

    #[test]
    fn own_sockets_are_found_and_no_others() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let files = open_dir(CWD, "/proc/self/fd").unwrap();
        let name = std::ffi::CString::new(socket.as_raw_fd().to_string()).unwrap();
        let inode = socket_inode(files.as_fd(), &name).unwrap();
        let found = socket_holders(&[inode, 0].into_iter().collect());
        let pid = std::process::id();
        let own = Holder { started_ns: start_time_ns(pid).unwrap(), pid };
        assert_eq!(found, [(inode, own)].into_iter().collect());
        let among = |pids: &[u32]| {
            socket_holders_among(pids.iter().copied(), &[inode].into_iter().collect())
        };
        assert_eq!((among(&[pid, u32::MAX]), among(&[])), (found, HashMap::default()));
    }

    #[test]
    fn the_one_that_started_first_is_named() {
        let mut found = HashMap::default();
        let holders = [(7, 20), (3, 10), (9, 30)];
        for (pid, started_ns) in holders {
            keep(&mut found, 1, Holder { started_ns, pid });
        }
        assert_eq!(found[&1], Holder { started_ns: 10, pid: 3 });
    }
}
