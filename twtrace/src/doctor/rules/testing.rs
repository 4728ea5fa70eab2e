//! Facts of a host where nothing is wrong, for tests that break one thing.

use std::collections::BTreeMap;

use twtrace_common::TcpState;

use crate::{
    census::{Census, Holders, Place, Socket, report::Report},
    doctor::{
        command::Entry,
        facts::{Conntrack, Descriptors, Facts, Machine, Namespace, Softirq, Used, Window},
    },
    event::Tuple,
    frame::{Frame, KernelCounters, Meta},
    pipeline::Pipeline,
    probes::Hooks,
    stats::snapshot::{
        BindExplicit, Closer, Destination, Ended, Failures, Halves, PortSearch, PortSearchKind,
        ReuseRefusals, SearchOp, SearchRange, SearchingProcess, Snapshot, Summary, TimeWait,
        TwReuse,
    },
};

/// The namespace of these facts.
pub(crate) const NETNS: u32 = 4_026_532_201;
/// A process in it.
pub(crate) const HOLDER: u32 = 71;

/// Ten seconds in which nothing was wrong.
pub(crate) fn healthy() -> Facts {
    let counters = KernelCounters {
        netns: NETNS,
        tw_sockstat: Some(10),
        counters: COUNTERS.map(|name| (name.into(), 7)).into(),
    };
    let settings = [
        ("net.ipv4.ip_local_port_range", "32768\t60999"),
        ("net.ipv4.tcp_timestamps", "1"),
        ("net.ipv4.tcp_tw_reuse", "2"),
        ("net.ipv4.tcp_max_tw_buckets", "65536"),
        ("net.ipv4.tcp_fin_timeout", "60"),
        ("net.ipv4.tcp_syncookies", "1"),
        ("net.ipv4.tcp_abort_on_overflow", "0"),
        ("net.core.somaxconn", "4096"),
    ];
    let namespace = Namespace {
        entry: Entry::Process(HOLDER),
        sysctls: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        counters: Ok(Window { before: counters.clone(), after: counters }),
        conntrack: Ok(Conntrack {
            count: 10,
            max: 262_144,
            dropped: 0,
            early_drop: 0,
            insert_failed: 0,
        }),
    };
    Facts {
        snapshot: snapshot(),
        namespaces: BTreeMap::from([(NETNS, namespace)]),
        census: Err("not looked at".to_owned()),
        machine: Machine {
            slabs: Ok([("tw_sock_TCP".to_owned(), 256)].into()),
            files: Ok(Used { now: 1_000, max: 1_000_000 }),
            descriptors: Ok(Descriptors::default()),
            hidden_processes: None,
            memory: Ok(Used { now: 100, max: 100_000 }),
            orphans: Ok(Used { now: 0, max: 16_384 }),
            configured: Ok(Vec::new()),
            softirq: Ok(Softirq { dropped: 0, squeezed: 0 }),
        },
    }
}

/// Counters that rules look at.
const COUNTERS: [&str; 15] = [
    "TW",
    "TCPTimeWaitOverflow",
    "ListenOverflows",
    "ListenDrops",
    "TCPReqQFullDrop",
    "TCPReqQFullDoCookies",
    "SyncookiesSent",
    "TCPAbortOnData",
    "TCPAbortOnClose",
    "ActiveOpens",
    "PassiveOpens",
    "TWRecycled",
    "TCPSynRetrans",
    "TCPSYNChallenge",
    "TCPACKSkippedChallenge",
];

/// What a pipeline says to which nothing was told for ten seconds.
fn snapshot() -> Snapshot {
    let meta = Meta {
        hostname: "host".to_owned(),
        kernel: "6.18.0".to_owned(),
        boot_id: "boot".to_owned(),
        started_ns: 0,
        wall_at_boot_ns: 0,
        hooks: Hooks::POLLING,
        home_netns: Some(NETNS),
        own_range_step: 1,
        tw_counts_births: Some(true),
        sample_hz: None,
        searches_of: None,
        continues: false,
    };
    let tick = Frame::Tick { time_ns: 10_000_000_000, wall_ns: 1_000_000_000_000_000_000 };
    let snapshot = Pipeline::new(meta, 100, 100).apply(&tick).expect("a tick holds no records");
    let time_wait = TimeWait {
        now: Some(10),
        seeded: Some(10),
        born: None,
        refused: None,
        rearmed: None,
        ended: Ended::default(),
        lifetime_s: None,
        lifetime_by_end: None,
        time_wait_s: None,
        remaining_s: None,
    };
    Snapshot { time_wait: Some(time_wait), ..snapshot.expect("a tick gives a Snapshot") }
}

/// Lets a counter of the namespace grow.
pub(crate) fn grow(facts: &mut Facts, name: &'static str, by: u64) {
    let namespace = facts.namespaces.get_mut(&NETNS).expect("it is there");
    let window = namespace.counters.as_mut().expect("they are known");
    *window.after.counters.get_mut(name).expect("a counter of these facts") += by;
}

/// Sets a sysctl of the namespace.
pub(crate) fn set(facts: &mut Facts, name: &str, value: &str) {
    let namespace = facts.namespaces.get_mut(&NETNS).expect("it is there");
    namespace.sysctls.insert(name.to_owned(), value.to_owned());
}

/// A destination of a process, of which so many of 1,000 ports are taken, all in TIME_WAIT.
pub(crate) fn destination(used: u64) -> Destination {
    Destination {
        netns: Some(NETNS),
        laddr: Some("10.0.0.1".to_owned()),
        raddr: Some("10.0.0.9".to_owned()),
        rport: Some(6_379),
        ports_used: used,
        ports_time_wait: used,
        ports_available: Some(1_000),
        ports_bound: Some(0),
        ports_reusable: Some(0),
        used_ratio: Some(used as f64 / 1_000.0),
        range: Some(SearchRange { low: 40_000, high: 40_999, own: false, step: Some(2) }),
        opens_per_s: Some(used as f64 / 60.0),
        connect_errors: Failures::from([("EADDRNOTAVAIL", 0)]),
        pid: Some(90),
        comm: Some("client".to_owned()),
        ..Destination::default()
    }
}

/// What connects may reuse where the setting forbids it for `forbidden`.
pub(crate) fn tw_reuse(forbidden: u64) -> TwReuse {
    TwReuse {
        netns: NETNS,
        setting: Some(2),
        delay_ms: Some(1_000),
        reusable: Some(0),
        refused: ReuseRefusals { setting: Some(forbidden), ..ReuseRefusals::default() },
    }
}

/// The searches of a process that spends so much of a core on them.
pub(crate) fn port_search(cpu_core_pct: f64) -> PortSearch {
    let latency_ns =
        Summary { count: 0, min: None, mean: None, p50: None, p90: None, p99: None, max: None };
    let kind = PortSearchKind {
        count: 700,
        failed: None,
        latency_ns: latency_ns.clone(),
        total_ns: 0,
        cpu_core_pct: Some(cpu_core_pct),
        found: Halves::default(),
        tried: None,
    };
    PortSearch {
        only_cgroup: None,
        bind: kind.clone(),
        bind_explicit: BindExplicit { count: 0, failed: None },
        connect: kind,
        by_process: vec![SearchingProcess {
            other: false,
            pid: Some(90),
            comm: Some("client".to_owned()),
            op: Some(SearchOp::Connect),
            count: 700,
            failed: None,
            latency_ns,
            total_ns: 0,
            cpu_core_pct: Some(cpu_core_pct),
        }],
        by_destination: Vec::new(),
        by_netns: Vec::new(),
        failures: Vec::new(),
        bind_before_connect: Vec::new(),
        samples: None,
    }
}

/// A process that closed first so often.
pub(crate) fn closer(role: &'static str, active_closes: u64) -> Closer {
    Closer {
        pid: Some(90),
        comm: Some("client".to_owned()),
        netns: Some(NETNS),
        role: Some(role),
        active_closes,
        share: Some(1.0),
        resets: Some(0),
        time_wait_now: Some(active_closes),
        ..Closer::default()
    }
}

/// What a look finds where one process holds so many sockets in one state.
pub(crate) fn held(facts: &Facts, pid: u32, state: &str, count: u32) -> Report {
    let mut place = Place::new(NETNS);
    let state = TcpState::ALL.into_iter().find(|it| it.name() == state).expect("a state");
    for inode in 1..=count {
        let tuple = Tuple { laddr: [0; 16], raddr: [1; 16], lport: 80, rport: 1 };
        place.socket(&Socket { state, mini: false, keepalive: false, tuple, inode });
    }
    let mut census = Census::new(10);
    census.add(place);
    let mut holders = Holders::default();
    holders.by_inode.extend((1..=count).map(|inode| (inode, pid)));
    holders.names.insert(pid, "gateway".to_owned());
    census.report(&holders, facts.snapshot.host.clone(), String::new())
}

/// What a look finds where so many mini-sockets are in each substate.
pub(crate) fn closed(facts: &Facts, fin_wait2: u32, time_wait: u32) -> Report {
    let mut place = Place::new(NETNS);
    let tuple = Tuple { laddr: [0; 16], raddr: [1; 16], lport: 80, rport: 1 };
    for (state, count) in [(TcpState::FinWait2, fin_wait2), (TcpState::TimeWait, time_wait)] {
        let socket = Socket { state, mini: true, keepalive: false, tuple, inode: 0 };
        (0..count).for_each(|_| place.socket(&socket));
    }
    let mut census = Census::new(10);
    census.add(place);
    census.report(&Holders::default(), facts.snapshot.host.clone(), String::new())
}
