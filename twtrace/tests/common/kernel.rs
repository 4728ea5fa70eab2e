//! A kernel made of paper: it counts and records transitions by the rules of
//! twtrace-common, as the BPF programs do, and delivers frames.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use twtrace::{
    event::Tuple,
    frame::{Frame, Meta, Totals},
    probes::{Hooks, Tier},
};
use twtrace_common::{
    COMM_LEN, Change, Counters, ProcessKey, ProcessRecord, RecordKind, TcpState, TransitionRecord,
    pair_index, process_flags, transition_flags,
};
use zerocopy::IntoBytes;

/// The namespace that sockets are in unless they say otherwise.
pub(crate) const NETNS: u32 = 4_026_531_840;
/// When the run of every test began, on the clock of records.
pub(crate) const STARTED_NS: u64 = 1_000_000_000_000;
/// 2026-01-01 00:00:00 UTC, less the above.
const WALL_AT_ZERO_NS: u64 = 1_767_225_600_000_000_000 - STARTED_NS;

/// The best hook there is.
pub(crate) const TP_BTF: Hooks = Hooks { transitions: Tier::Tracepoint, fields_known: true };
/// The classic tracepoint on a kernel without BTF.
pub(crate) const CLASSIC: Hooks = Hooks { transitions: Tier::Tracepoint, fields_known: false };

/// A run on an invented host.
pub(crate) fn meta(hooks: Hooks) -> Meta {
    Meta {
        hostname: "web1".to_owned(),
        kernel: "6.12.48-amd64".to_owned(),
        boot_id: "11111111-2222-4333-8444-555555555555".to_owned(),
        started_ns: STARTED_NS,
        // This host was suspended for an hour.
        wall_at_boot_ns: WALL_AT_ZERO_NS - 3_600_000_000_000,
        hooks,
    }
}

/// A process that may run on the paper kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) key: ProcessKey,
    /// `None` where its introduction gets lost.
    pub(crate) comm: Option<[u8; COMM_LEN]>,
    pub(crate) kernel_thread: bool,
}

impl Task {
    /// Process `tgid`, started `start_s` seconds after boot.
    pub(crate) fn new(tgid: u32, start_s: u64, comm: &[u8]) -> Self {
        let mut bytes = [0; COMM_LEN];
        bytes[..comm.len()].copy_from_slice(comm);
        let key = ProcessKey { start_time_ns: start_s * 1_000_000_000, tgid, padding: 0 };
        Self { key, comm: Some(bytes), kernel_thread: false }
    }
}

/// What `inet_sock_set_state` sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) time_ns: u64,
    pub(crate) sk: u64,
    pub(crate) netns: u32,
    pub(crate) old: TcpState,
    pub(crate) new: TcpState,
    pub(crate) tuple: Tuple,
    /// `sk_lock.owned`.
    pub(crate) locked: bool,
    pub(crate) error: u16,
    pub(crate) shutdown: u8,
    /// What runs on this CPU, whether or not it has to do with the socket.
    pub(crate) current: Option<Task>,
    /// The ring is full.
    pub(crate) ring_full: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct PaperKernel {
    hooks: Hooks,
    counters: BTreeMap<Option<u32>, Counters>,
    introduced: HashSet<ProcessKey>,
    records: Vec<u8>,
}

impl PaperKernel {
    pub(crate) fn new(hooks: Hooks) -> Self {
        Self { hooks, counters: BTreeMap::new(), introduced: HashSet::new(), records: Vec::new() }
    }

    /// What the BPF program does at a transition.
    pub(crate) fn transition(&mut self, seen: &Seen) {
        // A close() after a shutdown() sets the state that the socket has.
        if seen.old == seen.new {
            return;
        }
        let known = self.hooks.fields_known;
        let closes = seen.new == TcpState::Close;
        let change = Change {
            old: seen.old,
            new: seen.new,
            fields_known: known,
            process_context: known && seen.locked && Change::depends_on_context(seen.old, seen.new),
            error: if known && closes { seen.error } else { 0 },
            shutdown: if known && closes { seen.shutdown } else { 0 },
            lport: seen.tuple.lport,
        };
        let counters = self.counters.entry(known.then_some(seen.netns)).or_insert(Counters::ZERO);
        counters.pairs[pair_index(change.old, change.new)] += 1;
        if let Some(outcome) = change.outcome() {
            counters.outcomes[outcome as usize] += 1;
        }
        let owner = if change.has_owner() { self.introduce(seen) } else { None };
        if !change.has_record() {
            return;
        }
        if seen.ring_full {
            let counters = self.counters.get_mut(&known.then_some(seen.netns));
            counters.expect("it was counted above").ring_full += 1;
            return;
        }
        let record = record(seen, &change, owner);
        self.records.extend_from_slice(record.as_bytes());
    }

    /// The owner; at first sight with its name, as far as it has one.
    fn introduce(&mut self, seen: &Seen) -> Option<ProcessKey> {
        let task = seen.current?;
        let mut key = task.key;
        if !self.hooks.fields_known {
            key.start_time_ns = 0;
        }
        if let Some(comm) = task.comm
            && self.introduced.insert(key)
        {
            let flags = if task.kernel_thread { process_flags::KERNEL_THREAD } else { 0 };
            self.records.extend_from_slice(process_record(key, comm, flags).as_bytes());
        }
        Some(key)
    }

    /// The records since the last call.
    pub(crate) fn records(&mut self) -> Frame {
        Frame::Records(Bytes::from(std::mem::take(&mut self.records)))
    }

    /// The totals so far.
    pub(crate) fn totals(&self) -> Frame {
        let by_netns = self.counters.iter().map(|(netns, counters)| (*netns, *counters)).collect();
        Frame::Totals(Totals { by_netns, missed: Some(0) })
    }
}

/// A tick so long after the start.
pub(crate) fn tick(after_s: f64) -> Frame {
    Frame::Tick { time_ns: at(after_s), wall_ns: WALL_AT_ZERO_NS + at(after_s) }
}

/// So long after the start, on the clock of records.
pub(crate) fn at(after_s: f64) -> u64 {
    STARTED_NS + (after_s * 1e9).round() as u64
}

/// The bytes of one process record.
pub(crate) fn process_record(key: ProcessKey, comm: [u8; COMM_LEN], flags: u8) -> ProcessRecord {
    ProcessRecord {
        kind: RecordKind::Process as u8,
        flags,
        padding: [0; 2],
        tgid: key.tgid,
        start_time_ns: key.start_time_ns,
        cgroup_id: u64::from(key.tgid),
        comm,
    }
}

/// The bytes of one transition record.
pub(crate) fn record(seen: &Seen, change: &Change, owner: Option<ProcessKey>) -> TransitionRecord {
    let flag = |bit, set| if set { bit } else { 0 };
    TransitionRecord {
        kind: RecordKind::Transition as u8,
        old_state: change.old as u8,
        new_state: change.new as u8,
        flags: flag(transition_flags::FIELDS_KNOWN, change.fields_known)
            | flag(transition_flags::PROCESS_CONTEXT, change.process_context)
            | flag(transition_flags::OWNER, owner.is_some()),
        netns: if change.fields_known { seen.netns } else { 0 },
        time_ns: seen.time_ns,
        sk: seen.sk,
        start_time_ns: owner.map_or(0, |owner| owner.start_time_ns),
        tgid: owner.map_or(0, |owner| owner.tgid),
        lport: seen.tuple.lport,
        rport: seen.tuple.rport,
        error: change.error,
        shutdown: change.shutdown,
        padding: [0; 5],
        laddr: seen.tuple.laddr,
        raddr: seen.tuple.raddr,
    }
}
