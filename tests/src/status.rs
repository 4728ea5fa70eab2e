//! What /proc/PID/status says of processes and of threads
//! ([proc_pid_status(5)](https://man7.org/linux/man-pages/man5/proc_pid_status.5.html)).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The status of a process or a thread, at one moment.
#[derive(Debug)]
pub struct Status(BTreeMap<String, String>);

impl Status {
    /// Of a process that is there.
    #[track_caller]
    pub fn of(pid: u32) -> Self {
        Self::read(Path::new(&format!("/proc/{pid}"))).expect("the status of a process")
    }

    /// Of each thread of a process that is there.
    #[track_caller]
    pub fn of_threads(pid: u32) -> Vec<Self> {
        Self::below(&format!("/proc/{pid}/task"))
    }

    /// Of every process.
    #[track_caller]
    pub fn of_all() -> Vec<Self> {
        Self::below("/proc")
    }

    #[track_caller]
    fn below(directory: &str) -> Vec<Self> {
        let entries = fs::read_dir(directory).expect("listing processes or threads").flatten();
        // Not all of /proc is a process, and one may end between the two looks.
        entries.filter_map(|entry| Self::read(&entry.path())).collect()
    }

    fn read(directory: &Path) -> Option<Self> {
        let text = fs::read_to_string(directory.join("status")).ok()?;
        let line = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        };
        Some(Self(text.lines().filter_map(line).collect()))
    }

    /// What it says there, without the space around it.
    #[track_caller]
    pub fn field(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("no {name} in {self:#?}"))
    }

    /// A set of capabilities, a bit for each.
    #[track_caller]
    pub fn set(&self, name: &str) -> u64 {
        u64::from_str_radix(self.field(name), 16).expect("a set of capabilities")
    }
}
