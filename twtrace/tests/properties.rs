//! What holds for any input: damaged batches, lost and doubled records, reused addresses; and
//! for any sound one, that the numbers are those of a simple count.

mod common;

use std::collections::{BTreeMap, HashSet, VecDeque};

use bytes::Bytes;
use common::kernel::{self, CLASSIC, Fate, PaperKernel, Seen, TP_BTF, Task, at, meta, tick};
use proptest::{collection::vec, prelude::*, sample::Index};
use twtrace::{
    decode,
    event::{
        Comm, ConnectEvent, Event, MiniEvent, PortRange, ProcessEvent, SampleEvent, SearchEvent,
        TransitionEvent, Tuple,
    },
    frame::{Frame, SeedMini, SeedSocket},
    pipeline::Pipeline,
    stats::snapshot::Snapshot,
    view::{csv, json, text},
};
use twtrace_common::{
    Change, ProcessKey, Search,
    TcpState::{
        self, Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv,
        SynSent,
    },
    process_flags,
};
use zerocopy::IntoBytes;

/// A connect's.
const SHORTEST_RECORD: usize = 24;
/// When the Snapshot of mini-sockets is taken: later than any of them is born.
const TICK_S: f64 = 200.0;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn any_bytes_decode_to_an_end(
        batch in vec(any::<u8>(), 0..400), kinds in vec((any::<Index>(), any_kind()), 0..8),
    ) {
        let mut batch = batch;
        if !batch.is_empty() {
            // Or nearly every batch would end at its first byte.
            batch[0] = 1;
            kinds.iter().for_each(|(at, kind)| *at.get_mut(&mut batch[..]) = *kind);
        }
        let events: Vec<_> = decode::events(&batch).collect();
        prop_assert!(events.len() <= batch.len() / SHORTEST_RECORD + 1);
        let errors = events.iter().filter(|event| event.is_err()).count();
        prop_assert!(errors == 0 || (errors == 1 && events[events.len() - 1].is_err()));
        let mut pipeline = Pipeline::new(meta(TP_BTF), 10, 10);
        let applied = pipeline.apply(&Frame::Records(Bytes::from(batch)));
        prop_assert_eq!(applied.is_err(), errors == 1);
        show(&snapshot(&mut pipeline, 1.0));
    }

    #[test]
    fn transitions_decode_to_what_was_encoded(
        (seen, error, shutdown) in (any_seen(), any::<u16>(), any::<u8>()),
        (low, high) in any::<(u16, u16)>(),
        owner in prop::option::of((any::<u64>(), any::<u32>())),
        (fields_known, process_context) in any::<(bool, bool)>(),
    ) {
        let owner = owner.map(|(start_time_ns, tgid)| {
            ProcessKey { start_time_ns, tgid, padding: 0 }
        });
        let change = Change {
            old: seen.old, new: seen.new, fields_known, process_context, error, shutdown,
            lport: seen.tuple.lport,
        };
        let own_range = (low != 0 || high != 0).then_some(PortRange { low, high });
        let event = Event::Transition(TransitionEvent {
            time_ns: seen.time_ns, sk: seen.sk, netns: fields_known.then_some(seen.netns), change,
            tuple: seen.tuple, owner, own_range,
        });
        let record = kernel::record(&Seen { own_range, ..seen }, &change, owner);
        let decoded: Vec<_> = decode::events(record.as_bytes()).collect();
        prop_assert_eq!(decoded, [Ok(event)]);
        for cut in 1..record.as_bytes().len() {
            let decoded: Vec<_> = decode::events(&record.as_bytes()[..cut]).collect();
            prop_assert_eq!(decoded, [Err(decode::DecodeError::Short { offset: 0 })]);
        }
    }

    #[test]
    fn processes_decode_to_what_was_encoded(
        (start_time_ns, tgid, kernel_thread) in any::<(u64, u32, bool)>(),
        comm in any::<[u8; 16]>(),
    ) {
        let key = ProcessKey { start_time_ns, tgid, padding: 0 };
        let flags = if kernel_thread { process_flags::KERNEL_THREAD } else { 0 };
        let record = kernel::process_record(key, comm, flags);
        let event = Event::Process(ProcessEvent {
            key, comm: Comm::new(comm), cgroup_id: u64::from(tgid), kernel_thread,
        });
        let decoded: Vec<_> = decode::events(record.as_bytes()).collect();
        prop_assert_eq!(decoded, [Ok(event)]);
        let shown = Comm::new(comm).to_string();
        prop_assert!(!shown.chars().any(char::is_control), "{:?}", shown);
    }

    #[test]
    fn mini_sockets_and_searches_decode_to_what_was_encoded(
        mini in any_mini(), end in prop::option::of(any_end()),
        (sk, latency_ns, tgid, explicit) in any::<(u64, u64, u32, bool)>(),
        (lport, error, tried, connects) in any::<(u16, u16, Option<u32>, bool)>(),
        timestamps in any::<Option<bool>>(),
    ) {
        let mini = MiniEvent { timestamps, ..mini };
        let record = kernel::mini_record(&mini, end);
        let event = end.map_or(Event::Birth(mini), |end| Event::End(mini, end));
        prop_assert_eq!(decode::events(record.as_bytes()).collect::<Vec<_>>(), [Ok(event)]);
        let connect = ConnectEvent { time_ns: mini.time_ns, sk, lport };
        let record = kernel::connect_record(&connect);
        let event = Event::Connect(connect);
        prop_assert_eq!(decode::events(record.as_bytes()).collect::<Vec<_>>(), [Ok(event)]);
        let search = if explicit { Search::BindExplicit } else { Search::Bind };
        let owner = ProcessKey { start_time_ns: 7, tgid, padding: 0 };
        let search = SearchEvent {
            time_ns: mini.time_ns,
            sk,
            error,
            lport,
            tried,
            raddr: mini.tuple.raddr,
            rport: mini.tuple.rport,
            ..kernel::bound(mini.netns, search, latency_ns, owner)
        };
        let record = kernel::search_record(mini.time_ns, lport, &search);
        let event = Event::Search(search);
        prop_assert_eq!(decode::events(record.as_bytes()).collect::<Vec<_>>(), [Ok(event)]);
        let sample = SampleEvent { time_ns: mini.time_ns, connects, owner };
        let record = kernel::sample_record(&sample);
        let event = Event::Sample(sample);
        prop_assert_eq!(decode::events(record.as_bytes()).collect::<Vec<_>>(), [Ok(event)]);
    }

    /// Records that no kernel would write, in any order, lost, doubled and cut.
    #[test]
    fn nothing_grows_or_breaks_on_nonsense(
        seen in vec(any_seen(), 0..200),
        minis in vec((any_mini(), prop::option::of(any_end()), any_fate(), any::<bool>()), 0..200),
        seeds in vec((any_state(), any_tuple()), 0..20),
        picks in vec(any::<Index>(), 0..300),
        (cut, limit, known) in (any::<Index>(), 1_usize..20, any::<bool>()),
    ) {
        let hooks = if known { TP_BTF } else { CLASSIC };
        let mut kernel = PaperKernel::new(hooks);
        let mut pieces = Vec::new();
        for seen in &seen {
            kernel.transition(seen);
            pieces.push(bytes_of(&kernel.records()));
        }
        for (mini, end, fate, connects) in &minis {
            match end {
                Some(end) => kernel.end(mini, *end, *fate),
                None => kernel.birth(mini, *fate),
            }
            if *connects {
                kernel.connect(&ConnectEvent { time_ns: mini.time_ns, sk: mini.tw, lport: 0 }, *fate);
            }
            pieces.push(bytes_of(&kernel.records()));
        }
        let mut pipeline = Pipeline::new(meta(hooks), limit, 3);
        let sockets: Vec<SeedSocket> = seeds
            .iter()
            .map(|&(state, tuple)| SeedSocket { netns: known.then_some(1), state, tuple })
            .collect();
        let minis: Vec<SeedMini> =
            seeds.iter().map(|&(_, tuple)| SeedMini {
                netns: 1, substate: TcpState::TimeWait, expires_ms: 30_000, tuple,
            }).collect();
        apply(&mut pipeline, &Frame::Seed { sockets, minis, until_ns: at(0.5), complete: true });
        apply(&mut pipeline, &kernel.own_counters(&[kernel::NETNS, 1]));
        if !pieces.is_empty() {
            for pick in &picks {
                apply(&mut pipeline, &Frame::Records(pick.get(&pieces).clone()));
            }
            let last = &pieces[pieces.len() - 1];
            let last = last.slice(..cut.index(last.len() + 1));
            // Cut short is an error, and nothing else.
            let _ = pipeline.apply(&Frame::Records(last));
        }
        apply(&mut pipeline, &kernel.totals());
        let snapshot = snapshot(&mut pipeline, 1.0);
        let loss = snapshot.loss.as_ref().expect("something was traced");
        let distinct: HashSet<u64> = seen.iter().map(|seen| seen.sk).collect();
        let alive = population(&snapshot);
        prop_assert!(alive <= (distinct.len() + seeds.len()) as u64, "{} sockets", alive);
        prop_assert!(alive <= (limit + 1) as u64, "{} > {}", alive, limit);
        // The last piece may have been left whole.
        let records = picks.len() + 1;
        prop_assert!(loss.evicted <= (records + 2 * seeds.len()) as u64);
        prop_assert!(loss.unmatched <= records as u64);
        let closers = snapshot.closers.as_ref().expect("something was traced");
        prop_assert!(closers.len() <= 4);
        let followed: u64 = closers.iter().filter_map(|row| row.time_wait_now).sum();
        prop_assert!(followed <= limit as u64, "{} mini-sockets > {}", followed, limit);
        show(&snapshot);
    }

    #[test]
    fn a_full_table_forgets_and_says_so(sockets in 0_usize..100, limit in 1_usize..50) {
        let mut kernel = PaperKernel::new(TP_BTF);
        for sk in 0..sockets {
            let task = Some(Task::new(1, 1, b"client"));
            kernel.transition(&step(sk as u64, 1, Close, SynSent, task));
        }
        let mut pipeline = Pipeline::new(meta(TP_BTF), limit, 10);
        apply(&mut pipeline, &kernel.records());
        let snapshot = snapshot(&mut pipeline, 1.0);
        let evicted = snapshot.loss.as_ref().expect("something was traced").evicted;
        prop_assert_eq!(population(&snapshot), sockets.min(limit) as u64);
        prop_assert_eq!(evicted, sockets.saturating_sub(limit) as u64);
    }

    /// Sound lives, nothing lost: what each life does is counted once, where it belongs.
    #[test]
    fn lives_are_counted_as_they_were_led(
        lanes in vec(vec(any_life(), 1..6), 1..12), order in vec(any::<Index>(), 64),
    ) {
        let mut wanted = Wanted::default();
        lanes.iter().flatten().for_each(|life| wanted.add(life));
        let snapshot = live(&lanes, &order);
        prop_assert_eq!(Wanted::seen(&snapshot), wanted);
        let loss = snapshot.loss.as_ref().expect("something was traced");
        prop_assert_eq!((loss.unmatched, loss.evicted, loss.ring_full), (0, 0, 0));
        let closers = snapshot.closers.as_ref().expect("something was traced");
        let shares: f64 = closers.iter().filter_map(|row| row.share).sum();
        let active = snapshot.closes.as_ref().expect("something was traced").active;
        let whole = if active > 0 { 1.0 } else { 0.0 };
        prop_assert!((shares - whole).abs() < 1e-9, "the shares sum to {}", shares);
    }

    #[test]
    fn the_order_among_sockets_does_not_matter(
        lanes in vec(vec(any_life(), 1..6), 1..12),
        one in vec(any::<Index>(), 64), other in vec(any::<Index>(), 64),
    ) {
        prop_assert_eq!(live(&lanes, &one), live(&lanes, &other));
    }

    #[test]
    fn mini_sockets_are_counted_as_they_lived(
        lives in vec(any_mini_life(), 0..40), order in vec(any::<Index>(), 64),
    ) {
        let snapshot = live_minis(&lives, &order);
        let time_wait = snapshot.time_wait.as_ref().expect("they are followed");
        let count = |what: fn(&MiniLife) -> bool| lives.iter().filter(|life| what(life)).count();
        let seeded = count(|life| life.from_before) as u64;
        let ended = count(|life| life.end.is_some()) as u64;
        let alive = count(|life| life.end.is_none()) as u64;
        prop_assert_eq!(time_wait.seeded, Some(seeded));
        prop_assert_eq!(time_wait.born, Some(lives.len() as u64 - seeded));
        prop_assert_eq!(time_wait.now, Some(lives.len() as u64 - ended));
        prop_assert_eq!(time_wait.now, Some(alive));
        let rows = snapshot.closers.as_ref().expect("something was traced");
        let followed: u64 = rows.iter().filter_map(|row| row.time_wait_now).sum();
        let wanted = count(|life| !life.from_before && life.end.is_none()) as u64;
        prop_assert_eq!(followed, wanted);
        let port_seconds: f64 = rows.iter().filter_map(|row| row.port_seconds).sum();
        let wanted: f64 = lives.iter().map(MiniLife::port_seconds).sum();
        prop_assert!((port_seconds - wanted).abs() < 1e-6, "{} is not {}", port_seconds, wanted);
        let loss = snapshot.loss.as_ref().expect("something was traced");
        prop_assert_eq!((loss.unmatched, loss.evicted), (0, 0));
        let reconcile = snapshot.reconcile.as_ref().expect("the kernel was read");
        prop_assert_eq!(reconcile.time_wait_now_minus_sockstat, Some(0));
        prop_assert_eq!(reconcile.births_minus_tw, Some(0));
        prop_assert_eq!(reconcile.reused_minus_twrecycled, Some(0));
    }

    #[test]
    fn the_order_among_mini_sockets_does_not_matter(
        lives in vec(any_mini_life(), 0..40),
        one in vec(any::<Index>(), 64), other in vec(any::<Index>(), 64),
    ) {
        prop_assert_eq!(live_minis(&lives, &one), live_minis(&lives, &other));
    }
}

/// A kind that records have.
fn any_kind() -> impl Strategy<Value = u8> {
    prop::sample::select(vec![1_u8, 2, 3, 4, 5, 8, 16])
}

fn any_end() -> impl Strategy<Value = twtrace_common::End> {
    prop::sample::select(twtrace_common::End::ALL.as_slice())
}

fn any_fate() -> impl Strategy<Value = Fate> {
    prop::sample::select(vec![Fate::Written, Fate::RingFull, Fate::Missed])
}

prop_compose! {
    fn any_mini()(
        (time_ns, tw, netns) in (at(0.0)..at(3.0), 0_u64..8, 0_u32..2),
        (substate, tuple) in (any_state(), any_tuple()),
    ) -> MiniEvent {
        MiniEvent { time_ns, tw, netns, substate, tuple, timestamps: None }
    }
}

/// A life of one mini-socket.
#[derive(Clone, Copy, Debug)]
struct MiniLife {
    /// It was there before us: then only its end is seen.
    from_before: bool,
    born_ms: u32,
    lifetime_ms: u32,
    end: Option<twtrace_common::End>,
    /// Whether its end is told before its socket says goodbye.
    ends_early: bool,
    /// Whether the record in which its socket says goodbye is lost.
    goodbye_lost: bool,
    closer: u32,
    netns: u32,
}

prop_compose! {
    fn any_mini_life()(
        from_before in prop::bool::weighted(0.2),
        (born_ms, lifetime_ms) in (1_000_u32..100_000, 1_u32..70_000),
        end in prop::option::of(any_end()),
        (ends_early, goodbye_lost) in (prop::bool::weighted(0.2), prop::bool::weighted(0.1)),
        (closer, netns) in (1_u32..4, kernel::NETNS..kernel::NETNS + 2),
    ) -> MiniLife {
        MiniLife {
            from_before, born_ms, lifetime_ms, end, ends_early, goodbye_lost, closer, netns,
        }
    }
}

/// One thing that happens in a life.
#[derive(Clone, Copy, Debug)]
enum MiniStep {
    Transition(Seen),
    Birth(MiniEvent),
    End(MiniEvent, twtrace_common::End),
}

impl MiniLife {
    fn born_ns(&self) -> u64 {
        at(f64::from(self.born_ms) / 1e3)
    }

    /// What its closer has to answer for.
    fn port_seconds(&self) -> f64 {
        let until_tick = TICK_S - f64::from(self.born_ms) / 1e3;
        match self.end {
            _ if self.from_before => 0.0,
            Some(_) => f64::from(self.lifetime_ms) / 1e3,
            None => until_tick,
        }
    }

    fn seed(&self, name: u64) -> SeedMini {
        SeedMini {
            netns: self.netns,
            substate: TcpState::TimeWait,
            expires_ms: 30_000,
            tuple: self.mini(name).tuple,
        }
    }

    fn mini(&self, name: u64) -> MiniEvent {
        let Seen { tuple, .. } = step(name, self.netns, FinWait2, Close, None);
        let substate = TcpState::TimeWait;
        MiniEvent {
            time_ns: self.born_ns(),
            tw: name,
            netns: self.netns,
            substate,
            tuple,
            timestamps: None,
        }
    }

    fn steps(&self, name: u64) -> VecDeque<MiniStep> {
        let born = self.mini(name);
        let time_ns = born.time_ns + u64::from(self.lifetime_ms) * 1_000_000;
        let end = self.end.map(|end| MiniStep::End(MiniEvent { time_ns, ..born }, end));
        if self.from_before {
            return end.into_iter().collect();
        }
        let at = |old, new, task: Option<u32>| {
            let task = task.map(|task| Task::new(task, 1, b"process"));
            Seen { time_ns: born.time_ns, ..step(name, self.netns, old, new, task) }
        };
        let goodbye = Seen { ring_full: self.goodbye_lost, ..at(FinWait2, Close, None) };
        let mut steps = VecDeque::from([
            MiniStep::Transition(at(Close, SynSent, Some(self.closer))),
            MiniStep::Transition(at(SynSent, Established, None)),
            MiniStep::Transition(at(Established, FinWait1, Some(self.closer))),
            MiniStep::Transition(at(FinWait1, FinWait2, None)),
            MiniStep::Birth(born),
            MiniStep::Transition(goodbye),
        ]);
        steps.extend(end);
        if self.ends_early && end.is_some() {
            steps.swap(5, 6);
        }
        steps
    }
}

/// Leads all lives, of mini-sockets with an address and a tuple each, in turns by `order`.
fn live_minis(lives: &[MiniLife], order: &[Index]) -> Snapshot {
    let named = || lives.iter().zip(0_u64..);
    let mut kernel = PaperKernel::new(TP_BTF);
    let minis: Vec<SeedMini> =
        named().filter(|(life, _)| life.from_before).map(|(life, name)| life.seed(name)).collect();
    minis.iter().for_each(|mini| kernel.mini_from_before(mini.netns, mini.tuple));
    let mut pipeline = Pipeline::new(meta(TP_BTF), 1_000, 1_000);
    let seed = Frame::Seed { sockets: Vec::new(), minis, until_ns: at(0.5), complete: true };
    for frame in [seed, kernel.totals(), kernel.own_counters(&[kernel::NETNS])] {
        apply(&mut pipeline, &frame);
    }
    let mut waiting: Vec<_> = named().map(|(life, name)| life.steps(name)).collect();
    for pick in order.iter().cycle() {
        waiting.retain(|steps| !steps.is_empty());
        if waiting.is_empty() {
            break;
        }
        match pick.get_mut(&mut waiting).pop_front().expect("it is not empty") {
            MiniStep::Transition(seen) => kernel.transition(&seen),
            MiniStep::Birth(mini) => kernel.birth(&mini, Fate::Written),
            MiniStep::End(mini, end) => kernel.end(&mini, end, Fate::Written),
        }
    }
    let frames = [kernel.records(), kernel.totals(), kernel.own_counters(&[kernel::NETNS])];
    frames.iter().for_each(|frame| apply(&mut pipeline, frame));
    snapshot(&mut pipeline, TICK_S)
}

fn apply(pipeline: &mut Pipeline, frame: &Frame) {
    assert!(pipeline.apply(frame).expect("the frame is sound").is_none());
}

fn snapshot(pipeline: &mut Pipeline, after_s: f64) -> Snapshot {
    let snapshot = pipeline.apply(&tick(after_s)).expect("a tick holds no records");
    snapshot.expect("a tick gives a Snapshot")
}

/// No view panics.
fn show(snapshot: &Snapshot) {
    let text = text::snapshot(snapshot);
    let line = json::line(snapshot).expect("a Snapshot can be written");
    assert!(!text.is_empty() && !line.is_empty() && !csv::line(snapshot).is_empty());
}

fn bytes_of(frame: &Frame) -> Bytes {
    match frame {
        Frame::Records(bytes) => bytes.clone(),
        _ => panic!("no records: {frame:?}"),
    }
}

/// Sockets in all states together.
fn population(snapshot: &Snapshot) -> u64 {
    snapshot.states.values().flatten().sum()
}

fn any_state() -> impl Strategy<Value = TcpState> {
    prop::sample::select(TcpState::ALL.as_slice())
}

/// Few enough that they meet.
fn any_tuple() -> impl Strategy<Value = Tuple> {
    (0_u8..2, 0_u8..2, 0_u16..3, 0_u16..2).prop_map(|(laddr, raddr, lport, rport)| Tuple {
        laddr: [laddr; 16],
        raddr: [raddr; 16],
        lport,
        rport,
    })
}

prop_compose! {
    fn any_seen()(
        (time_ns, sk, netns) in (at(0.0)..at(1.0), 0_u64..8, 0_u32..2),
        (old, new, tuple) in (any_state(), any_state(), any_tuple()),
        (locked, ring_full) in any::<(bool, bool)>(),
        (error, shutdown) in (prop::sample::select(vec![0_u16, 103, 104, 110, 111]), 0_u8..4),
        task in prop::option::of((0_u32..3, 0_u64..2, any::<[u8; 16]>(), any::<bool>())),
    ) -> Seen {
        let current = task.map(|(tgid, start_s, comm, kernel_thread)| Task {
            kernel_thread, ..Task::new(tgid, start_s, &comm)
        });
        Seen {
            time_ns, sk, netns, old, new, tuple, locked, error, shutdown, own_range: None, current, ring_full,
        }
    }
}

/// A life of one socket, from nothing to CLOSE.
#[derive(Clone, Copy, Debug)]
struct Life {
    birth: Birth,
    end: End,
    /// The process that opened it, if one did.
    opener: u32,
    /// The process that closed it.
    closer: u32,
    netns: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Birth {
    Connected,
    Accepted,
    SimultaneousOpen,
    Refused,
    TimedOut,
    NoPort,
    GivenUp,
    Listener,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    ClosedFirst,
    ClosedFirstAndPeerNever,
    ClosedSecond,
    PeerClosedAndWeNever,
    BothAtOnce,
    Cut,
    CutByPeer,
    CutByTimeout,
}

fn any_life() -> impl Strategy<Value = Life> {
    use Birth::{
        Accepted, Connected, GivenUp, Listener, NoPort, Refused, SimultaneousOpen, TimedOut,
    };
    use End::{
        BothAtOnce, ClosedFirst, ClosedFirstAndPeerNever, ClosedSecond, Cut, CutByPeer,
        CutByTimeout, PeerClosedAndWeNever,
    };
    let births = [
        Connected,
        Connected,
        Connected,
        Accepted,
        Accepted,
        Accepted,
        SimultaneousOpen,
        Refused,
        TimedOut,
        NoPort,
        GivenUp,
        Listener,
    ];
    let ends = [
        ClosedFirst,
        ClosedFirst,
        ClosedFirstAndPeerNever,
        ClosedSecond,
        PeerClosedAndWeNever,
        BothAtOnce,
        Cut,
        CutByPeer,
        CutByTimeout,
    ];
    let births = prop::sample::select(births.to_vec());
    (births, prop::sample::select(ends.to_vec()), 1_u32..4, 1_u32..4, 1_u32..3)
        .prop_map(|(birth, end, opener, closer, netns)| Life { birth, end, opener, closer, netns })
}

impl Life {
    fn role(&self) -> &'static str {
        if self.birth == Birth::Accepted { "server" } else { "client" }
    }

    fn is_connected(&self) -> bool {
        use Birth::{Accepted, Connected, SimultaneousOpen};
        matches!(self.birth, Connected | Accepted | SimultaneousOpen)
    }

    fn steps(&self, sk: u64) -> Vec<Seen> {
        let at = |old, new, task: Option<u32>| {
            step(sk, self.netns, old, new, task.map(|task| Task::new(task, 1, b"process")))
        };
        let opener = Some(self.opener);
        let mut steps = match self.birth {
            Birth::Accepted => vec![at(Listen, SynRecv, None)],
            Birth::Listener => vec![at(Close, Listen, opener)],
            _ => vec![at(Close, SynSent, opener)],
        };
        let failed = |error, shutdown, lport| {
            // connect() and close() hold the lock; an RST and a timer do not.
            let by_process = error == 0;
            let mut seen = at(SynSent, Close, opener.filter(|_| by_process));
            seen.tuple.lport = lport;
            Seen { error, shutdown, ..seen }
        };
        match self.birth {
            Birth::Connected => steps.push(at(SynSent, Established, None)),
            Birth::Accepted => steps.push(at(SynRecv, Established, None)),
            Birth::SimultaneousOpen => {
                steps.extend([at(SynSent, SynRecv, None), at(SynRecv, Established, None)]);
            }
            Birth::Refused => steps.push(failed(111, 0, 1)),
            Birth::TimedOut => steps.push(failed(110, 0, 1)),
            Birth::NoPort => steps.push(failed(0, 0, 0)),
            Birth::GivenUp => steps.push(failed(0, 3, 1)),
            Birth::Listener => steps.push(at(Listen, Close, opener)),
        }
        if self.is_connected() {
            steps.extend(self.last_steps(&at));
        }
        steps
    }

    fn last_steps(&self, at: &dyn Fn(TcpState, TcpState, Option<u32>) -> Seen) -> Vec<Seen> {
        let closer = Some(self.closer);
        let cut =
            |task, error, shutdown| vec![Seen { error, shutdown, ..at(Established, Close, task) }];
        match self.end {
            End::ClosedFirst => vec![
                at(Established, FinWait1, closer),
                at(FinWait1, FinWait2, None),
                at(FinWait2, Close, None),
            ],
            End::ClosedFirstAndPeerNever => {
                vec![at(Established, FinWait1, closer), at(FinWait1, Close, None)]
            }
            End::ClosedSecond => vec![
                at(Established, CloseWait, None),
                at(CloseWait, LastAck, closer),
                at(LastAck, Close, None),
            ],
            End::PeerClosedAndWeNever => {
                vec![at(Established, CloseWait, None), at(CloseWait, Close, None)]
            }
            End::BothAtOnce => vec![
                at(Established, FinWait1, closer),
                at(FinWait1, Closing, None),
                at(Closing, Close, None),
            ],
            End::Cut => cut(closer, 0, 3),
            // Worked off by a process that was reading.
            End::CutByPeer => cut(closer, 104, 0),
            End::CutByTimeout => cut(None, 110, 0),
        }
    }
}

fn step(sk: u64, netns: u32, old: TcpState, new: TcpState, current: Option<Task>) -> Seen {
    let tuple = Tuple { laddr: [1; 16], raddr: [2; 16], lport: 1 + sk as u16, rport: 80 };
    Seen {
        time_ns: at(0.1),
        sk,
        netns,
        old,
        new,
        tuple,
        locked: current.is_some(),
        error: 0,
        shutdown: 0,
        own_range: None,
        current,
        ring_full: false,
    }
}

/// Leads the lives of each lane one after the other, at one address; lanes alternate by `order`.
fn live(lanes: &[Vec<Life>], order: &[Index]) -> Snapshot {
    let mut waiting: Vec<VecDeque<Seen>> = lanes
        .iter()
        .enumerate()
        .map(|(lane, lives)| lives.iter().flat_map(|life| life.steps(lane as u64)).collect())
        .collect();
    let mut kernel = PaperKernel::new(TP_BTF);
    for pick in order.iter().cycle() {
        waiting.retain(|lane| !lane.is_empty());
        if waiting.is_empty() {
            break;
        }
        let seen = pick.get_mut(&mut waiting).pop_front().expect("it is not empty");
        kernel.transition(&seen);
    }
    let mut pipeline = Pipeline::new(meta(TP_BTF), 1_000, 1_000);
    apply(&mut pipeline, &kernel.records());
    apply(&mut pipeline, &kernel.totals());
    snapshot(&mut pipeline, 1.0)
}

/// The numbers by a simple count of lives.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    /// ok, refused, timed out, no port, other.
    connects: [u64; 5],
    /// active, passive, simultaneous, reset by us, reset by the peer.
    closes: [u64; 5],
    /// Active closes, peer closes, resets by process, namespace and role.
    closers: BTreeMap<(u32, u32, &'static str), [u64; 3]>,
}

impl Wanted {
    fn add(&mut self, life: &Life) {
        match life.birth {
            Birth::Connected | Birth::SimultaneousOpen => self.connects[0] += 1,
            Birth::Refused => self.connects[1] += 1,
            Birth::TimedOut => self.connects[2] += 1,
            Birth::NoPort => self.connects[3] += 1,
            Birth::GivenUp => self.connects[4] += 1,
            Birth::Accepted | Birth::Listener => {}
        }
        if !life.is_connected() {
            return;
        }
        let (kind, credit) = match life.end {
            End::ClosedFirst | End::ClosedFirstAndPeerNever => (0, Some(0)),
            End::ClosedSecond => (1, Some(1)),
            End::PeerClosedAndWeNever => (1, None),
            End::BothAtOnce => (2, None),
            End::Cut => (3, Some(2)),
            End::CutByPeer | End::CutByTimeout => (4, None),
        };
        self.closes[kind] += 1;
        if let Some(credit) = credit {
            let row = (life.closer, life.netns, life.role());
            self.closers.entry(row).or_default()[credit] += 1;
        }
    }

    fn seen(snapshot: &Snapshot) -> Self {
        let connects = snapshot.connects.as_ref().expect("something was traced");
        let closes = snapshot.closes.as_ref().expect("something was traced");
        let known = |number: Option<u64>| number.expect("it is known");
        assert_eq!(closes.reset, known(closes.reset_local) + known(closes.reset_remote));
        let rows = snapshot.closers.iter().flatten().map(|row| {
            let key = (row.pid.expect("it is a process"), row.netns.expect("it is known"));
            let role = row.role.expect("it is known");
            (
                (key.0, key.1, role),
                [row.active_closes, row.peer_closes, row.resets.unwrap_or_default()],
            )
        });
        Self {
            connects: [
                connects.ok,
                known(connects.refused),
                known(connects.timed_out),
                known(connects.no_port),
                known(connects.other),
            ],
            closes: [
                closes.active,
                closes.passive,
                closes.simultaneous,
                known(closes.reset_local),
                known(closes.reset_remote),
            ],
            // A row whose only close was withdrawn may stay, at 0.
            closers: rows.filter(|(_, counts)| *counts != [0; 3]).collect(),
        }
    }
}
