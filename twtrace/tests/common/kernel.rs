//! A kernel made of paper: it counts and records by the rules of twtrace-common,
//! as the BPF programs do, keeps counters of its own, and delivers frames.

use std::{
    collections::{BTreeMap, HashSet},
    num::NonZeroU32,
};

use bytes::Bytes;
use twtrace::{
    event::{ConnectEvent, MiniEvent, PortRange, SampleEvent, SearchEvent, Tuple},
    frame::{Frame, KernelCounters, Meta, Totals},
    probes::{Capability, Hooks, Tier},
};
use twtrace_common::{
    COMM_LEN, Change, ConnectRecord, Counters, End, ProcessKey, ProcessRecord, RecordKind,
    SampleRecord, Search, SearchRecord, TcpState, TimeWaitRecord, TransitionRecord, pair_index,
    process_flags, search_flags, substate_index, time_wait_flags, transition_flags,
};
use zerocopy::IntoBytes;

/// The namespace that sockets are in unless they say otherwise.
pub(crate) const NETNS: u32 = 4_026_531_840;
/// When the run of every test began, on the clock of records.
pub(crate) const STARTED_NS: u64 = 1_000_000_000_000;
/// How often the paper processors are looked at, per second.
const SAMPLE_HZ: u32 = 100;
/// 2026-01-01 00:00:00 UTC, less the above.
const WALL_AT_ZERO_NS: u64 = 1_767_225_600_000_000_000 - STARTED_NS;

/// The best hooks there are.
pub(crate) const TP_BTF: Hooks = Hooks {
    transitions: Tier::Tracepoint,
    light: false,
    fields_known: true,
    time_wait: Some(Tier::Tracepoint),
    port_search: Some(Tier::Tracepoint),
    cpu_share: None,
    ports_tried: None,
};
/// Processors are looked at besides.
pub(crate) const SAMPLED: Hooks = Hooks { cpu_share: Some(Tier::Tracepoint), ..TP_BTF };
/// Functions are probed besides.
pub(crate) const FENTRY: Hooks = Hooks {
    time_wait: Some(Tier::Fentry),
    port_search: Some(Tier::Fentry),
    ports_tried: Some(Tier::Fentry),
    ..TP_BTF
};
/// The classic tracepoint on a kernel without BTF: it is the only hook then.
pub(crate) const CLASSIC: Hooks = Hooks {
    transitions: Tier::Tracepoint,
    light: false,
    fields_known: false,
    time_wait: None,
    port_search: None,
    cpu_share: None,
    ports_tried: None,
};

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
        home_netns: Some(NETNS),
        own_range_step: 1,
        tw_counts_births: Some(true),
        searches_of: None,
        continues: false,
        sample_hz: hooks.cpu_share.and(NonZeroU32::new(SAMPLE_HZ)),
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
    pub(crate) own_range: Option<PortRange>,
    /// What runs on this CPU, whether or not it has to do with the socket.
    pub(crate) current: Option<Task>,
    /// The ring is full.
    pub(crate) ring_full: bool,
}

/// What becomes of what our program has to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is counted and recorded.
    #[default]
    Written,
    /// It is counted; the ring is full.
    RingFull,
    /// The program does not run: neither.
    Missed,
}

/// What the kernel itself keeps of one namespace.
#[derive(Debug, Default)]
struct Own {
    minis: HashSet<Tuple>,
    born: u64,
    recycled: u64,
    overflow: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct PaperKernel {
    hooks: Hooks,
    counters: BTreeMap<Option<u32>, Counters>,
    missed: u64,
    own: BTreeMap<u32, Own>,
    introduced: HashSet<ProcessKey>,
    records: Vec<u8>,
}

impl PaperKernel {
    pub(crate) fn new(hooks: Hooks) -> Self {
        Self {
            hooks,
            counters: BTreeMap::new(),
            missed: 0,
            own: BTreeMap::new(),
            introduced: HashSet::new(),
            records: Vec::new(),
        }
    }

    /// The program of transitions does not run, since it was running.
    pub(crate) fn miss(&mut self) {
        self.missed += 1;
    }

    /// How often programs did not run.
    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }

    /// How many records found no room.
    pub(crate) fn lost(&self) -> u64 {
        self.counters.values().map(|counters| counters.ring_full).sum()
    }

    /// There is a mini-socket from before our programs.
    pub(crate) fn mini_from_before(&mut self, netns: u32, tuple: Tuple) {
        self.own.entry(netns).or_default().minis.insert(tuple);
    }

    /// A mini-socket is born.
    pub(crate) fn birth(&mut self, mini: &MiniEvent, fate: Fate) {
        let own = self.own.entry(mini.netns).or_default();
        own.minis.insert(mini.tuple);
        own.born += 1;
        if self.runs(Capability::EndCause, fate) {
            self.counters(Some(mini.netns)).births[substate_index(mini.substate)] += 1;
            self.write(Some(mini.netns), fate, mini_record(mini, None).as_bytes());
        }
    }

    /// The peer of a mini-socket in FIN_WAIT2 closes; `mini` says what it is now.
    pub(crate) fn step(&mut self, mini: &MiniEvent, fate: Fate) {
        if self.probes(Capability::EndCause, fate) {
            let counters = self.counters(Some(mini.netns));
            counters.rearmed += 1;
            counters.steps += 1;
            let record = TimeWaitRecord { kind: RecordKind::Step as u8, ..mini_record(mini, None) };
            self.write(Some(mini.netns), fate, record.as_bytes());
        }
    }

    /// A mini-socket ends.
    pub(crate) fn end(&mut self, mini: &MiniEvent, end: End, fate: Fate) {
        let own = self.own.entry(mini.netns).or_default();
        own.minis.remove(&mini.tuple);
        own.recycled += u64::from(matches!(end, End::Reused | End::ReusedBound));
        if self.runs(Capability::EndCause, fate) {
            let counters = self.counters(Some(mini.netns));
            counters.ends[end as usize] += 1;
            counters.ends_in_fin_wait2 += u64::from(mini.substate == TcpState::FinWait2);
            self.write(Some(mini.netns), fate, mini_record(mini, Some(end)).as_bytes());
        }
    }

    /// The limit of mini-sockets is reached: one is refused. A probe of the function
    /// sees it, and nothing else.
    pub(crate) fn refuse(&mut self, mini: &MiniEvent, fate: Fate) {
        self.own.entry(mini.netns).or_default().overflow += 1;
        if self.probes(Capability::EndCause, fate) {
            self.counters(Some(mini.netns)).refused += 1;
            let record = TimeWaitRecord {
                kind: RecordKind::Refused as u8,
                tw: 0,
                ..mini_record(mini, None)
            };
            self.write(Some(mini.netns), fate, record.as_bytes());
        }
    }

    /// A function that looks for a port returns.
    pub(crate) fn search(&mut self, time_ns: u64, lport: u16, search: &SearchEvent, task: &Task) {
        if self.probes(Capability::PortSearch, Fate::Written) {
            let counters = self.counters(Some(search.netns));
            counters.probed_searches[search.search as usize] += 1;
            counters.failed_searches[search.search as usize] += u64::from(search.error != 0);
            self.name(task);
            self.records.extend_from_slice(search_record(time_ns, lport, search).as_bytes());
        }
    }

    /// A connect has its port.
    pub(crate) fn connect(&mut self, connect: &ConnectEvent, fate: Fate) {
        if self.runs(Capability::PortSearch, fate) {
            // Counted when it began; a loss of this record has no namespace.
            self.write(None, fate, connect_record(connect).as_bytes());
        }
    }

    /// A bind has its port.
    pub(crate) fn bind(&mut self, time_ns: u64, lport: u16, bind: &SearchEvent, task: &Task) {
        if self.runs(Capability::PortSearch, Fate::Written) {
            self.counters(Some(bind.netns)).searches[bind.search as usize] += 1;
            self.name(task);
            self.records.extend_from_slice(search_record(time_ns, lport, bind).as_bytes());
        }
    }

    /// A processor is found searching.
    pub(crate) fn sample(&mut self, sample: &SampleEvent, task: &Task) {
        if self.runs(Capability::CpuShare, Fate::Written) {
            self.name(task);
            self.records.extend_from_slice(sample_record(sample).as_bytes());
        }
    }

    /// Whether our program is there, and runs.
    fn runs(&mut self, capability: Capability, fate: Fate) -> bool {
        let attached = self.hooks.tier(capability).is_some();
        self.missed += u64::from(attached && fate == Fate::Missed);
        attached && fate != Fate::Missed
    }

    /// Whether the functions are probed for it, and the program runs.
    fn probes(&mut self, capability: Capability, fate: Fate) -> bool {
        self.hooks.probes_functions(capability) && self.runs(capability, fate)
    }

    fn counters(&mut self, netns: Option<u32>) -> &mut Counters {
        self.counters.entry(netns).or_insert(Counters::ZERO)
    }

    fn write(&mut self, netns: Option<u32>, fate: Fate, record: &[u8]) {
        match fate {
            Fate::RingFull => self.counters(netns).ring_full += 1,
            _ => self.records.extend_from_slice(record),
        }
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
        let netns = known.then_some(seen.netns);
        let counters = self.counters(netns);
        counters.pairs[pair_index(change.old, change.new)] += 1;
        if let Some(outcome) = change.outcome() {
            counters.outcomes[outcome as usize] += 1;
        }
        if let Some(search) = change.search() {
            counters.searches[search as usize] += 1;
        }
        let owner = seen.current.filter(|_| change.has_owner()).map(|task| self.name(&task));
        if change.has_record() {
            let fate = if seen.ring_full { Fate::RingFull } else { Fate::Written };
            self.write(netns, fate, record(seen, &change, owner).as_bytes());
        }
    }

    /// Names `task` at first sight, as far as it has a name.
    fn name(&mut self, task: &Task) -> ProcessKey {
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
        key
    }

    /// The records since the last call.
    pub(crate) fn records(&mut self) -> Frame {
        Frame::Records(Bytes::from(std::mem::take(&mut self.records)))
    }

    /// The totals so far.
    pub(crate) fn totals(&self) -> Frame {
        let by_netns = self.counters.iter().map(|(netns, counters)| (*netns, *counters)).collect();
        Frame::Totals(Totals { by_netns, missed: Some(self.missed) })
    }

    /// The kernel's own counters of `namespaces`, which have been counting since boot.
    pub(crate) fn own_counters(&self, namespaces: &[u32]) -> Frame {
        let none = Own::default();
        let read = namespaces.iter().map(|netns| {
            let own = self.own.get(netns).unwrap_or(&none);
            // A namespace made later starts at 0.
            let before = u64::from(*netns == NETNS) * 1_000;
            KernelCounters {
                netns: *netns,
                tw_sockstat: Some(own.minis.len() as u64),
                counters: BTreeMap::from([
                    ("TW".into(), before + own.born),
                    ("TWKilled".into(), before),
                    ("TWRecycled".into(), before + own.recycled),
                    ("TCPTimeWaitOverflow".into(), before + own.overflow),
                ]),
            }
        });
        Frame::Kernel(read.collect())
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

/// The record of a birth, or of an end.
pub(crate) fn mini_record(mini: &MiniEvent, end: Option<End>) -> TimeWaitRecord {
    let kind = if end.is_some() { RecordKind::End } else { RecordKind::Birth };
    TimeWaitRecord {
        kind: kind as u8,
        end: end.map_or(0, |end| end as u8),
        substate: mini.substate as u8,
        padding: 0,
        netns: mini.netns,
        time_ns: mini.time_ns,
        tw: mini.tw,
        lport: mini.tuple.lport,
        rport: mini.tuple.rport,
        flags: match mini.timestamps {
            None => 0,
            Some(false) => time_wait_flags::TIMESTAMPS_KNOWN,
            Some(true) => time_wait_flags::TIMESTAMPS_KNOWN | time_wait_flags::TIMESTAMPS,
        },
        laddr: mini.tuple.laddr,
        raddr: mini.tuple.raddr,
    }
}

/// The record of a connect that has its port.
pub(crate) fn connect_record(connect: &ConnectEvent) -> ConnectRecord {
    let ConnectEvent { time_ns, sk, lport } = *connect;
    ConnectRecord { kind: RecordKind::Connect as u8, padding: [0; 5], lport, time_ns, sk }
}

/// A bind that has its port.
pub(crate) fn bound(netns: u32, search: Search, latency_ns: u64, owner: ProcessKey) -> SearchEvent {
    SearchEvent {
        time_ns: 0,
        sk: 0,
        netns,
        search,
        error: 0,
        latency_ns,
        owner,
        raddr: [0; 16],
        rport: 0,
        lport: 0,
        tried: None,
    }
}

/// The record of a search that is over.
pub(crate) fn search_record(time_ns: u64, lport: u16, search: &SearchEvent) -> SearchRecord {
    SearchRecord {
        kind: RecordKind::Search as u8,
        search: search.search as u8,
        error: search.error,
        netns: search.netns,
        time_ns,
        latency_ns: search.latency_ns,
        start_time_ns: search.owner.start_time_ns,
        sk: search.sk,
        tgid: search.owner.tgid,
        lport,
        rport: search.rport,
        raddr: search.raddr,
        tried: search.tried.unwrap_or(0),
        flags: if search.tried.is_some() { search_flags::TRIED_KNOWN } else { 0 },
        padding: [0; 3],
    }
}

/// The record of a CPU sample that met a search.
pub(crate) fn sample_record(sample: &SampleEvent) -> SampleRecord {
    SampleRecord {
        kind: RecordKind::Sample as u8,
        connects: u8::from(sample.connects),
        padding: [0; 2],
        tgid: sample.owner.tgid,
        time_ns: sample.time_ns,
        start_time_ns: sample.owner.start_time_ns,
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
        padding: 0,
        own_range: seen.own_range.map_or([0; 2], |range| [range.low, range.high]),
        laddr: seen.tuple.laddr,
        raddr: seen.tuple.raddr,
    }
}
