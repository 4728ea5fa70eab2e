//! What /proc says about a process.

use std::{fs, ops::Range};

/// When process `pid` started, in nanoseconds since boot, suspend included,
/// rounded down to a clock tick (10 ms); `None` if it is gone.
///
/// The programs report the same time unrounded: compare with [`same_start`].
pub fn start_time_ns(pid: u32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_start_ticks(&stat)?.checked_mul(tick_ns())
}

/// Whether a start time of /proc and one of the BPF programs are the same:
/// the kernel divides its own by the length of a tick
/// ([`do_task_stat`](https://github.com/torvalds/linux/blob/v6.12/fs/proc/array.c)).
pub fn same_start(from_proc_ns: u64, from_kernel_ns: u64) -> bool {
    from_kernel_ns / tick_ns() == from_proc_ns / tick_ns()
}

/// Between which nanoseconds since boot process `pid` started: the tick that /proc tells.
/// `None` if it is gone.
pub fn started_ns(pid: u32) -> Option<Range<u64>> {
    let first_ns = start_time_ns(pid)?;
    Some(first_ns..first_ns.checked_add(tick_ns())?)
}

/// The name of process `pid`, as many bytes as the kernel keeps of it; `None` if it is gone.
pub fn comm(pid: u32) -> Option<Vec<u8>> {
    let mut comm = fs::read(format!("/proc/{pid}/comm")).ok()?;
    // A newline ends it; there may be others in it.
    (comm.pop() == Some(b'\n')).then_some(comm)
}

/// The cgroup of process `pid`, as a path from the root of its hierarchy;
/// `None` if the process is gone.
///
/// The v2 path, unless that is the root and a v1 hierarchy names a longer one:
/// so it is on hybrid hosts, where containers live in v1.
pub fn cgroup(pid: u32) -> Option<String> {
    let text = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
    parse_cgroup(&String::from_utf8_lossy(&text)).map(str::to_owned)
}

/// The length of a tick of /proc in nanoseconds; 10 ms on every Linux, though
/// a kernel might say otherwise.
fn tick_ns() -> u64 {
    1_000_000_000 / rustix::param::clock_ticks_per_second().clamp(1, 1_000_000_000)
}

/// Field 22 of /proc/PID/stat ([proc_pid_stat(5)](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html)).
/// Field 2 is the name in parentheses and may hold any byte, so count from the last one.
pub fn parse_start_ticks(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&stat[end + 1..]).ok()?.split_ascii_whitespace();
    // The first of these is field 3.
    fields.nth(22 - 3)?.parse().ok()
}

/// Lines are `hierarchy:controllers:path`; v2 is `0::path`
/// ([cgroups(7)](https://man7.org/linux/man-pages/man7/cgroups.7.html)).
pub fn parse_cgroup(text: &str) -> Option<&str> {
    let paths = || {
        text.lines().filter_map(|line| {
            let (hierarchy, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            path.starts_with('/').then_some((hierarchy == "0" && controllers.is_empty(), path))
        })
    };
    let v2 = paths().find_map(|(is_v2, path)| is_v2.then_some(path));
    if let Some(path) = v2.filter(|path| *path != "/") {
        return Some(path);
    }
    // Of equally long ones the first, to give the same answer each time.
    let v1 = paths().filter(|(is_v2, _)| !is_v2).map(|(_, path)| path);
    let longest = v1.reduce(|best, path| if path.len() > best.len() { path } else { best });
    longest.or(v2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stat(comm: &str) -> String {
        format!(
            "71 ({comm}) S 1 71 71 0 -1 4194560 9 8 7 6 5 4 3 2 20 0 1 0 123456 9 9 18446744073709551615\n"
        )
    }

    #[test]
    fn start_time_whatever_the_name() {
        for comm in ["init", "a b c", "(sd-pam)", "x) S 1 (y", "", ")))"] {
            assert_eq!(parse_start_ticks(stat(comm).as_bytes()), Some(123_456), "{comm}");
        }
        let mut bytes = stat("a").into_bytes();
        bytes[4] = 0xff;
        assert_eq!(parse_start_ticks(&bytes), Some(123_456), "a name need not be UTF-8");
    }

    #[test]
    fn own_start_time_is_in_the_past() {
        let started = start_time_ns(std::process::id()).unwrap();
        assert!(started > 0 && started <= crate::host::ClockAnchor::read().boot_ns);
        assert!(same_start(started, started + tick_ns() - 1));
        assert!(!same_start(started, started + tick_ns()));
        assert_eq!(start_time_ns(u32::MAX), None);
    }

    #[test]
    fn own_name_is_that_of_the_main_thread() {
        let own = comm(std::process::id()).unwrap();
        assert!(!own.is_empty() && own.len() < 16, "{own:?}");
        assert_eq!(comm(u32::MAX), None);
    }

    #[test]
    fn v2_unless_root_and_v1_knows_more() {
        let cases = [
            ("0::/system.slice/ssh.service\n", Some("/system.slice/ssh.service")),
            ("0::/\n", Some("/")),
            ("4:memory:/a/b\n3:cpuset:/\n0::/\n", Some("/a/b")),
            ("4:memory:/docker/x\n0::/system.slice\n", Some("/system.slice")),
            ("2:cpu,cpuacct:/docker/a\n1:name=systemd:/docker/b\n", Some("/docker/a")),
            ("3:cpuset:/\n0::/\n", Some("/")),
            ("0::/with:colon\n", Some("/with:colon")),
            ("0::", None),
            ("", None),
            ("nonsense", None),
        ];
        for (text, path) in cases {
            assert_eq!(parse_cgroup(text), path, "{text}");
        }
    }

    #[test]
    fn own_cgroup_is_a_path() {
        assert!(cgroup(std::process::id()).unwrap().starts_with('/'));
        assert_eq!(cgroup(u32::MAX), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, text in "(?s).*", cut in 0usize..140) {
            let _ = (parse_start_ticks(&bytes), parse_cgroup(&text));
            let stat = stat("a b");
            let _ = parse_start_ticks(&stat.as_bytes()[..cut.min(stat.len())]);
        }
    }
}
