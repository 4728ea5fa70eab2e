//! The report of `twtrace ports`, against the files in `tests/golden/`: everything there is to
//! say, nothing at all, and what nobody knows. `UPDATE_GOLDEN=1` rewrites them.

mod common;

use common::{
    golden::assert_golden,
    kernel::{self, NETNS, PaperKernel, TP_BTF, Task, at, meta},
};
use hdrhistogram::Histogram;
use twtrace::{
    frame::{Cgroup, Frame, Meta},
    pipeline::Pipeline,
    probes::Hooks,
    stats::snapshot::{
        BindExplicit, BoundConnects, Client, Destination, Encoded, Failures, Halves, Hdr,
        PortSearch, PortSearchKind, Proxy, RangeState, ReuseRefusals, Samples, SearchFailure,
        SearchOp, SearchRange, SearchedDestination, SearchedNetns, SearchingProcess, Snapshot,
        Summary, TwReuse,
    },
    view::{
        json,
        text::{self, Whose},
    },
};

use twtrace_common::Search;

#[test]
fn all_there_is_to_say() {
    let mut snapshot = nothing(TP_BTF);
    snapshot.port_search = Some(full_search());
    snapshot.destinations = Some(destinations());
    snapshot.clients = Some(vec![Client {
        netns: Some(NETNS),
        laddr: Some("10.0.0.1".to_owned()),
        lport: Some(443),
        raddr: Some("192.0.2.77".to_owned()),
        quadruplets_used: 31_000,
        time_wait: 28_500,
        ..Client::default()
    }]);
    snapshot.proxies = Some(vec![Proxy {
        pid: Some(812),
        comm: Some("haproxy".to_owned()),
        netns: Some(NETNS),
        outbound_time_wait: 14_116,
        inbound_time_wait: 28_500,
    }]);
    snapshot.tw_reuse = Some(vec![TwReuse {
        netns: NETNS,
        setting: Some(2),
        delay_ms: Some(1_000),
        reusable: Some(0),
        refused: ReuseRefusals {
            setting: Some(14_000),
            no_timestamps: Some(100),
            too_young: Some(16),
            fin_wait2: Some(3),
            bound: Some(0),
        },
    }]);
    snapshot.hdr = Some(Hdr {
        time_wait_lifetime: None,
        port_search_bind: Some(encoded(&[(12_345, 1)])),
        port_search_connect: Some(encoded(&[(1_800, 14_000), (3_000, 100), (230_000, 17_250)])),
    });
    let whose = Whose::Command("wrk -c 100 -d 60 http://10.0.0.2/index.html".to_owned());
    assert_report("ports_full", &snapshot, &whose);
    let top = text::snapshot(&snapshot);
    assert_fits(&top);
    assert_golden("tests/golden/ports_full_top.txt", &top);
}

#[test]
fn nothing_to_say() {
    let mut snapshot = nothing(TP_BTF);
    snapshot.destinations = Some(Vec::new());
    snapshot.clients = Some(Vec::new());
    snapshot.proxies = Some(Vec::new());
    snapshot.tw_reuse = Some(Vec::new());
    assert_report("ports_empty", &snapshot, &Whose::Everybody);
}

#[test]
fn nothing_known() {
    let whose = Whose::EverybodyDuring {
        command: "make -j8 check".to_owned(),
        why: "cannot make a cgroup: /sys/fs/cgroup/unified/twtrace-ports-4711: Read-only file \
              system (os error 30)"
            .to_owned(),
    };
    assert_report("ports_unknown", &nothing(Hooks::POLLING), &whose);
    let mut snapshot = nothing(TP_BTF);
    snapshot.port_search = Some(PortSearch {
        by_process: vec![SearchingProcess {
            comm: None,
            pid: None,
            failed: None,
            latency_ns: EMPTY,
            total_ns: 0,
            ..process(7)
        }],
        failures: vec![SearchFailure {
            pid: None,
            comm: None,
            raddr: None,
            rport: None,
            last: None,
            ..failure()
        }],
        ..full_search()
    });
    snapshot.destinations = Some(vec![Destination { ports_used: 3, ..Destination::default() }]);
    snapshot.tw_reuse = Some(vec![TwReuse {
        netns: NETNS,
        setting: None,
        delay_ms: None,
        reusable: None,
        refused: ReuseRefusals::default(),
    }]);
    assert_report("ports_nulls", &snapshot, &Whose::Everybody);
}

#[test]
fn only_the_commands_cgroup_is_counted() {
    let [inside, outside] =
        [(1, b"inside"), (2, b"nobody")].map(|(pid, comm)| Task::new(pid, u64::from(pid), comm));
    let searches = |searches_of| {
        let mut kernel = PaperKernel::new(TP_BTF);
        for task in [inside, outside, outside] {
            let bind = kernel::bound(NETNS, Search::Bind, 1_000, task.key);
            kernel.bind(at(0.2), 8_080, &bind, &task);
        }
        let meta = Meta { searches_of, ..meta(TP_BTF) };
        let frames = [kernel.records(), kernel.totals()];
        run(meta, &frames).port_search.expect("searches are seen")
    };
    let everybody = searches(None);
    assert_eq!((everybody.bind.count, everybody.by_process.len()), (3, 2));
    assert_eq!(everybody.only_cgroup, None);
    // On the paper kernel the cgroup of a process has its number.
    let path = "/twtrace-ports-1".to_owned();
    let own = searches(Some(Cgroup { id: u64::from(inside.key.tgid), path: path.clone() }));
    assert_eq!((own.bind.count, own.bind.latency_ns.count), (1, 1));
    assert_eq!(own.by_process[0].comm.as_deref(), Some("inside"));
    assert_eq!((own.by_process.len(), own.only_cgroup), (1, Some(path.clone())));
    let none = searches(Some(Cgroup { id: 3, path }));
    assert_eq!((none.bind.count, none.bind.latency_ns.count, none.by_process.len()), (0, 0, 0));
}

/// The report as text, and the JSON beside it.
#[track_caller]
fn assert_report(name: &str, snapshot: &Snapshot, whose: &Whose) {
    let text = text::ports(snapshot, whose);
    assert_fits(&text);
    assert_golden(&format!("tests/golden/{name}.txt"), &text);
    let line = json::line(snapshot).expect("a Snapshot can be written");
    let pretty: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
    let pretty = serde_json::to_string_pretty(&pretty).expect("it still is") + "\n";
    assert_golden(&format!("tests/golden/{name}.json"), &pretty);
}

#[track_caller]
fn assert_fits(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "longer than 80 columns: {line}");
    }
}

const EMPTY: Summary<u64> =
    Summary { count: 0, min: None, mean: None, p50: None, p90: None, p99: None, max: None };

fn summary(count: u64, p50: u64, max: u64) -> Summary<u64> {
    let [p50, max] = [Some(p50), Some(max)];
    Summary { count, min: p50, mean: p50, p50, p90: max, p99: max, max }
}

fn full_search() -> PortSearch {
    let failed = |error, count| Some(Failures::from([(error, count)]));
    let found = |first_half, second_half, unknown| Halves { first_half, second_half, unknown };
    PortSearch {
        only_cgroup: Some("/user.slice/twtrace-ports-4711".to_owned()),
        connect: PortSearchKind {
            count: 31_350,
            failed: failed("EADDRNOTAVAIL", 12),
            latency_ns: summary(31_350, 2_300, 1_234_567),
            total_ns: 4_000_000_000,
            cpu_core_pct: Some(38.2),
            found: found(14_116, 17_222, 0),
            tried: Some(summary(31_350, 3, 28_231)),
        },
        bind: PortSearchKind {
            count: 1,
            failed: failed("EADDRINUSE", 0),
            latency_ns: summary(1, 12_345, 12_345),
            total_ns: 12_345,
            cpu_core_pct: Some(0.0),
            found: found(1, 0, 3),
            tried: None,
        },
        bind_explicit: BindExplicit { count: 3, failed: failed("EADDRINUSE", 2) },
        by_process: vec![process(3_141), process(4_194_303)],
        by_destination: vec![
            searched(Some("10.0.0.2"), Some(443)),
            searched(Some("2001:db8:1234:5678:9abc:def0:1234:5678"), Some(65_535)),
            SearchedDestination { other: true, netns: None, ..searched(None, None) },
        ],
        by_netns: [NETNS, NETNS + 200]
            .map(|netns| SearchedNetns {
                other: false,
                netns: Some(netns),
                op: Some(SearchOp::Connect),
                count: 15_675,
                failed: failed("EADDRNOTAVAIL", 6),
                latency_ns: summary(15_675, 2_300, 1_234_567),
                total_ns: 2_000_000_000,
            })
            .to_vec(),
        failures: vec![
            failure(),
            SearchFailure {
                op: Some("bind_explicit"),
                error: Some("EADDRINUSE"),
                raddr: None,
                rport: None,
                lport: Some(8_080),
                last: None,
                ..failure()
            },
        ],
        bind_before_connect: vec![BoundConnects {
            other: false,
            pid: Some(99),
            comm: Some("envoy".to_owned()),
            netns: Some(NETNS),
            count: 1_204,
            in_range: Some(1_200),
        }],
        samples: Some(Samples { hz: 99, bind: 0, connect: 2_269 }),
    }
}

fn process(pid: u32) -> SearchingProcess {
    SearchingProcess {
        other: false,
        pid: Some(pid),
        comm: Some("0123456789abcdef".to_owned()),
        op: Some(SearchOp::Connect),
        count: 15_675,
        failed: Some(Failures::from([("EADDRNOTAVAIL", 6)])),
        latency_ns: summary(15_675, 2_300, 1_234_567),
        total_ns: 2_000_000_000,
        cpu_core_pct: Some(19.1),
    }
}

fn searched(raddr: Option<&str>, rport: Option<u16>) -> SearchedDestination {
    SearchedDestination {
        other: false,
        netns: Some(NETNS),
        raddr: raddr.map(str::to_owned),
        rport,
        count: 10_450,
        failed: Failures::from([("EADDRNOTAVAIL", 4)]),
        latency_ns: summary(10_450, 2_300, 1_234_567),
        total_ns: 1_333_000_000,
    }
}

fn failure() -> SearchFailure {
    SearchFailure {
        other: false,
        pid: Some(3_141),
        comm: Some("wrk".to_owned()),
        netns: Some(NETNS),
        op: Some("connect"),
        error: Some("EADDRNOTAVAIL"),
        laddr: Some("10.0.0.1".to_owned()),
        raddr: Some("10.0.0.2".to_owned()),
        rport: Some(443),
        lport: None,
        count: 12,
        last: Some(RangeState {
            low: 32_768,
            high: 60_999,
            ports_used: 28_232,
            ports_available: 28_232,
        }),
    }
}

fn destinations() -> Vec<Destination> {
    let full = Destination {
        netns: Some(NETNS),
        laddr: Some("10.0.0.1".to_owned()),
        raddr: Some("10.0.0.2".to_owned()),
        rport: Some(443),
        ports_used: 28_232,
        ports_time_wait: 28_000,
        ports_available: Some(28_232),
        ports_bound: Some(0),
        ports_reusable: Some(0),
        used_ratio: Some(1.0),
        range: Some(SearchRange { low: 32_768, high: 60_999, own: false, step: Some(2) }),
        opens_per_s: Some(470.4),
        knee_in_s: Some(0.0),
        exhausted_in_s: Some(0.0),
        connect_errors: Failures::from([("EADDRNOTAVAIL", 12)]),
        pid: Some(3_141),
        comm: Some("wrk".to_owned()),
        ..Destination::default()
    };
    let filling = Destination {
        raddr: Some("2001:db8::2".to_owned()),
        laddr: Some("2001:db8::1".to_owned()),
        ports_used: 9_000,
        ports_time_wait: 8_000,
        used_ratio: Some(0.318_8),
        opens_per_s: Some(120.0),
        knee_in_s: Some(42.6),
        exhausted_in_s: Some(160.3),
        connect_errors: Failures::new(),
        ..full.clone()
    };
    let quiet = Destination {
        ports_used: 3,
        used_ratio: Some(0.0001),
        knee_in_s: None,
        exhausted_in_s: None,
        pid: None,
        comm: None,
        ..filling.clone()
    };
    let others = Destination { other: true, ports_used: 77, ..Destination::default() };
    vec![full, filling, quiet, others]
}

fn encoded(values: &[(u64, u64)]) -> Encoded {
    let mut histogram = Histogram::<u64>::new(3).expect("three figures are allowed");
    for (value, count) in values {
        histogram.record_n(*value, *count).expect("it grows as needed");
    }
    Encoded(histogram)
}

/// A run in which nothing happened.
fn nothing(hooks: Hooks) -> Snapshot {
    let kernel = PaperKernel::new(hooks);
    run(meta(hooks), &[kernel.totals(), kernel.own_counters(&[NETNS])])
}

fn run(meta: Meta, frames: &[Frame]) -> Snapshot {
    let mut pipeline = Pipeline::new(meta, 10_000, 10);
    for frame in frames {
        pipeline.apply(frame).expect("the frame is sound");
    }
    let snapshot = pipeline.apply(&kernel::tick(60.0)).expect("a tick holds no records");
    snapshot.expect("a tick gives a Snapshot")
}
