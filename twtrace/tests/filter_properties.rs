//! What holds for any filter: its parts sum to the whole, it changes nothing where nothing is asked
//! for, and nonsense does not break it. And cases in which a filter goes wrong.

mod common;

use std::collections::{BTreeMap, VecDeque};

use common::{
    fixture,
    kernel::{self, FENTRY, Fate, PaperKernel, SAMPLED, Seen, TP_BTF, Task, at, meta, tick},
};
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::Value;
use twtrace::{
    event::{ConnectEvent, MiniEvent, PortRange, SampleEvent, SearchEvent, Tuple},
    filter::{CannotTell, Filter, FilterStage, Filtered, Pid},
    frame::{Frame, KernelCounters, Meta, Polled, PolledMini, PortFacts, SeedSocket},
    pipeline::Pipeline,
    probes::Hooks,
    stats::snapshot::Snapshot,
    view::json,
};
use twtrace_common::{
    End, Search,
    TcpState::{
        self, Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
    },
};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..Default::default()
    })]

    /// What one half of the ports counts and what the other half counts are the whole.
    #[test]
    fn halves_sum_to_the_whole(
        lives in vec(any_life(), 1..12), order in vec(any::<Index>(), 64),
        (probed, by_rport, split) in (any::<bool>(), any::<bool>(), 2_u16..5),
    ) {
        let hooks = if probed { FENTRY } else { TP_BTF };
        // A connect without a port is in no half of the local ones.
        let has_lport = |life: &&Life| by_rport || life.kind != Kind::NoPort;
        let lives: Vec<Life> = lives.iter().filter(has_lport).copied().collect();
        let frames = told(&lives, &order, hooks);
        let below = format!("1-{}", split - 1);
        let above = format!("{split}-65535");
        let half = |ports: &str| {
            let ports = Some(ports.parse().expect("they are ports"));
            if by_rport {
                Filter { rports: ports, ..Filter::default() }
            } else {
                Filter { lports: ports, ..Filter::default() }
            }
        };
        let counts = |filter: &Filter| counts(&behind(filter, &frames, hooks));
        let mut sum = counts(&half(&below));
        for (key, count) in counts(&half(&above)) {
            *sum.entry(key).or_default() += count;
        }
        prop_assert_eq!(sum, counts(&Filter::default()));
    }

    /// Each socket here is one process's, but those that nobody closed and nobody connected.
    #[test]
    fn processes_sum_to_the_whole(
        lives in vec(any_life(), 1..12), order in vec(any::<Index>(), 64), probed in any::<bool>(),
    ) {
        let hooks = if probed { FENTRY } else { TP_BTF };
        let lives: Vec<Life> =
            lives.iter().filter(|life| life.kind != Kind::NeverClosed).copied().collect();
        let frames = told(&lives, &order, hooks);
        let mut sum = BTreeMap::new();
        for tgid in PIDS {
            let pid = Some(Pid { tgid, started_ns: None });
            let filter = Filter { pid, ..Filter::default() };
            for (key, count) in counts(&behind(&filter, &frames, hooks)) {
                *sum.entry(key).or_default() += count;
            }
        }
        prop_assert_eq!(sum, counts(&behind(&Filter::default(), &frames, hooks)));
    }

    /// The same of a file that goes on from another, wherever that ended.
    #[test]
    fn parts_of_a_second_file_sum_to_the_whole(
        lives in vec(any_life(), 1..12), order in vec(any::<Index>(), 64),
        (probed, cut, by, split) in (any::<bool>(), any::<Index>(), 0_usize..3, 2_u16..5),
    ) {
        let hooks = if probed { FENTRY } else { TP_BTF };
        let has_part = |life: &&Life| match by {
            0 => life.kind != Kind::NoPort,
            1 => true,
            _ => life.kind != Kind::NeverClosed,
        };
        let lives: Vec<Life> = lives.iter().filter(has_part).copied().collect();
        prop_assume!(!lives.is_empty());
        let (meta, frames) = second_file(&lives, &order, hooks, cut);
        let of_process = |tgid| Pid { tgid, started_ns: None };
        let ports = [format!("1-{}", split - 1), format!("{split}-65535")];
        let ports = ports.iter().map(|ports| ports.parse().expect("they are ports"));
        let parts: Vec<Filter> = match by {
            0 => ports.map(|it| Filter { lports: Some(it), ..Filter::default() }).collect(),
            1 => ports.map(|it| Filter { rports: Some(it), ..Filter::default() }).collect(),
            _ => PIDS.map(|it| Filter { pid: Some(of_process(it)), ..Filter::default() }).into(),
        };
        let mut sum = BTreeMap::new();
        for filter in &parts {
            for (key, count) in counts(&behind_of(filter, &frames, meta.clone())) {
                *sum.entry(key).or_default() += count;
            }
        }
        let mut whole = counts(&behind_of(&Filter::default(), &frames, meta));
        // That a listener's child comes to be is counted with its first record.
        for counts in [&mut sum, &mut whole] {
            counts.retain(|key, _| !key.ends_with("LISTEN>SYN_RECV") && key != "transitions.total");
        }
        prop_assert_eq!(sum, whole);
    }

    #[test]
    fn no_filter_changes_nothing(
        lives in vec(any_life(), 1..12), order in vec(any::<Index>(), 64),
    ) {
        let frames = told(&lives, &order, TP_BTF);
        let mut pipeline = Pipeline::new(meta(TP_BTF), 1_000, 50);
        let unfiltered =
            frames.iter().find_map(|frame| pipeline.apply(frame).expect("it is sound"));
        prop_assert_eq!(Some(behind(&Filter::default(), &frames, TP_BTF)), unfiltered);
    }

    /// Records that no kernel would write, in any order, doubled and cut.
    #[test]
    fn nonsense_passes_or_does_not(
        lives in vec(any_life(), 1..12), picks in vec(any::<Index>(), 0..200),
        (cut, which, limit) in (any::<Index>(), 0_usize..5, 1_usize..20),
    ) {
        let frames = told(&lives, &[], FENTRY);
        let pieces: Vec<Frame> = frames.into_iter().filter(|f| matches!(f, Frame::Records(_))).collect();
        let filter = [
            Filter { lports: Some("2".parse().expect("a port")), ..Filter::default() },
            Filter { pid: Some(Pid { tgid: 100, started_ns: None }), ..Filter::default() },
            Filter { comm: Some("p100".to_owned()), ..Filter::default() },
            Filter { cgroup: Some("/a".parse().expect("a path")), ..Filter::default() },
            Filter { netns: Some(kernel::NETNS), ..Filter::default() },
        ][which].clone();
        let mut stage = FilterStage::new(filter, &meta(FENTRY), limit).expect("it tells enough");
        let mut passed = 0;
        let mut fed = 0;
        for pick in &picks {
            let piece = pick.get(&pieces);
            fed += len(piece);
            passed += stage.apply(piece).iter().map(len).sum::<usize>();
        }
        let Frame::Records(whole) = &pieces[0] else { unreachable!("they are records") };
        let damaged = Frame::Records(whole.slice(..cut.index(whole.len() + 1)));
        fed += len(&damaged);
        passed += stage.apply(&damaged).iter().map(len).sum::<usize>();
        passed += stage.apply(&tick(1.0)).iter().map(len).sum::<usize>();
        prop_assert!(passed <= fed, "{} bytes of {}", passed, fed);
    }
}

fn len(frame: &Frame) -> usize {
    match frame {
        Frame::Records(records) => records.len(),
        _ => 0,
    }
}

const PIDS: [u32; 3] = [100, 200, 300];

/// The life of one socket, and of its mini-socket.
#[derive(Clone, Copy, Debug)]
struct Life {
    kind: Kind,
    is_client: bool,
    pid: u32,
    lport: u16,
    rport: u16,
    /// Whether the peer of the mini-socket closes.
    steps: bool,
    /// Whether the mini-socket ends.
    ends: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    ClosesFirst,
    ClosesSecond,
    Cut,
    NeverClosed,
    NoPort,
    Refused,
}

prop_compose! {
    fn any_life()(
        kind in prop::sample::select(vec![
            Kind::ClosesFirst, Kind::ClosesFirst, Kind::ClosesSecond, Kind::Cut,
            Kind::NeverClosed, Kind::NoPort, Kind::Refused,
        ]),
        (is_client, steps, ends) in any::<(bool, bool, bool)>(),
        pid in prop::sample::select(PIDS.as_slice()),
        (lport, rport) in (1_u16..6, 1_u16..6),
    ) -> Life {
        Life { kind, is_client, pid, lport, rport, steps, ends }
    }
}

/// One thing that happens.
type Step = Box<dyn Fn(&mut PaperKernel)>;

impl Life {
    fn tuple(&self, name: u64, lport: u16) -> Tuple {
        let mut laddr = [0; 16];
        // No two have the same ends.
        laddr[8..].copy_from_slice(&name.to_be_bytes());
        Tuple { laddr, raddr: [2; 16], lport, rport: self.rport }
    }

    fn seen(&self, name: u64, old: TcpState, new: TcpState, by_process: bool) -> Seen {
        let comm = format!("p{}", self.pid);
        Seen {
            time_ns: at(0.1),
            sk: name,
            netns: kernel::NETNS,
            old,
            new,
            tuple: self.tuple(name, self.lport),
            locked: by_process,
            error: 0,
            shutdown: 0,
            own_range: None,
            current: by_process.then(|| Task::new(self.pid, 1, comm.as_bytes())),
            ring_full: false,
        }
    }

    fn steps(self, name: u64) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        let mut goes = |old, new, by_process| {
            let seen = self.seen(name, old, new, by_process);
            steps.push(Box::new(move |kernel| kernel.transition(&seen)));
        };
        let is_client = self.is_client || matches!(self.kind, Kind::NoPort | Kind::Refused);
        if !is_client {
            goes(Listen, SynRecv, false);
            goes(SynRecv, Established, false);
        }
        if is_client {
            steps.extend(self.connects(name));
        }
        steps.extend(self.closes(name));
        steps
    }

    fn connects(self, name: u64) -> Vec<Step> {
        let searching =
            Seen { tuple: self.tuple(name, 0), ..self.seen(name, Close, SynSent, true) };
        let found = ConnectEvent { time_ns: at(0.1), sk: name, lport: self.lport };
        let mut steps: Vec<Step> = vec![Box::new(move |kernel| kernel.transition(&searching))];
        match self.kind {
            Kind::NoPort => {
                let seen = self.seen(name, SynSent, Close, true);
                let seen = Seen { tuple: self.tuple(name, 0), ..seen };
                steps.push(Box::new(move |kernel| kernel.transition(&seen)));
            }
            Kind::Refused => {
                let seen = Seen { error: 111, ..self.seen(name, SynSent, Close, false) };
                steps.push(Box::new(move |kernel| kernel.connect(&found, Fate::Written)));
                steps.push(Box::new(move |kernel| kernel.transition(&seen)));
            }
            _ => {
                let seen = self.seen(name, SynSent, Established, false);
                steps.push(Box::new(move |kernel| kernel.connect(&found, Fate::Written)));
                steps.push(Box::new(move |kernel| kernel.transition(&seen)));
            }
        }
        steps
    }

    fn closes(self, name: u64) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        let mut goes = |seen: Seen| {
            steps.push(Box::new(move |kernel: &mut PaperKernel| kernel.transition(&seen)));
        };
        match self.kind {
            Kind::ClosesFirst => {
                goes(self.seen(name, Established, FinWait1, true));
                goes(self.seen(name, FinWait1, FinWait2, false));
            }
            Kind::ClosesSecond => {
                goes(self.seen(name, Established, CloseWait, false));
                goes(self.seen(name, CloseWait, LastAck, true));
                goes(self.seen(name, LastAck, Close, false));
            }
            Kind::Cut => goes(Seen { shutdown: 3, ..self.seen(name, Established, Close, true) }),
            Kind::NeverClosed => goes(self.seen(name, Established, CloseWait, false)),
            Kind::NoPort | Kind::Refused => {}
        }
        if self.kind == Kind::ClosesFirst {
            steps.extend(self.leaves(name));
        }
        steps
    }

    fn leaves(self, name: u64) -> Vec<Step> {
        let mini = MiniEvent {
            time_ns: at(0.2),
            tw: name,
            netns: kernel::NETNS,
            substate: FinWait2,
            tuple: self.tuple(name, self.lport),
            timestamps: None,
        };
        let stepped = MiniEvent { time_ns: at(0.3), substate: TcpState::TimeWait, ..mini };
        let goodbye = self.seen(name, FinWait2, Close, false);
        let mut steps: Vec<Step> = vec![
            Box::new(move |kernel| kernel.birth(&mini, Fate::Written)),
            Box::new(move |kernel| kernel.transition(&goodbye)),
        ];
        let (ended, end) = if self.steps {
            steps.push(Box::new(move |kernel| kernel.step(&stepped, Fate::Written)));
            (MiniEvent { time_ns: at(0.4), ..stepped }, End::Expired)
        } else {
            (MiniEvent { time_ns: at(0.4), ..mini }, End::FinWait2Timeout)
        };
        if self.ends {
            steps.push(Box::new(move |kernel| kernel.end(&ended, end, Fate::Written)));
        }
        steps
    }
}

/// The frames of all lives, led in turns by `order`; each step is a frame of its own.
fn told(lives: &[Life], order: &[Index], hooks: Hooks) -> Vec<Frame> {
    told_in_two(lives, order, hooks, usize::MAX).concat()
}

/// The same with one more tick, after so many steps; and what comes after it.
fn told_in_two(lives: &[Life], order: &[Index], hooks: Hooks, after: usize) -> [Vec<Frame>; 2] {
    let mut kernel = PaperKernel::new(hooks);
    let mut waiting: Vec<_> = lives
        .iter()
        .zip(1_u64..)
        .map(|(life, name)| life.steps(name).into_iter().collect::<VecDeque<_>>())
        .collect();
    let mut frames = vec![Frame::Seed {
        sockets: Vec::new(),
        minis: Vec::new(),
        until_ns: at(0.0),
        complete: true,
    }];
    let mut first = Vec::new();
    let mut turns = order.iter().cycle();
    for count in 1.. {
        waiting.retain(|steps| !steps.is_empty());
        if waiting.is_empty() {
            break;
        }
        let place = turns.next().map_or(0, |turn| turn.index(waiting.len()));
        let step = waiting[place].pop_front().expect("it is not empty");
        step(&mut kernel);
        frames.push(kernel.records());
        if count == after {
            frames.extend([kernel.totals(), kernel.own_counters(&[kernel::NETNS]), tick(0.5)]);
            first = std::mem::take(&mut frames);
        }
    }
    frames.push(Frame::Records(bytes::Bytes::new()));
    frames.extend([kernel.totals(), kernel.own_counters(&[kernel::NETNS]), tick(1.0)]);
    [first, frames]
}

/// A file that goes on from another, which ended after one of the steps of [`told`].
fn second_file(lives: &[Life], order: &[Index], hooks: Hooks, cut: Index) -> (Meta, Vec<Frame>) {
    let steps: usize = lives.iter().map(|life| life.steps(1).len()).sum();
    let [first, rest] = told_in_two(lives, order, hooks, cut.index(steps) + 1);
    let mut pipeline = Pipeline::new(meta(hooks), 1_000, 50);
    for frame in &first {
        pipeline.apply(frame).expect("it is sound");
    }
    let (meta, carried) = pipeline.checkpoint(at(0.5));
    (meta, [carried, rest].concat())
}

fn behind(filter: &Filter, frames: &[Frame], hooks: Hooks) -> Snapshot {
    behind_of(filter, frames, meta(hooks))
}

fn behind_of(filter: &Filter, frames: &[Frame], meta: Meta) -> Snapshot {
    let mut filtered =
        Filtered::new(filter.clone(), meta, 1_000, 50).expect("the run tells enough");
    let snapshot = frames.iter().find_map(|frame| filtered.apply(frame).expect("it is sound"));
    snapshot.expect("the last frame is a tick")
}

/// Everything that is counted, by its path.
fn counts(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    let value = value(snapshot);
    let mut counts = BTreeMap::new();
    for part in ["closes", "connects", "transitions", "time_wait.ended", "fin_wait2", "states"] {
        let object = part.split('.').fold(&value, |value, key| &value[key]);
        add(part, object, &mut counts);
    }
    for key in ["born", "now"] {
        add(&format!("time_wait.{key}"), &value["time_wait"][key], &mut counts);
    }
    add("searches", &value["port_search"]["connect"]["count"], &mut counts);
    counts.retain(|_, count| *count > 0);
    counts
}

fn add(path: &str, value: &Value, counts: &mut BTreeMap<String, u64>) {
    match value {
        // A distribution adds up otherwise.
        Value::Object(object) if object.contains_key("p50") => {}
        Value::Object(object) => {
            object.iter().for_each(|(key, value)| add(&format!("{path}.{key}"), value, counts));
        }
        _ => counts.extend(value.as_u64().map(|count| (path.to_owned(), count))),
    }
}

fn tuple(local: &str, remote: &str) -> Tuple {
    fixture::tuple(local, remote)
}

fn listens(local: &str) -> SeedSocket {
    SeedSocket { netns: Some(kernel::NETNS), state: Listen, tuple: tuple(local, "0.0.0.0:0") }
}

fn established(local: &str, remote: &str) -> SeedSocket {
    SeedSocket { state: Established, tuple: tuple(local, remote), ..listens(local) }
}

fn seeded(sockets: Vec<SeedSocket>) -> Frame {
    Frame::Seed { sockets, minis: Vec::new(), until_ns: at(0.0), complete: true }
}

/// An accepted socket stays one when its listener is left out.
#[test]
fn a_listener_that_is_left_out_still_accepts() {
    let frames = [
        seeded(vec![
            listens("0.0.0.0:8080"),
            established("10.0.0.1:8080", "10.0.0.9:40000"),
            established("10.0.0.1:8080", "10.0.0.8:40000"),
        ]),
        tick(1.0),
    ];
    let raddr = Some("10.0.0.9".parse().expect("an address"));
    let snapshot = value(&behind(&Filter { raddr, ..Filter::default() }, &frames, TP_BTF));
    assert_eq!(snapshot["destinations"], serde_json::json!([]));
    assert_eq!(snapshot["clients"][0]["raddr"], "10.0.0.9");
    assert_eq!(snapshot["clients"].as_array().map(Vec::len), Some(1));
    assert_eq!(snapshot["states"]["LISTEN"], 0);
    assert_eq!(snapshot["filter"], "--raddr 10.0.0.9/32");
}

/// One that was there before, and that nobody is known to have, is whose who closes it.
#[test]
fn a_socket_from_before_is_of_who_closes_it() {
    let life = Life {
        kind: Kind::ClosesFirst,
        is_client: false,
        pid: 100,
        lport: 80,
        rport: 5,
        steps: false,
        ends: false,
    };
    let mut kernel = PaperKernel::new(TP_BTF);
    let netns = Some(kernel::NETNS);
    let seed = |name| SeedSocket { netns, state: Established, tuple: life.tuple(name, life.lport) };
    for step in life.closes(1) {
        step(&mut kernel);
    }
    let frames = [seeded(vec![seed(1), seed(2)]), kernel.records(), kernel.totals(), tick(1.0)];
    let of = |tgid| Filter { pid: Some(Pid { tgid, started_ns: None }), ..Filter::default() };
    let its = value(&behind(&of(100), &frames, TP_BTF));
    assert_eq!(its["closes"]["active"], 1);
    assert_eq!(its["time_wait"]["born"], 1);
    assert_eq!(its["time_wait"]["seeded"], Value::Null, "whose those are nobody knows");
    assert_eq!(its["loss"]["unmatched"], 0, "it was seeded");
    assert_eq!(its["states"]["ESTABLISHED"], 0, "the other one may be anybody's");
    assert_eq!(its["probes"]["exactness"]["states"], "inferred");
    assert_eq!(its["reconcile"], Value::Null);
    let others = value(&behind(&of(200), &frames, TP_BTF));
    assert_eq!(others["closes"]["active"], 0);
    assert_eq!(others["time_wait"]["born"], 0);
}

/// A namespace's totals are the kernel side's; others are as complete as the ring.
#[test]
fn a_full_ring_costs_recounted_totals_their_word() {
    let life = Life {
        kind: Kind::ClosesSecond,
        is_client: true,
        pid: 100,
        lport: 1,
        rport: 80,
        steps: false,
        ends: false,
    };
    let mut kernel = PaperKernel::new(TP_BTF);
    for seen in [
        life.seen(1, Close, SynSent, true),
        life.seen(1, SynSent, Established, false),
        Seen { ring_full: true, ..life.seen(1, Established, CloseWait, false) },
    ] {
        kernel.transition(&seen);
    }
    let frames = [kernel.records(), kernel.totals(), tick(1.0)];
    let netns = Filter { netns: Some(kernel::NETNS), ..Filter::default() };
    let rport = Filter { rports: Some("80".parse().expect("a port")), ..Filter::default() };
    for (filter, passive, word) in [(netns, 1, "exact"), (rport, 0, "inferred")] {
        let snapshot = value(&behind(&filter, &frames, TP_BTF));
        assert_eq!(snapshot["closes"]["passive"], passive, "{filter}");
        assert_eq!(snapshot["probes"]["exactness"]["closes.passive"], word, "{filter}");
        assert_eq!(snapshot["loss"]["ring_full"], 1, "no filter lessens a loss");
    }
}

/// How full a destination is, and how soon it will be, concerns all who connect there.
#[test]
fn a_destination_runs_out_for_everybody() {
    let life = |pid, lport| Life {
        kind: Kind::NeverClosed,
        is_client: true,
        pid,
        lport,
        rport: 80,
        steps: false,
        ends: false,
    };
    let mut kernel = PaperKernel::new(TP_BTF);
    for (pid, lport) in [(100, 1_000), (100, 1_001), (200, 1_002)] {
        let life = life(pid, lport);
        let mut seen = life.seen(u64::from(lport), Close, SynSent, true);
        // Towards one destination, from one address.
        seen.tuple = Tuple { laddr: [1; 16], lport: 0, ..seen.tuple };
        kernel.transition(&seen);
        let tuple = Tuple { lport, ..seen.tuple };
        let connected = Seen { tuple, ..life.seen(u64::from(lport), SynSent, Established, false) };
        kernel.transition(&connected);
    }
    let range = PortRange { low: 1_000, high: 1_003 };
    let facts = PortFacts { range: Some(range), ..PortFacts::unknown(kernel::NETNS) };
    let frames = [Frame::Ports(vec![facts]), kernel.records(), kernel.totals(), tick(1.0)];
    let row = |filter: &Filter| value(&behind(filter, &frames, TP_BTF))["destinations"][0].clone();
    let rport = Filter { rports: Some("80".parse().expect("a port")), ..Filter::default() };
    assert_eq!(row(&rport), row(&Filter::default()), "all who connect there pass");
    let pid = Some(Pid { tgid: 100, started_ns: None });
    let its = row(&Filter { pid, ..Filter::default() });
    assert_eq!((&its["ports_used"], &its["ports_available"]), (&2.into(), &4.into()));
    assert_eq!((&its["knee_in_s"], &its["exhausted_in_s"]), (&Value::Null, &Value::Null));
}

/// What a look shows passes by its ends, and nobody tells whose anything is.
#[test]
fn looks_are_filtered_too() {
    let polled = |minis| {
        Frame::Polled(Some(Polled {
            time_ns: at(0.5),
            until_ns: at(0.5),
            states: vec![(Established, 9), (SynRecv, 3), (TcpState::TimeWait, 9)],
            sockets: vec![
                listens("0.0.0.0:8080"),
                established("10.0.0.1:8080", "10.0.0.9:40000"),
                established("10.0.0.1:41000", "10.0.0.9:443"),
            ],
            minis,
            looked_at: vec![kernel::NETNS],
            failed: Vec::new(),
            complete: true,
        }))
    };
    let mini = |cookie, remote: &str| PolledMini {
        netns: kernel::NETNS,
        cookie,
        substate: TcpState::TimeWait,
        expires_ms: 50_000,
        tuple: tuple("10.0.0.1:42000", remote),
    };
    let kernel = |births| {
        let counters = BTreeMap::from([("TW".into(), births), ("TWKilled".into(), 0)]);
        let netns = kernel::NETNS;
        Frame::Kernel(vec![KernelCounters { netns, tw_sockstat: Some(3), counters }])
    };
    let frames = [
        polled(vec![mini(1, "10.0.0.9:443")]),
        kernel(100),
        kernel(150),
        polled(vec![mini(1, "10.0.0.9:443"), mini(2, "10.0.0.9:443"), mini(3, "10.0.0.9:80")]),
        tick(1.0),
    ];
    let rports = Some("443".parse().expect("a port"));
    let filter = Filter { rports, ..Filter::default() };
    let snapshot = value(&behind(&filter, &frames, Hooks::POLLING));
    assert_eq!(snapshot["states"]["ESTABLISHED"], 1);
    assert_eq!(snapshot["states"]["TIME_WAIT"], 2);
    assert_eq!(snapshot["states"]["SYN_RECV"], Value::Null);
    assert_eq!(
        (&snapshot["time_wait"]["now"], &snapshot["time_wait"]["born"]),
        (&2.into(), &1.into())
    );
    assert_eq!(snapshot["time_wait"]["refused"], Value::Null, "the kernel counts everybody's");
    assert_eq!(snapshot["time_wait"]["ended"]["unseen"], 0, "so it does births");
    assert_eq!(snapshot["destinations"][0]["ports_used"], 3);
    assert_eq!(snapshot["reconcile"], Value::Null);
    let raddr = Some("10.0.0.9".parse().expect("an address"));
    let snapshot = value(&behind(&Filter { raddr, ..Filter::default() }, &frames, Hooks::POLLING));
    assert_eq!(snapshot["clients"].as_array().map(Vec::len), Some(1), "its listener is left out");
    assert_eq!(snapshot["states"]["LISTEN"], 0);
}

#[test]
fn a_run_that_tells_too_little_is_refused() {
    let refused = |filter: Filter, hooks| {
        FilterStage::new(filter, &meta(hooks), 10).expect_err("it tells too little")
    };
    let pid = Filter { pid: Some(Pid { tgid: 1, started_ns: None }), ..Filter::default() };
    assert_eq!(refused(pid, Hooks::POLLING), CannotTell::Process);
    let netns = Filter { netns: Some(1), ..Filter::default() };
    assert_eq!(refused(netns, kernel::CLASSIC), CannotTell::Netns);
}

/// A bind does not tell what its socket is for; the connect does.
#[test]
fn a_bind_waits_for_its_connect() {
    let life = Life {
        kind: Kind::NeverClosed,
        is_client: true,
        pid: 100,
        lport: 4_000,
        rport: 80,
        steps: false,
        ends: false,
    };
    let task = Task::new(100, 1, b"p100");
    let bind = |kernel: &mut PaperKernel, sk, lport| {
        let bind =
            SearchEvent { sk, ..kernel::bound(kernel::NETNS, Search::Bind, 1_000, task.key) };
        kernel.bind(at(0.05), lport, &bind, &task);
    };
    let mut kernel = PaperKernel::new(TP_BTF);
    bind(&mut kernel, 1, 4_000);
    // Another socket had that memory, and was bound and closed.
    bind(&mut kernel, 2, 5_000);
    kernel.transition(&life.seen(1, Close, SynSent, true));
    kernel.transition(&life.seen(2, Close, SynSent, true));
    let frames = [kernel.records(), kernel.totals(), tick(1.0)];
    for (rport, binds) in [("80", 1), ("81", 0)] {
        let rports = Some(rport.parse().expect("a port"));
        let snapshot = value(&behind(&Filter { rports, ..Filter::default() }, &frames, TP_BTF));
        assert_eq!(snapshot["port_search"]["bind"]["count"], binds, "--rport {rport}");
    }
}

fn life(kind: Kind, is_client: bool) -> Life {
    Life { kind, is_client, pid: 100, lport: 8_080, rport: 80, steps: false, ends: false }
}

/// One that began to listen meanwhile accepts too, as long as it listens.
#[test]
fn listeners_that_are_left_out_come_and_go() {
    let mut kernel = PaperKernel::new(TP_BTF);
    let listener = life(Kind::NeverClosed, false);
    let tuple = Tuple { raddr: [0; 16], rport: 0, ..listener.tuple(1, 8_080) };
    let opens = Seen { tuple, ..listener.seen(1, Close, Listen, true) };
    let closes = Seen { tuple, ..listener.seen(1, Listen, Close, true) };
    let raddr = Some("202:202:202:202:202:202:202:202".parse().expect("an address"));
    let filter = Filter { raddr, ..Filter::default() };
    let mut stage = FilterStage::new(filter.clone(), &meta(TP_BTF), 10).expect("it tells enough");
    let others = |stage: &mut FilterStage, frame: &Frame| {
        stage.apply(frame);
        stage.news().map(|scope| scope.other_listeners)
    };
    let place = (kernel::NETNS, 8_080);
    // Told twice: it was there when sock_diag looked, and when we attached it was not.
    let seed = SeedSocket { netns: Some(kernel::NETNS), state: Listen, tuple };
    assert_eq!(others(&mut stage, &seeded(vec![seed])), Some([place].into()));
    kernel.transition(&opens);
    assert_eq!(others(&mut stage, &kernel.records()), Some([place].into()));
    kernel.transition(&closes);
    assert_eq!(others(&mut stage, &kernel.records()), Some([].into()));
    // Of what it accepted the beginning was lost.
    kernel.transition(&opens);
    kernel.transition(&life(Kind::NeverClosed, false).seen(2, Established, CloseWait, false));
    let frames = [kernel.records(), kernel.totals(), tick(1.0)];
    let snapshot = value(&behind(&filter, &frames, TP_BTF));
    assert_eq!(snapshot["clients"].as_array().map(Vec::len), Some(1), "{:#}", snapshot["clients"]);
    assert_eq!(snapshot["destinations"], serde_json::json!([]));
}

/// A connect that waits for an answer has its port already.
#[test]
fn a_port_is_known_as_soon_as_it_is_found() {
    let client = life(Kind::Refused, true);
    let mut kernel = PaperKernel::new(TP_BTF);
    client.connects(1).iter().take(2).for_each(|step| step(&mut kernel));
    let frames = [kernel.records(), kernel.totals(), tick(1.0)];
    for (lports, connecting) in [("8080", 1), ("80", 0)] {
        let lports = Some(lports.parse().expect("a port"));
        let snapshot = value(&behind(&Filter { lports, ..Filter::default() }, &frames, TP_BTF));
        assert_eq!(snapshot["states"]["SYN_SENT"], connecting);
        assert_eq!(snapshot["port_search"]["connect"]["count"], connecting);
    }
}

/// The introduction of a process may find no room, and come again later.
#[test]
fn a_name_may_be_told_late() {
    let client = life(Kind::NeverClosed, true);
    let nameless = |seen: Seen| {
        let current = seen.current.map(|task| Task { comm: None, ..task });
        Seen { current, ..seen }
    };
    let mut kernel = PaperKernel::new(TP_BTF);
    kernel.transition(&nameless(client.seen(1, Close, SynSent, true)));
    kernel.transition(&client.seen(1, SynSent, Established, false));
    let early = kernel.records();
    kernel.transition(&client.seen(2, Close, SynSent, true));
    let frames = [early, kernel.records(), kernel.totals(), tick(1.0)];
    for (comm, connected) in [("p100", 1), ("p200", 0)] {
        let comm = Some(comm.to_owned());
        let snapshot = value(&behind(&Filter { comm, ..Filter::default() }, &frames, TP_BTF));
        assert_eq!(snapshot["connects"]["ok"], connected);
        assert_eq!(snapshot["states"]["SYN_SENT"], connected);
    }
}

/// How full a range is that others use too is not what those that pass take of it.
#[test]
fn the_range_of_a_failure_is_everybodys() {
    let mut kernel = PaperKernel::new(TP_BTF);
    life(Kind::NoPort, true).connects(1).iter().for_each(|step| step(&mut kernel));
    let facts = PortFacts {
        range: Some(PortRange { low: 1_000, high: 1_003 }),
        ..PortFacts::unknown(kernel::NETNS)
    };
    let frames = [Frame::Ports(vec![facts]), kernel.records(), kernel.totals(), tick(1.0)];
    let last = |filter: &Filter| {
        let snapshot = value(&behind(filter, &frames, TP_BTF));
        let failures = &snapshot["port_search"]["failures"];
        assert_eq!(failures[0]["count"], 1, "{filter}: {failures:#}");
        failures[0]["last"]["ports_used"].clone()
    };
    let pid = Some(Pid { tgid: 100, started_ns: None });
    assert_eq!(last(&Filter { pid, ..Filter::default() }), Value::Null);
    let rports = Some("80".parse().expect("a port"));
    assert_eq!(last(&Filter { rports, ..Filter::default() }), 0);
}

/// A sample tells a process, and no socket.
#[test]
fn samples_are_of_processes() {
    let mut kernel = PaperKernel::new(SAMPLED);
    for tgid in [100, 200, 200] {
        let task = Task::new(tgid, 1, b"p");
        let sample = SampleEvent { time_ns: at(0.5), connects: true, owner: task.key };
        kernel.sample(&sample, &task);
    }
    let frames = [kernel.records(), kernel.totals(), tick(1.0)];
    let samples = |filter: &Filter| {
        let snapshot = value(&behind(filter, &frames, SAMPLED));
        snapshot["port_search"]["samples"].clone()
    };
    let pid = Some(Pid { tgid: 200, started_ns: None });
    assert_eq!(samples(&Filter { pid, ..Filter::default() })["connect"], 2);
    let rports = Some("80".parse().expect("a port"));
    assert_eq!(samples(&Filter { rports, ..Filter::default() }), Value::Null);
}

fn value(snapshot: &Snapshot) -> Value {
    let line = json::line(snapshot).expect("a Snapshot can be written");
    serde_json::from_str(&line).expect("it is JSON")
}
