//! What a process could leave on the host, listed while it is stopped, to be looked for when it is gone.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::bpf_objects::{self, BpfObject};
use crate::wait_for_none;

/// The kernel frees what a process had a little later.
const SOON: Duration = Duration::from_secs(15);

/// What a process has at one moment, and the processes that it started.
pub struct Inventory {
    objects: Vec<BpfObject>,
    /// With the time when each started, which no other of the same number has.
    descendants: Vec<(u32, String)>,
    /// Network namespaces that are not ours.
    namespaces: BTreeSet<u64>,
    names: BTreeSet<String>,
}

impl Inventory {
    /// Stops process `pid`, which is not waited for yet, and lists what it has. What was pinned or
    /// named on the host `before` is nobody's here.
    pub fn of_stopped(pid: u32, before: &BTreeSet<String>) -> Self {
        signal(pid, Signal::STOP);
        let mut all = vec![pid];
        let mut at = 0;
        while let Some(&parent) = all.get(at) {
            all.extend(children(parent));
            at += 1;
        }
        let own = netns_of("self");
        Self {
            objects: all.iter().flat_map(|pid| held_by(*pid)).collect(),
            namespaces: all.iter().filter_map(netns_of).filter(|it| Some(*it) != own).collect(),
            descendants: all[1..].iter().filter_map(|pid| Some((*pid, started(*pid)?))).collect(),
            names: before.clone(),
        }
    }

    /// How many BPF objects it had.
    pub fn objects(&self) -> usize {
        self.objects.len()
    }

    /// Ends those that it started and that are called so: they are the user's, and outlive it.
    pub fn end(&self, comm: &str) {
        for (pid, _) in &self.descendants {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if name.trim_end() == comm {
                signal(*pid, Signal::KILL);
            }
        }
    }

    /// Checks that after a while nothing of it is left.
    #[track_caller]
    pub fn assert_gone(&self, what: &str) {
        let mut left = Vec::new();
        wait_for_none(SOON, || {
            left = self.left();
            left.len() as u64
        });
        assert!(left.is_empty(), "{what} has left behind: {left:#?}");
    }

    fn left(&self) -> Vec<String> {
        let objects = self.objects.iter().filter(|it| it.exists()).map(|it| format!("{it:?}"));
        let is_there = |(pid, since): &&(u32, String)| started(*pid).as_ref() == Some(since);
        let processes = self.descendants.iter().filter(is_there);
        let processes = processes.map(|(pid, _)| format!("process {pid}"));
        let held = namespaces();
        let namespaces = self.namespaces.intersection(&held).map(|it| format!("net:[{it}]"));
        let names = &names() - &self.names;
        objects.chain(processes).chain(namespaces).chain(names).collect()
    }
}

/// What has a name on this host: pins of BPF objects, namespaces of `ip netns` and mounted ones; but
/// those of tests, which run side by side.
pub fn names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for directory in ["/sys/fs/bpf", "/run/netns"] {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        names.extend(entries.map(|entry| entry.path().to_string_lossy().into_owned()));
    }
    names.retain(|name| !name.contains("twtrace-test-"));
    names
}

/// Every network namespace that a process is in or that is mounted.
fn namespaces() -> BTreeSet<u64> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounted = mounts.lines().filter_map(|line| {
        let (_, rest) = line.split_once(" net:[")?;
        rest.split_once(']')?.0.parse().ok()
    });
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_processes = entries.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        netns_of(pid)
    });
    mounted.chain(of_processes).collect()
}

fn netns_of(pid: impl std::fmt::Display) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/net")).ok().map(|it| it.ino())
}

fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|it| fs::read_to_string(it.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_ascii_whitespace().filter_map(|it| it.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

/// One that has ended since has nothing.
fn held_by(pid: u32) -> Vec<BpfObject> {
    let is_there = fs::exists(format!("/proc/{pid}/fdinfo")).unwrap_or(false);
    if is_there { bpf_objects::held_by(pid) } else { Vec::new() }
}

/// When a process started, in ticks; `None` if it has ended.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    (fields[0] != "Z" && fields[0] != "X").then(|| fields[19].to_owned())
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
    // It may have ended.
    let _ = kill_process(pid, signal);
}
