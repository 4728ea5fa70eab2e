//! Every view of some runs, against the files in `tests/golden/`. `UPDATE_GOLDEN=1` rewrites them.

mod common;

use common::{
    golden::assert_golden,
    kernel::{self, CLASSIC, Fate, NETNS, PaperKernel, SAMPLED, Seen, TP_BTF, Task, at, meta},
};
use twtrace::{
    event::{ConnectEvent, MiniEvent, SampleEvent},
    frame::{
        CloseWaiting, CloseWaits, Frame, Meta, Polled, PolledMini, ProcessFacts, SeedMini, Totals,
    },
    pipeline::Pipeline,
    probes::{Capability, Hooks, Tier},
    selftest::case::{self, Case, Count, Done, Rules, Verdict},
    stats::snapshot::Snapshot,
    view::{check, csv, json, selftest, text},
};
use twtrace_common::{
    Counters, End, Outcome, Search,
    TcpState::{
        self, Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
        TimeWait,
    },
    pair_index,
};

#[test]
fn empty_run() {
    let kernel = PaperKernel::new(TP_BTF);
    let frames = [kernel.totals(), kernel.own_counters(&[NETNS])];
    assert_views("empty", &run(meta(TP_BTF), 10, &frames, 1.0));
}

#[test]
fn busy_run() {
    let mut kernel = PaperKernel::new(SAMPLED);
    let before = |port| common::fixture::tuple(&format!("10.0.0.1:{port}"), "10.0.0.2:443");
    let minis = [50_000, 50_001].map(|port| SeedMini {
        netns: NETNS,
        substate: TimeWait,
        expires_ms: 30_000,
        tuple: before(port),
    });
    minis.iter().for_each(|mini| kernel.mini_from_before(mini.netns, mini.tuple));
    let seed =
        Frame::Seed { sockets: vec![], minis: minis.to_vec(), until_ns: at(0.0), complete: true };
    let first = [seed, kernel.totals(), kernel.own_counters(&[NETNS, NETNS + 200])];
    let (curl, nginx) = (Task::new(3_141, 1, b"curl"), Task::new(812, 2, b"nginx"));
    for port in 0..30 {
        live(&mut kernel, port, curl, NETNS, TimeWait);
    }
    for port in 30..42 {
        live(&mut kernel, port, nginx, NETNS + 200, FinWait2);
    }
    let ends = [End::Expired, End::Expired, End::Reused, End::ReusedBound, End::Replaced];
    for (port, end) in (0..).zip(ends.into_iter().chain([End::Reset, End::Aborted])) {
        kernel.end(&mini(port, NETNS, TimeWait, 6.2 + f64::from(port)), end, Fate::Written);
    }
    kernel.end(&mini(30, NETNS + 200, TimeWait, 9.0), End::Expired, Fate::Written);
    kernel.end(&mini(31, NETNS + 200, FinWait2, 9.5), End::FinWait2Timeout, Fate::Written);
    kernel.end(&mini(29, NETNS, TimeWait, 9.6), End::Reset, Fate::Missed);
    refused_and_searched(&mut kernel, nginx);
    let container = "3f4c".repeat(16);
    let places = Frame::Processes(vec![
        place(curl, "/user.slice/user-1000.slice", None),
        place(nginx, "/system.slice/docker.scope", Some(&container)),
    ]);
    let last =
        [kernel.records(), places, kernel.totals(), kernel.own_counters(&[NETNS, NETNS + 200])];
    let frames: Vec<Frame> = first.into_iter().chain(last).collect();
    assert_views("busy", &run(meta(SAMPLED), 10, &frames, 10.0));
}

#[test]
fn run_with_losses() {
    let mut kernel = PaperKernel::new(TP_BTF);
    for port in 0..3 {
        let seen = seen(port, Established, CloseWait, None, NETNS);
        kernel.transition(&Seen { time_ns: at(0.5), ..seen });
    }
    let frames = [kernel.records(), totals(1_000, 4, 77)];
    let mut pipeline = Pipeline::new(meta(TP_BTF), 2, 10);
    assert_views("loss", &apply(&mut pipeline, &frames, 2.0));
}

/// Two that leak, a queue that nobody accepts from, and those that are closed in time.
#[test]
fn run_with_leaks() {
    let mut kernel = PaperKernel::new(TP_BTF);
    let app = Task::new(4_194_303, 1, b"0123456789abcdef");
    let proxy = Task::new(812, 2, b"proxy");
    close(&mut kernel, 1, app, NETNS);
    close(&mut kernel, 2, proxy, NETNS);
    let waits = |cookie: u64, netns, since_s, holder: Option<Task>| CloseWaiting {
        cookie,
        netns,
        tuple: common::fixture::tuple("10.0.0.1:80", "10.0.0.2:4000"),
        seen_ns: at(if since_s < 2.0 { 2.0 } else { 62.0 }),
        since_ns: at(since_s),
        accepted: holder.is_some(),
        holder: holder.map(|task| task.key),
    };
    let first = (0..1_200).map(|n| waits(n, NETNS, 1.0, Some(app)));
    let first = first.chain((2_000..2_060).map(|n| waits(n, NETNS + 200, 0.5, Some(proxy))));
    let first = first.chain((3_000..3_007).map(|n| waits(n, NETNS, 1.5, None)));
    let young = [waits(4_000, NETNS + 300, 61.9, None)];
    let then = (1_200..1_234).map(|n| waits(n, NETNS, 50.0, Some(app))).chain(young);
    let look = |seconds, appeared: Vec<CloseWaiting>, gone| {
        let time_ns = at(seconds);
        Frame::CloseWaits(Some(CloseWaits { time_ns, complete: true, appeared, gone }))
    };
    let container = "3f4c".repeat(16);
    let frames = [
        kernel.records(),
        Frame::Processes(vec![place(proxy, "/docker", Some(&container))]),
        kernel.totals(),
        look(2.0, first.collect(), vec![]),
        look(62.0, then.collect(), vec![2_000, 2_001]),
    ];
    assert_views("leaks", &run(meta(TP_BTF), 10, &frames, 63.0));
}

#[test]
fn polling() {
    let states = vec![(Established, 1_204), (Listen, 18), (TimeWait, 28_211)];
    let mini = |cookie| {
        // The first 150 are due between the two looks.
        let expires_ms = if cookie < 150 { 500 } else { 30_000 };
        let lport = u16::try_from(cookie).expect("it is small") + 30_000;
        let tuple = common::fixture::tuple(&format!("10.0.0.1:{lport}"), "10.0.0.2:443");
        PolledMini { netns: NETNS, cookie, substate: TimeWait, expires_ms, tuple }
    };
    let look = |seconds, cookies: std::ops::Range<u64>| {
        Frame::Polled(Some(Polled {
            time_ns: at(seconds),
            until_ns: at(seconds + 0.01),
            states: states.clone(),
            sockets: Vec::new(),
            minis: cookies.map(mini).collect(),
            looked_at: vec![NETNS],
            failed: Vec::new(),
            complete: true,
        }))
    };
    let looks = [look(4.0, 0..28_000), look(5.0, 200..28_214)];
    assert_views("polling", &run(meta(Hooks::POLLING), 10, &looks, 5.0));
}

#[test]
fn classic_hook() {
    let mut kernel = PaperKernel::new(CLASSIC);
    for port in 0..5 {
        close(&mut kernel, port, Task::new(3_141, 1, b"curl"), NETNS);
    }
    let seen = seen(9, Established, Close, None, NETNS);
    kernel.transition(&Seen { time_ns: at(0.5), ..seen });
    let frames = [kernel.records(), kernel.totals()];
    assert_views("classic", &run(meta(CLASSIC), 10, &frames, 1.0));
}

#[test]
fn long_names() {
    let mut kernel = PaperKernel::new(TP_BTF);
    close(&mut kernel, 1, Task::new(4_194_303, 1, b"0123456789abcdef"), u32::MAX);
    close(&mut kernel, 2, Task::new(4_194_302, 1, "äöüßéèêç".as_bytes()), u32::MAX);
    let meta = Meta {
        hostname: "a-very-long-name-of-a-host.rack12.dc3.example.com".to_owned(),
        kernel: "6.12.48+deb13-cloud-amd64-with-more-words".to_owned(),
        ..meta(TP_BTF)
    };
    let frames = [kernel.records(), kernel.totals()];
    assert_views("long_names", &run(meta, 10, &frames, 86_400.0));
}

#[test]
fn more_rows_than_are_shown() {
    let mut kernel = PaperKernel::new(TP_BTF);
    for process in 0..60 {
        for port in 0..=process {
            let task = Task::new(1_000 + u32::from(process), 1, b"worker");
            close(&mut kernel, process * 100 + port, task, NETNS);
        }
    }
    let frames = [kernel.records(), kernel.totals()];
    let snapshot = run(meta(TP_BTF), 50, &frames, 1.0);
    let rows = snapshot.closers.as_ref().expect("something was traced");
    assert_eq!((rows.len(), rows[50].other), (51, true));
    assert_eq!(rows.iter().map(|row| row.active_closes).sum::<u64>(), 60 * 61 / 2);
    assert_views("many_rows", &snapshot);
}

#[test]
fn billions_fit_a_line() {
    let mut kernel = PaperKernel::new(TP_BTF);
    close(&mut kernel, 1, Task::new(4_194_303, 1, b"0123456789abcdef"), u32::MAX);
    let frames = [kernel.records(), totals(1_000_000_000, 8, 1_000_000_000)];
    assert_views("billions", &run(meta(TP_BTF), 10, &frames, 86_400.0));
}

#[test]
fn a_name_cannot_speak_to_the_terminal() {
    let mut kernel = PaperKernel::new(TP_BTF);
    close(&mut kernel, 1, Task::new(666, 1, b"\x1b[2J\x07\r\n\x7f\xc2\x9b5mx"), NETNS);
    close(&mut kernel, 2, Task::new(667, 1, b"\xff\xfe,\"'"), NETNS);
    let frames = [kernel.records(), kernel.totals()];
    let snapshot = run(meta(TP_BTF), 10, &frames, 1.0);
    let shown = [text::snapshot(&snapshot), csv::line(&snapshot), line(&snapshot)];
    for view in shown {
        let raw = view.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(raw, None, "a control character reaches the output: {view:?}");
    }
    assert_views("control_characters", &snapshot);
}

#[test]
fn what_check_found() {
    let hook = |name: &str, why: Option<&str>, fix: Option<&str>| check::HookLine {
        name: name.to_owned(),
        capability: Capability::Transitions,
        tier: Tier::Tracepoint,
        attached: why.is_none(),
        why: why.map(str::to_owned),
        fix: fix.map(str::to_owned),
        cost: why.is_none().then_some(check::Cost {
            runs_per_s: 184_160.4,
            ns_per_run: Some(146.2),
            core_pct: Some(2.692_4),
        }),
    };
    let refused = hook(
        "tp_btf/inet_sock_set_state",
        Some("the kernel has no BTF"),
        Some("a kernel with CONFIG_DEBUG_INFO_BTF=y"),
    );
    let attached = hook("tracepoint/sock/inet_sock_set_state", None, None);
    let capability = |capability, tier, lost: Option<&str>| check::CapabilityLine {
        capability,
        tier,
        lost: lost.map(str::to_owned),
    };
    let rest = [Capability::TimeWait, Capability::EndCause, Capability::PortSearch]
        .map(|rest| capability(rest, None, Some("what it would give")));
    let right = |right, buys, fix: Option<&str>| check::RightLine {
        right,
        held: fix.is_none(),
        buys,
        fix: fix.map(str::to_owned),
    };
    let report = |hooks, exact: Hooks, first| check::Report {
        kernel: "5.10.0-30-amd64".to_owned(),
        measuring_ns: Some(63.4),
        sockets_left_out: None,
        rights: vec![
            right("CAP_BPF", "programs and maps: all that is traced", None),
            right("CAP_DAC_READ_SEARCH", "who holds sockets, of other users", Some("give it")),
        ],
        hooks,
        capabilities: [first].into_iter().chain(rest.clone()).collect(),
        exactness: exact.exactness(),
    };
    let tier = Some(Tier::Tracepoint);
    let lost = "network namespaces, who reset, why a connect failed";
    let first = capability(Capability::Transitions, tier, Some(lost));
    let mut quiet = hook("cgroup/post_bind6", None, None);
    quiet.cost = Some(check::Cost { runs_per_s: 0.0, ns_per_run: None, core_pct: None });
    assert_report("check_classic", &report(vec![refused, attached, quiet], CLASSIC, first));
    let first = capability(Capability::Transitions, None, Some("closes, connects and closers"));
    assert_report("check_polling", &report(vec![], Hooks::POLLING, first));
}

#[test]
fn what_selftest_found() {
    let mut done = Done::default();
    done.add("closes.active", 2);
    done.add("time_wait.ended.reused", 1);
    done.add("time_wait.rearmed", 1);
    done.is("closers.client.lifetime_s", Count::between(60, 66));
    let mut seen = case::Seen::from([
        ("closes.active", Some(2)),
        ("closers.client.lifetime_s", Some(61)),
        ("time_wait.ended.reused", Some(1)),
        ("time_wait.rearmed", None),
    ]);
    let words = TP_BTF.exactness();
    let rules = Rules { words: &words, missed: 0 };
    let inferred = Case::judge("reused", &done, &seen, rules);
    seen.insert("time_wait.ended.reused", Some(0));
    seen.insert("time_wait.ended.other", Some(1));
    let fail = Case::judge("reused_v6", &done, &seen, rules);
    let mut done = Done::default();
    done.impossible = Some("it ends none".to_owned());
    done.add("closes.active", 5);
    let seen = [("closes.active", Some(4))].into();
    let pass = Case::judge("aborted", &done, &seen, Rules { missed: 1, ..rules });
    let error = anyhow::anyhow!("no memory").context("cannot make a socket");
    let not_played = Case::not_played("purged", &error);
    let report = selftest::Report {
        kernel: "6.12.48+deb13-cloud-amd64".to_owned(),
        tier: Tier::Tracepoint,
        cases: vec![inferred, fail, pass, not_played],
    };
    assert_eq!(report.verdict(), Verdict::Fail);
    let text = selftest::text(&report);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert_golden("tests/golden/selftest.txt", &text);
    let json = selftest::json(&report).expect("a report can be written");
    assert_golden("tests/golden/selftest.json", &json);
}

/// All views of one Snapshot, in one file each.
#[track_caller]
fn assert_views(name: &str, snapshot: &Snapshot) {
    let line = line(snapshot);
    assert_eq!(line.matches('\n').count(), 1, "one line of JSON per Snapshot");
    let pretty: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
    let pretty = serde_json::to_string_pretty(&pretty).expect("it still is") + "\n";
    let table = csv::header() + &csv::line(snapshot);
    let fields: Vec<usize> = table.lines().map(|line| line.split(',').count()).collect();
    assert!(fields.len() == 2 && fields[0] == fields[1], "a value for each title: {table}");
    for line in text::snapshot(snapshot).lines() {
        assert!(line.chars().count() <= 80, "longer than 80 columns: {line}");
    }
    assert_golden(&format!("tests/golden/{name}.json"), &pretty);
    assert_golden(&format!("tests/golden/{name}.csv"), &table);
    assert_golden(&format!("tests/golden/{name}.txt"), &text::snapshot(snapshot));
}

#[track_caller]
fn assert_report(name: &str, report: &check::Report) {
    let text = check::text(report);
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "longer than 80 columns: {line}");
    }
    let json = check::json(report).expect("a report can be written");
    assert_golden(&format!("tests/golden/{name}.txt"), &text);
    assert_golden(&format!("tests/golden/{name}.json"), &json);
}

fn line(snapshot: &Snapshot) -> String {
    json::line(snapshot).expect("a Snapshot can be written")
}

fn run(meta: Meta, top: usize, frames: &[Frame], tick_s: f64) -> Snapshot {
    apply(&mut Pipeline::new(meta, 10_000, top), frames, tick_s)
}

fn apply(pipeline: &mut Pipeline, frames: &[Frame], tick_s: f64) -> Snapshot {
    for frame in frames {
        pipeline.apply(frame).expect("the frame is sound");
    }
    let snapshot = pipeline.apply(&kernel::tick(tick_s)).expect("a tick holds no records");
    snapshot.expect("a tick gives a Snapshot")
}

fn place(task: Task, cgroup: &str, container: Option<&str>) -> ProcessFacts {
    ProcessFacts {
        key: task.key,
        cgroup: Some(cgroup.to_owned()),
        container: container.map(str::to_owned),
    }
}

/// A connection that `task` opens, after a port search, and closes first; it leaves a mini-socket.
fn live(kernel: &mut PaperKernel, port: u16, task: Task, netns: u32, substate: TcpState) {
    let mut opens = seen(port, Close, SynSent, Some(task), netns);
    opens.tuple.lport = 0;
    kernel.transition(&opens);
    // Most searches are short.
    let latency_ns = if port % 10 == 9 { 3_456_000 } else { 1_800 + 10 * u64::from(port) };
    let found =
        ConnectEvent { time_ns: opens.time_ns + latency_ns, sk: u64::from(port), lport: port };
    kernel.connect(&found, Fate::Written);
    kernel.transition(&seen(port, SynSent, Established, None, netns));
    kernel.transition(&seen(port, Established, FinWait1, Some(task), netns));
    kernel.transition(&seen(port, FinWait1, FinWait2, None, netns));
    kernel.birth(&mini(port, netns, substate, 0.1), Fate::Written);
    kernel.transition(&seen(port, FinWait2, Close, None, netns));
}

/// A close that leaves no mini-socket, a connect without a port, and some binds.
fn refused_and_searched(kernel: &mut PaperKernel, task: Task) {
    close(kernel, 100, task, NETNS + 200);
    kernel.refuse(&mini(100, NETNS + 200, TimeWait, 0.1), Fate::Written);
    kernel.transition(&seen(100, FinWait1, Close, None, NETNS + 200));
    for (old, new, later_ns) in [(Close, SynSent, 0), (SynSent, Close, 250_000)] {
        let mut seen = seen(101, old, new, Some(task), NETNS + 200);
        seen.tuple.lport = 0;
        kernel.transition(&Seen { time_ns: seen.time_ns + later_ns, ..seen });
    }
    for connects in [true, true, false] {
        let sample = SampleEvent { time_ns: at(0.2), connects, owner: task.key };
        kernel.sample(&sample, &task);
    }
    for (search, latency_ns) in [(Search::Bind, 12_345), (Search::BindExplicit, 800)] {
        let bind = kernel::bound(NETNS, search, latency_ns, task.key);
        kernel.bind(at(0.2), 8_080, &bind, &task);
    }
}

/// The mini-socket of the connection of `port`.
fn mini(port: u16, netns: u32, substate: TcpState, after_s: f64) -> MiniEvent {
    let tuple = seen(port, FinWait2, Close, None, netns).tuple;
    MiniEvent {
        time_ns: at(after_s),
        tw: u64::from(port),
        netns,
        substate,
        tuple,
        timestamps: None,
    }
}

/// A connection opened by `task`, which closes it first.
fn close(kernel: &mut PaperKernel, port: u16, task: Task, netns: u32) {
    for (old, new, current) in [
        (Close, SynSent, Some(task)),
        (SynSent, Established, None),
        (Established, FinWait1, Some(task)),
    ] {
        kernel.transition(&seen(port, old, new, current, netns));
    }
}

fn seen(port: u16, old: TcpState, new: TcpState, current: Option<Task>, netns: u32) -> Seen {
    Seen {
        time_ns: at(0.1),
        sk: u64::from(port),
        netns,
        old,
        new,
        tuple: common::fixture::tuple(&format!("10.0.0.1:{port}"), "10.0.0.2:443"),
        locked: current.is_some(),
        error: 0,
        shutdown: 0,
        own_range: None,
        current,
        ring_full: false,
    }
}

/// Totals of a host on which everything has happened some `scale` times.
fn totals(scale: u64, active: u64, ring_full: u64) -> Frame {
    let mut counters = Counters::ZERO;
    for (old, new, count) in [
        (SynSent, Established, 61),
        (SynRecv, Established, 33),
        (Established, FinWait1, active),
        (Established, CloseWait, 23),
        (CloseWait, LastAck, 22),
    ] {
        counters.pairs[pair_index(old, new)] = count * scale;
    }
    for (outcome, count) in [
        (Outcome::ConnectOk, 61),
        (Outcome::ConnectRefused, 5),
        (Outcome::ConnectTimedOut, 4),
        (Outcome::ConnectNoPort, 3),
        (Outcome::ConnectOther, 2),
        (Outcome::CloseActive, active),
        (Outcome::ClosePassive, 23),
        (Outcome::CloseSimultaneous, 0),
        (Outcome::ResetLocal, 6),
        (Outcome::ResetRemote, 7),
    ] {
        counters.outcomes[outcome as usize] = count * scale;
    }
    counters.births = [20 * scale, 41 * scale];
    for (end, count) in End::ALL.into_iter().zip(1..) {
        counters.ends[end as usize] = count * scale / 2;
    }
    for (search, count) in Search::ALL.into_iter().zip([61, 12, 9, 1]) {
        counters.searches[search as usize] = count * scale;
    }
    counters.ring_full = ring_full;
    Frame::Totals(Totals { by_netns: vec![(Some(NETNS), counters)], missed: Some(ring_full / 7) })
}
