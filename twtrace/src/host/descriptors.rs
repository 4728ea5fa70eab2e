//! How many files processes have open, of as many as they may.

use std::{fs, io};

use anyhow::{Context as _, Result};

use super::{netns::link_inode, processes::comm};

/// A process and the files that it has open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// Its number.
    pub pid: u32,
    /// Its name; `None` if it is gone.
    pub comm: Option<String>,
    /// The network namespace of its main thread; `None` if that may not be seen.
    pub netns: Option<u32>,
    /// Open now.
    pub open: u64,
    /// From here on open(), socket() and accept() fail with EMFILE.
    pub limit: u64,
    /// How far the process may raise that itself; `None` without end.
    pub hard_limit: Option<u64>,
}

/// What [`descriptors`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptors {
    /// Those that have most of theirs open.
    pub full: Vec<OpenFiles>,
    /// Processes that may not be looked at.
    pub unreadable: usize,
}

/// The processes that have at least `ratio` of the files open that they may, the fullest first.
///
/// Two looks at each process: since Linux 6.2 the number is a property of the directory
/// /proc/PID/fd, and anybody may see it
/// ([`proc_fd_getattr`](https://github.com/torvalds/linux/blob/v6.12/fs/proc/fd.c)); before, the
/// directory is read, which takes `CAP_SYS_PTRACE` for processes of others. A thread that has a
/// table of files of its own is left out.
///
/// # Errors
/// /proc cannot be listed.
pub fn descriptors(ratio: f64) -> Result<Descriptors> {
    let told = tells_number();
    let mut found = Descriptors::default();
    for entry in fs::read_dir("/proc").context("cannot list /proc: mount it")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        match look(pid, told, ratio) {
            Ok(full) => found.full.extend(full),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => found.unreadable += 1,
            // It is gone.
            Err(_) => {}
        }
    }
    found.full.sort_by_key(|it| std::cmp::Reverse(it.open * 1_000 / it.limit.max(1)));
    Ok(found)
}

/// Whether this kernel tells how many files are open; we have some.
fn tells_number() -> bool {
    fs::metadata("/proc/self/fd").is_ok_and(|it| it.len() > 0)
}

/// `None` if it has less open.
fn look(pid: u32, told: bool, ratio: f64) -> io::Result<Option<OpenFiles>> {
    let path = format!("/proc/{pid}/fd");
    let open =
        if told { fs::metadata(path)?.len() } else { fs::read_dir(path)?.flatten().count() as u64 };
    // A process without any is a kernel thread, or is about to be gone.
    if open == 0 {
        return Ok(None);
    }
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let Some((limit, hard_limit)) = parse_limits(&limits) else { return Ok(None) };
    Ok((open as f64 >= limit as f64 * ratio).then(|| OpenFiles {
        pid,
        comm: comm(pid).map(|name| String::from_utf8_lossy(&name).into_owned()),
        netns: link_inode(rustix::fs::CWD, &format!("/proc/{pid}/ns/net")).ok(),
        open,
        limit,
        hard_limit,
    }))
}

/// The soft and the hard limit in `Max open files  1024  524288  files`; `None` if there is no
/// soft one ([proc_pid_limits(5)](https://man7.org/linux/man-pages/man5/proc_pid_limits.5.html)).
pub fn parse_limits(limits: &str) -> Option<(u64, Option<u64>)> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut words = line.split_ascii_whitespace();
    let soft = words.next()?.parse().ok()?;
    Some((soft, words.next()?.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let of =
            |line: &str| parse_limits(&format!("Limit  Soft Limit  Hard Limit  Units\n{line}\n"));
        assert_eq!(of("Max open files   1024   524288   files"), Some((1_024, Some(524_288))));
        assert_eq!(of("Max open files   1024   unlimited   files"), Some((1_024, None)));
        assert_eq!(of("Max open files   unlimited   unlimited   files"), None);
        assert_eq!(of("Max processes   1   2   processes"), None);
    }

    #[test]
    fn own_files_are_counted_either_way() {
        let pid = std::process::id();
        let held = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        let own = |told| look(pid, told, 0.0).unwrap().expect("any part of the limit is enough");
        // Each look opens what it looks at.
        for told in [false, tells_number()] {
            let seen = own(told);
            assert!(seen.open.abs_diff(held) <= 1, "{seen:?} of {held}");
            assert!(seen.open < seen.limit && seen.comm.is_some() && seen.netns.is_some());
        }
        assert_eq!(look(pid, false, 1.0).unwrap(), None, "there is room");
        assert!(look(u32::MAX, false, 0.0).is_err(), "it is gone");
    }
}
