//! What we take ourselves.

use std::{collections::BTreeMap, fs, time::Duration};

use rustix::{
    param::page_size,
    time::{ClockId, clock_gettime},
};

/// The CPU time of all our threads so far.
pub fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Our memory that is in RAM, in bytes; `None` if /proc does not say.
pub fn own_rss() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * page_size() as u64)
}

/// How long the BPF programs that we hold have run, in nanoseconds, as far as that was
/// measured; `None` if we hold none, or /proc does not say.
/// By `bpf_prog_show_fdinfo` of
/// <https://github.com/torvalds/linux/blob/v5.8/kernel/bpf/syscall.c>.
pub fn own_programs_ns() -> Option<u64> {
    let mut programs = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fdinfo").ok()?.flatten() {
        let Ok(info) = fs::read_to_string(entry.path()) else { continue };
        // A program may be held more than once.
        if let (Some(id), Some(time_ns)) = (field(&info, "prog_id:"), field(&info, "run_time_ns:"))
        {
            programs.insert(id, time_ns);
        }
    }
    (!programs.is_empty()).then(|| programs.values().sum())
}

/// The number behind `name` in the text of an fdinfo.
pub fn field(info: &str, name: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_take_something() {
        assert!(own_cpu() > Duration::ZERO);
        assert!(own_rss().is_some_and(|bytes| bytes > 100_000));
    }

    #[test]
    fn programs_are_told_by_their_lines() {
        let info = "pos:\t0\nprog_type:\t26\nprog_id:\t12\nrun_time_ns:\t3456\nrun_cnt:\t7\n";
        assert_eq!(field(info, "prog_id:"), Some(12));
        assert_eq!(field(info, "run_time_ns:"), Some(3_456));
        assert_eq!(field(info, "recursion_misses:"), None);
    }
}
