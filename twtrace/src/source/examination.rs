//! What the doctor asks the host, besides what frames tell: at the beginning and at the end.

use std::{collections::BTreeMap, fmt::Display, fs};

use super::{census, kernel_counters::KernelReader};
use crate::{
    census::report::Report,
    doctor::{
        command::Entry,
        facts::{
            Configured, Conntrack, Descriptors, Facts, Known, Machine, Namespace, OpenFiles,
            Softirq, Used,
        },
        gathering::Gathering,
    },
    frame::Frame,
    host::{self, Netns, NetnsEntry, Reach, SysctlLine},
    stats::{snapshot::Snapshot, thresholds::NEARLY_FULL},
};

/// A host that is examined.
#[derive(Debug)]
pub struct Examination {
    only: Option<u32>,
    rows: usize,
    conntrack: BTreeMap<u32, host::Conntrack>,
    softirq: Known<host::Softirq>,
}

impl Examination {
    /// Reads what only ever grows, to see later by how much.
    pub fn begin(only: Option<u32>, rows: usize) -> Self {
        let conntrack = |netns: Netns| Some((netns.inode, host::conntrack(&netns).ok()?));
        let conntrack = namespaces(only).into_iter().filter_map(conntrack).collect();
        Self { only, rows, conntrack, softirq: known(host::softirq()) }
    }

    /// Everything that is known in the end.
    pub fn end(self, snapshot: Snapshot, mut gathering: Gathering) -> Facts {
        // Where nothing happened nobody has read them since.
        let home = host::own().ok().map(|own| own.inode);
        gathering.take(&Frame::Kernel(KernelReader::new(Reach::direct(), home, self.only).all()));
        let (entries, found) = (host::netns_entries(), namespaces(self.only));
        let namespace = |netns: u32| {
            let opened = found.iter().find(|it| it.inode == netns);
            let namespace = Namespace {
                entry: entry(netns, home, &entries),
                sysctls: gathering.sysctls(netns),
                counters: gathering.counters(netns),
                conntrack: self.conntrack(opened),
            };
            (netns, namespace)
        };
        let namespaces = gathering
            .namespaces()
            .filter(|netns| self.only.is_none_or(|only| only == *netns))
            .map(namespace)
            .collect();
        let census = self.census(&snapshot);
        let machine = self.machine(census.as_ref().ok());
        Facts { namespaces, census, machine, snapshot }
    }

    fn conntrack(&self, netns: Option<&Netns>) -> Known<Conntrack> {
        let netns = netns.ok_or("it is gone, or may not be entered")?;
        let after = known(host::conntrack(netns))?;
        let before = self.conntrack.get(&netns.inode).copied().unwrap_or_default();
        Ok(Conntrack {
            count: after.count,
            max: after.max,
            dropped: after.dropped.saturating_sub(before.dropped),
            early_drop: after.early_drop.saturating_sub(before.early_drop),
            insert_failed: after.insert_failed.saturating_sub(before.insert_failed),
        })
    }

    fn census(&self, snapshot: &Snapshot) -> Known<Report> {
        let census = census::look(&Reach::direct(), self.only, self.rows);
        let holders = census::holders(&Reach::direct(), &census);
        let report = census.report(&holders, snapshot.host.clone(), snapshot.time.clone());
        let silent = || report.left_out.clone().unwrap_or("sock_diag does not answer".to_owned());
        if report.states.is_some() { Ok(report) } else { Err(silent()) }
    }

    fn machine(&self, census: Option<&Report>) -> Machine {
        Machine {
            slabs: known(host::slab_sizes()),
            files: known(host::open_files()).map(used),
            descriptors: self.descriptors(census),
            hidden_processes: Reach::direct().hidden_processes(),
            memory: known(host::tcp_memory()).map(used),
            orphans: known(host::orphans()).map(used),
            configured: self.configured(),
            softirq: self.softirq.clone().and_then(softirq_since),
        }
    }

    /// Of one namespace those whose main thread is in it, or who hold a socket of it.
    fn descriptors(&self, census: Option<&Report>) -> Known<Descriptors> {
        let host::Descriptors { mut full, unreadable } = known(host::descriptors(NEARLY_FULL))?;
        if let Some(only) = self.only {
            let rows = census.map_or(&[][..], |it| &it.by_process);
            let holds = |pid| rows.iter().any(|row| row.pid == Some(pid));
            full.retain(|it| it.netns == Some(only) || holds(it.pid));
        }
        Ok(Descriptors { full: full.into_iter().map(open_files).collect(), unreadable })
    }

    /// Files are applied to the first namespace alone: that of process 1.
    fn configured(&self) -> Known<Vec<Configured>> {
        let first = known(host::resolve("pid:1"))?;
        let own = known(host::own())?.inode;
        if own != first {
            return Err(
                "they are applied in the first network namespace, which is not ours".to_owned()
            );
        }
        if self.only.is_some_and(|only| only != first) {
            return Err("they are applied in the first network namespace alone".to_owned());
        }
        Ok(known(host::sysctl_files())?.into_iter().map(configured).collect())
    }
}

/// Those that are examined.
fn namespaces(only: Option<u32>) -> Vec<Netns> {
    let found = Reach::direct().list().map(|list| list.found).unwrap_or_default();
    found.into_iter().filter(|netns| only.is_none_or(|only| netns.inode == only)).collect()
}

fn entry(netns: u32, own: Option<u32>, entries: &BTreeMap<u32, NetnsEntry>) -> Entry {
    match entries.get(&netns) {
        _ if Some(netns) == own => Entry::Own,
        Some(NetnsEntry::Process(pid)) => Entry::Process(*pid),
        Some(NetnsEntry::File(path)) => Entry::File(path.display().to_string()),
        None => Entry::Unknown(Some(netns)),
    }
}

fn known<T, E: Display>(read: Result<T, E>) -> Known<T> {
    // The causes of an error belong to the reason.
    read.map_err(|error| format!("{error:#}"))
}

fn used(read: host::InUse) -> Used {
    Used { now: read.now, max: read.max }
}

fn open_files(read: host::OpenFiles) -> OpenFiles {
    let host::OpenFiles { pid, comm, netns, open, limit, hard_limit } = read;
    OpenFiles { pid, comm, netns, files: Used { now: open, max: limit }, hard_limit }
}

fn softirq_since(before: host::Softirq) -> Known<Softirq> {
    let after = known(host::softirq())?;
    Ok(Softirq {
        dropped: after.dropped.saturating_sub(before.dropped),
        squeezed: after.squeezed.saturating_sub(before.squeezed),
    })
}

fn configured(line: SysctlLine) -> Configured {
    let path = format!("/proc/sys/{}", line.name.replace('.', "/"));
    let running = fs::read_to_string(path).ok().map(|value| value.trim().to_owned());
    let SysctlLine { place, name, value, counts } = line;
    Configured { place, name, value, counts, running }
}

/// What is known of a recording: another time, and maybe another host.
pub fn of_recording(snapshot: Snapshot, gathering: &Gathering) -> Facts {
    let untold = || "a recording does not tell".to_owned();
    let namespace = |netns| {
        let namespace = Namespace {
            entry: Entry::Unknown(Some(netns)),
            sysctls: gathering.sysctls(netns),
            counters: gathering.counters(netns),
            conntrack: Err(untold()),
        };
        (netns, namespace)
    };
    Facts {
        namespaces: gathering.namespaces().map(namespace).collect(),
        census: Err(untold()),
        machine: Machine {
            slabs: Err(untold()),
            files: Err(untold()),
            descriptors: Err(untold()),
            hidden_processes: None,
            memory: Err(untold()),
            orphans: Err(untold()),
            configured: Err(untold()),
            softirq: Err(untold()),
        },
        snapshot,
    }
}
