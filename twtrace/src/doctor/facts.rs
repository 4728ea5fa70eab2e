//! Everything that was gathered.

use std::collections::BTreeMap;

use super::{Unknown, audit, command::Entry};
use crate::{
    census::report::{Held, Netns, Report},
    frame::KernelCounters,
    stats::snapshot::{Destination, Snapshot, TwReuse},
};

/// Which local ports connects may take.
pub(super) const PORT_RANGE: &str = "net.ipv4.ip_local_port_range";

/// A fact, or why it is not known.
pub type Known<T> = Result<T, String>;

/// Everything that was gathered.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What the pipeline knows at the end, counted since the beginning.
    pub snapshot: Snapshot,
    /// Each namespace, by its inode.
    pub namespaces: BTreeMap<u32, Namespace>,
    /// Who has which sockets at the end.
    pub census: Known<Report>,
    /// What belongs to no namespace.
    pub machine: Machine,
}

/// What is known of one network namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// How a command gets into it.
    pub entry: Entry,
    /// Settings by name, as the kernel writes them; those that it does not have are left out.
    pub sysctls: BTreeMap<String, String>,
    /// The kernel's counters at the beginning and at the end.
    pub counters: Known<Window<KernelCounters>>,
    /// Its connection tracking.
    pub conntrack: Known<Conntrack>,
}

/// A fact at the beginning and at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window<T> {
    /// Then.
    pub before: T,
    /// Now.
    pub after: T,
}

/// Connection tracking of one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conntrack {
    /// Entries now.
    pub count: u64,
    /// How many there may be.
    pub max: u64,
    /// Packets dropped since the beginning for want of an entry.
    pub dropped: u64,
    /// Entries thrown out since the beginning to make room.
    pub early_drop: u64,
    /// Entries that found another with the same ends, since the beginning: NAT ran out of ports.
    pub insert_failed: u64,
}

/// What belongs to the whole machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Bytes of an object of slab caches, by their names.
    pub slabs: Known<BTreeMap<String, u64>>,
    /// Open files, and how many there may be.
    pub files: Known<Used>,
    /// Processes that have most of the files open that they may.
    pub descriptors: Known<Descriptors>,
    /// Why processes may be missing everywhere; `None` if none can.
    pub hidden_processes: Option<String>,
    /// Pages that TCP holds, and from how many on sockets are refused memory (tcp_mem).
    pub memory: Known<Used>,
    /// Sockets that their process has closed and the kernel still needs, against tcp_max_orphans.
    pub orphans: Known<Used>,
    /// Settings in files.
    pub configured: Known<Vec<Configured>>,
    /// What network interrupts did since the beginning.
    pub softirq: Known<Softirq>,
}

/// Processes against their own limits on open files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptors {
    /// Those that have most of theirs open, the fullest first.
    pub full: Vec<OpenFiles>,
    /// Processes that could not be looked at.
    pub unreadable: usize,
}

/// The files that a process has open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub comm: Option<String>,
    /// Its network namespace.
    pub netns: Option<u32>,
    /// How many, of as many as it may have.
    pub files: Used,
    /// How far it may raise that itself; `None` without end.
    pub hard_limit: Option<u64>,
}

/// So many of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// In use.
    pub now: u64,
    /// At most.
    pub max: u64,
}

impl Used {
    /// How full it is, 0 to 1; nothing if there is no limit.
    pub fn ratio(self) -> Option<f64> {
        (self.max > 0).then(|| self.now as f64 / self.max as f64)
    }
}

/// A setting in a file that is applied at boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// Its file and line.
    pub place: String,
    /// As in `net.ipv4.tcp_tw_reuse`.
    pub name: String,
    /// The value.
    pub value: String,
    /// Whether no later file or line sets it again.
    pub counts: bool,
    /// What the kernel has; `None` if it has no such setting.
    pub running: Option<String>,
}

/// Network interrupts of all processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softirq {
    /// Packets that found the queue full.
    pub dropped: u64,
    /// Times there was no CPU time left for packets that waited.
    pub squeezed: u64,
}

impl Facts {
    /// What could not be gathered.
    pub(super) fn unknown(&self) -> Vec<Unknown> {
        let machine = &self.machine;
        let named = [
            ("who closes first", self.closers_known()),
            ("a part of what happened", self.lost()),
            ("listen queues and who holds sockets", self.census.as_ref().err().cloned()),
            ("a part of the sockets", self.left_out()),
            ("who holds some sockets", self.unknown_holders()),
            ("processes of other users", machine.hidden_processes.clone()),
            ("files that processes have open", self.descriptors_unread()),
            ("sizes of TIME_WAIT sockets", machine.slabs.as_ref().err().cloned()),
            ("open files", machine.files.as_ref().err().cloned()),
            ("memory of TCP", machine.memory.as_ref().err().cloned()),
            ("orphaned sockets", machine.orphans.as_ref().err().cloned()),
            ("settings in files", machine.configured.as_ref().err().cloned()),
            ("network interrupts", machine.softirq.as_ref().err().cloned()),
            ("connection tracking", self.first(|it| it.conntrack.as_ref().err())),
            ("the kernel's counters", self.first(|it| it.counters.as_ref().err())),
        ];
        let unknown =
            |(what, why): (&'static str, Option<String>)| why.map(|why| Unknown { what, why });
        let settings = audit::unknown_settings(self);
        named.into_iter().filter_map(unknown).chain(settings).collect()
    }

    fn closers_known(&self) -> Option<String> {
        self.snapshot.closers.is_none().then(|| {
            "nothing is traced: run as root; `twtrace check` says what is missing".to_owned()
        })
    }

    fn lost(&self) -> Option<String> {
        let loss = self.snapshot.loss.as_ref()?;
        let (unread, missed) = (loss.ring_full, loss.missed.unwrap_or(0));
        (unread + missed > 0).then(|| {
            format!(
                "{unread} records found no room (a larger --ring-size has more), and {missed} events \
                 were missed"
            )
        })
    }

    fn left_out(&self) -> Option<String> {
        self.census.as_ref().ok()?.left_out.clone()
    }

    fn unknown_holders(&self) -> Option<String> {
        let census = self.census.as_ref().ok()?;
        let rows = census.by_process.iter().filter(|row| row.held_by == Held::Unknown);
        let sockets: u64 = rows.map(|row| row.sockets).sum();
        (sockets > 0).then(|| {
            format!(
                "of {sockets}: the /proc entries of their processes may not be read \
                 (CAP_SYS_PTRACE), or no file descriptor refers to them"
            )
        })
    }

    fn descriptors_unread(&self) -> Option<String> {
        match &self.machine.descriptors {
            Err(why) => Some(why.clone()),
            Ok(Descriptors { unreadable: 0, .. }) => None,
            Ok(Descriptors { unreadable, .. }) => {
                Some(format!("{unreadable} processes may not be looked at: run as root"))
            }
        }
    }

    fn first(&self, why: impl Fn(&Namespace) -> Option<&String>) -> Option<String> {
        let found = self.namespaces.iter().find_map(|(netns, it)| Some((netns, why(it)?)));
        found.map(|(netns, why)| format!("netns {netns}: {why}"))
    }

    /// Rows of single destinations.
    pub(super) fn destinations(&self) -> impl Iterator<Item = &Destination> {
        self.snapshot.destinations.iter().flatten().filter(|row| !row.other)
    }

    /// What connects in a namespace may take of ports in TIME_WAIT.
    pub(super) fn reuse(&self, netns: Option<u32>) -> Option<&TwReuse> {
        self.snapshot.tw_reuse.iter().flatten().find(|row| Some(row.netns) == netns)
    }

    /// The namespace, if there is only one whose mini-sockets these can be.
    pub(super) fn only_netns(&self) -> Option<u32> {
        if let [netns] = self.namespaces.keys().collect::<Vec<_>>()[..] {
            return Some(*netns);
        }
        let mut with = self.namespaces.iter().filter(|(_, it)| it.minis().is_none_or(|it| it > 0));
        let only = with.next().map(|(netns, _)| *netns);
        only.filter(|_| with.next().is_none())
    }

    /// What sock_diag listed of a namespace at the end.
    pub(super) fn listed(&self, netns: u32) -> Option<&Netns> {
        self.census.as_ref().ok()?.by_netns.iter().find(|row| row.netns == netns)
    }

    /// A namespace by its inode.
    pub(super) fn namespace(&self, netns: Option<u32>) -> Option<&Namespace> {
        self.namespaces.get(&netns?)
    }

    /// How to get into a namespace.
    pub(super) fn entry(&self, netns: Option<u32>) -> Entry {
        self.namespace(netns).map_or(Entry::Unknown(netns), |it| it.entry.clone())
    }

    /// A setting of a namespace, as the kernel writes it.
    pub(super) fn sysctl(&self, netns: Option<u32>, name: &str) -> Option<&str> {
        self.namespace(netns)?.sysctls.get(name).map(String::as_str)
    }

    /// A setting that is one number.
    pub(super) fn number(&self, netns: Option<u32>, name: &str) -> Option<u64> {
        self.sysctl(netns, name)?.trim().parse().ok()
    }

    /// The first and the last port that connects of a namespace may take.
    pub(super) fn port_range(&self, netns: Option<u32>) -> Option<(u16, u16)> {
        let mut bounds = self.sysctl(netns, PORT_RANGE)?.split_ascii_whitespace();
        let (low, high) = (bounds.next()?.parse().ok()?, bounds.next()?.parse().ok()?);
        (low <= high).then_some((low, high))
    }

    /// Version and patch level; `None` if its name tells none.
    pub(super) fn kernel_version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.snapshot.host.kernel.split(['.', '-']).map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    /// Bytes that one mini-socket takes: the larger of both families' slab objects.
    pub(super) fn mini_bytes(&self) -> Option<u64> {
        let both = ["tw_sock_TCP", "tw_sock_TCPv6"];
        both.into_iter().filter_map(|name| self.slab_bytes(name)).max()
    }

    /// Bytes of an object of a slab cache.
    pub(super) fn slab_bytes(&self, name: &str) -> Option<u64> {
        self.machine.slabs.as_ref().ok()?.get(name).copied()
    }
}

impl Namespace {
    /// How much a counter has grown; `None` if that is not known.
    pub fn grown(&self, name: &str) -> Option<u64> {
        let Window { before, after } = self.counters.as_ref().ok()?;
        Some(after.counters.get(name)?.saturating_sub(*before.counters.get(name)?))
    }

    /// Mini-sockets at the end.
    pub fn minis(&self) -> Option<u64> {
        self.counters.as_ref().ok()?.after.tw_sockstat
    }
}
