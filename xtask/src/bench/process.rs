//! What a process has used so far.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Nanoseconds of CPU of all threads, in user and kernel space.
///
/// From the scheduler and not from /proc/PID/stat, which counts in ticks of 10 ms: that is as much
/// as a good tracer takes for a whole run.
pub(super) fn cpu_ns(pid: u32) -> Result<u64> {
    threads(pid)?.iter().map(|thread| cpu_ns_of(thread)).sum()
}

/// The same of the threads that are called `name` alone.
pub(super) fn thread_cpu_ns(pid: u32, name: &str) -> Result<u64> {
    let is_called = |thread: &&PathBuf| {
        fs::read_to_string(thread.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    threads(pid)?.iter().filter(is_called).map(|thread| cpu_ns_of(thread)).sum()
}

fn threads(pid: u32) -> Result<Vec<PathBuf>> {
    let dir = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&dir).with_context(|| format!("cannot read {dir}"))?;
    threads.map(|thread| Ok(thread.with_context(|| format!("cannot read {dir}"))?.path())).collect()
}

fn cpu_ns_of(thread: &Path) -> Result<u64> {
    let file = thread.join("schedstat");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    parse_schedstat(&text).with_context(|| format!("{} is no number", file.display()))
}

/// Seconds of CPU of all threads, those that have ended included, to 10 ms.
pub(super) fn cpu_s(pid: u32) -> Result<f64> {
    let file = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    parse_stat(&text, 2).with_context(|| format!("{file} has no times"))
}

/// The same with that of all children that it has waited for, and theirs.
pub(super) fn cpu_s_with_children(pid: u32) -> Result<f64> {
    let file = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    parse_stat(&text, 4).with_context(|| format!("{file} has no times"))
}

/// Bytes of memory of the process that are in RAM.
pub(super) fn rss(pid: u32) -> Result<u64> {
    let file = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    parse_rss(&text).with_context(|| format!("{file} has no VmRSS"))
}

fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// User and kernel time are the 14th and 15th word, in hundredths, those of children follow; the
/// second word may hold blanks.
fn parse_stat(text: &str, words: usize) -> Option<f64> {
    let (_, behind_name) = text.rsplit_once(')')?;
    let times = behind_name.split_whitespace().skip(11).take(words);
    let hundredths: Vec<u64> = times.map(|word| word.parse().ok()).collect::<Option<_>>()?;
    (hundredths.len() == words).then(|| hundredths.iter().sum::<u64>() as f64 / 100.0)
}

fn parse_rss(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formats_of_proc_are_read() {
        assert_eq!(parse_schedstat("123456789 42 7\n"), Some(123_456_789));
        assert_eq!(parse_schedstat(""), None);
        assert_eq!(parse_rss("VmHWM:\t  9 kB\nVmRSS:\t    2048 kB\n"), Some(2_097_152));
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 9 0 0 0 205 40 0 0 20 0 1 0 5";
        assert_eq!(parse_stat(stat, 2), Some(2.45));
        let with_children = "7 (a ) b) S 1 7 7 0 -1 4194304 9 0 0 0 205 40 10 5 20 0 1 0 5";
        assert_eq!(parse_stat(with_children, 4), Some(2.6));
        assert_eq!(parse_stat("7 (a) S 1", 2), None);
        assert_eq!(parse_rss("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn this_process_is_found() {
        let own = std::process::id();
        assert!(rss(own).expect("this process has memory") > 0);
        assert_eq!(thread_cpu_ns(own, "no thread is called so").expect("it has threads"), 0);
        let name = fs::read_to_string("/proc/thread-self/comm").expect("this thread has a name");
        // The scheduler counts when it comes by.
        let begun = std::time::Instant::now();
        while thread_cpu_ns(own, name.trim_end()).expect("it has threads") == 0 {
            assert!(begun.elapsed().as_secs() < 10, "this thread takes no CPU");
        }
        let one = thread_cpu_ns(own, name.trim_end()).expect("it has threads");
        assert!(one <= cpu_ns(own).expect("this process has threads"));
        let alone = cpu_s(own).expect("this process has times");
        assert!(cpu_s_with_children(own).expect("so have its children") >= alone);
    }
}
