//! What a process takes, second by second.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::bpf_objects;

/// What a process takes at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Memory in RAM, in bytes.
    pub(super) rss: u64,
    /// Open files.
    pub(super) fds: u64,
    /// Threads.
    pub(super) threads: u64,
    /// BPF programs, maps and links that it holds.
    pub(super) bpf: u64,
}

/// A process, and what it took.
pub(super) struct Sampled {
    pub(super) name: &'static str,
    pub(super) pid: u32,
    /// From the beginning of the load on.
    pub(super) samples: Vec<(Duration, Taken)>,
    /// Looks in a row while nothing happens.
    pub(super) at_rest: Vec<Taken>,
    /// The least of each such row: before the load, and after it.
    pub(super) rests: Vec<Taken>,
}

impl Sampled {
    pub(super) fn new(name: &'static str, pid: u32) -> Self {
        Self { name, pid, samples: Vec::new(), at_rest: Vec::new(), rests: Vec::new() }
    }

    pub(super) fn sample(&mut self, at: Duration) {
        self.samples.push((at, look(self.pid)));
    }

    /// Ends a row of looks at rest.
    pub(super) fn rest(&mut self) {
        let looks = std::mem::take(&mut self.at_rest);
        let least = |of: fn(&Taken) -> u64| looks.iter().map(of).min().expect("there were looks");
        self.rests.push(Taken {
            rss: least(|it| it.rss),
            fds: least(|it| it.fds),
            threads: least(|it| it.threads),
            bpf: least(|it| it.bpf),
        });
    }

    pub(super) fn json(&self) -> Value {
        let column = |of: fn(&Taken) -> u64| self.samples.iter().map(|(_, it)| of(it)).collect();
        let [rss, fds, threads, bpf]: [Vec<u64>; 4] = [
            column(|it| it.rss),
            column(|it| it.fds),
            column(|it| it.threads),
            column(|it| it.bpf),
        ];
        let at: Vec<f64> = self.samples.iter().map(|(at, _)| at.as_secs_f64()).collect();
        json!({
            "name": self.name,
            "at_s": at, "rss_bytes": rss, "fds": fds, "threads": threads, "bpf_objects": bpf,
        })
    }
}

/// What a process takes now.
///
/// # Panics
/// It has ended.
#[track_caller]
pub(super) fn look(pid: u32) -> Taken {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: it has ended? {error}"))
    };
    let count = |directory: &str| {
        let path = format!("/proc/{pid}/{directory}");
        fs::read_dir(&path).unwrap_or_else(|error| panic!("{path}: {error}")).count() as u64
    };
    let pages = read("statm").split(' ').nth(1).and_then(|it| it.parse::<u64>().ok());
    Taken {
        rss: pages.expect("statm has numbers") * rustix::param::page_size() as u64,
        fds: count("fd"),
        threads: count("task"),
        bpf: bpf_objects::held_by(pid).len() as u64,
    }
}

/// The processes that it started and that have not ended.
pub(super) fn children_of(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
