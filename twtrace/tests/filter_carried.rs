//! What another file carries, through a filter: cases in which a list tells less than records.

mod common;

use common::{
    fixture::tuple,
    kernel::{FENTRY, Fate, NETNS, PaperKernel, Seen, Task, at, meta, tick},
};
use serde_json::Value;
use twtrace::{
    event::{MiniEvent, Role, Tuple},
    filter::{Filter, FilterStage, Filtered, Pid},
    frame::{
        Carried, CarriedCounts, CarriedMini, CarriedSocket, Frame, Held, HeldClient, Meta, MiniOf,
    },
    pipeline::Pipeline,
    view::json,
};
use twtrace_common::{
    End,
    TcpState::{
        self, Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynSent, TimeWait,
    },
};

const OTHER_NETNS: u32 = NETNS + 1;
const CLIENT: &str = "10.0.0.9:40000";
const SERVER: &str = "10.0.0.1:443";

fn seen(old: TcpState, new: TcpState, tuple: Tuple, by: Option<u32>) -> Seen {
    Seen {
        time_ns: at(0.1),
        sk: 1,
        netns: NETNS,
        old,
        new,
        tuple,
        locked: by.is_some(),
        error: 0,
        shutdown: 0,
        own_range: None,
        current: by.map(|tgid| Task::new(tgid, 1, b"p")),
        ring_full: false,
    }
}

fn mini(substate: TcpState, tuple: Tuple) -> MiniEvent {
    MiniEvent { time_ns: at(0.2), tw: 7, netns: NETNS, substate, tuple, timestamps: None }
}

fn of_pid(tgid: u32) -> Filter {
    Filter { pid: Some(Pid { tgid, started_ns: None }), ..Filter::default() }
}

fn lport(ports: &str) -> Filter {
    Filter { lports: Some(ports.parse().expect("they are ports")), ..Filter::default() }
}

/// Where the recording goes on after what the paper kernel has told so far.
fn cut(kernel: &mut PaperKernel) -> (Meta, Vec<Frame>) {
    let mut pipeline = Pipeline::new(meta(FENTRY), 100, 50);
    let frames = [kernel.records(), kernel.totals(), kernel.own_counters(&[NETNS]), tick(0.3)];
    for frame in &frames {
        pipeline.apply(frame).expect("it is sound");
    }
    pipeline.checkpoint(at(0.3))
}

/// The Snapshot of a file that begins with `carried`, and then with what the kernel told since.
fn second((meta, carried): &(Meta, Vec<Frame>), kernel: &[Frame], filter: &Filter) -> Value {
    let mut filtered =
        Filtered::new(filter.clone(), meta.clone(), 100, 50).expect("it tells enough");
    let mut last = None;
    for frame in carried.iter().chain(kernel) {
        last = filtered.apply(frame).expect("it is sound").or(last);
    }
    let line = json::line(&last.expect("the last frame is a tick")).expect("it can be written");
    serde_json::from_str(&line).expect("it is JSON")
}

/// A mini-socket is of whoever connected its socket, and of whoever closed that.
#[test]
fn a_mini_socket_is_of_both_its_processes() {
    let ends = tuple(CLIENT, SERVER);
    let mut kernel = PaperKernel::new(FENTRY);
    kernel.transition(&seen(Close, SynSent, ends, Some(100)));
    kernel.transition(&seen(SynSent, Established, ends, None));
    kernel.transition(&seen(Established, FinWait1, ends, Some(200)));
    kernel.transition(&seen(FinWait1, FinWait2, ends, None));
    kernel.birth(&mini(TimeWait, ends), Fate::Written);
    kernel.transition(&seen(FinWait2, Close, ends, None));
    let carried = cut(&mut kernel);
    let ticked = [kernel.totals(), tick(1.0)];
    let ended = MiniEvent { time_ns: at(1.5), ..mini(TimeWait, ends) };
    kernel.end(&ended, End::Reset, Fate::Written);
    let after = [kernel.records(), kernel.totals(), tick(2.0)];
    for (tgid, there) in [(100, 1), (200, 1), (300, 0)] {
        let now = second(&carried, &ticked, &of_pid(tgid));
        assert_eq!(now["time_wait"]["now"], there, "{tgid}");
        assert_eq!(now["destinations"].as_array().map(Vec::len), Some(there), "{tgid}");
        assert_eq!(now["closers"].as_array().map(Vec::len), Some(there), "the row is 200's");
        let then = second(&carried, &after, &of_pid(tgid));
        assert_eq!(then["time_wait"]["now"], 0, "{tgid}");
        assert_eq!(then["time_wait"]["ended"]["reset"], there, "{tgid}");
        assert_eq!(then["loss"]["unmatched"], 0, "{tgid}");
    }
}

/// One that sent the second FIN waits for the last ACK only: no process will touch it again.
#[test]
fn a_socket_is_of_who_closed_it_second() {
    let ends = tuple(SERVER, CLIENT);
    let mut kernel = PaperKernel::new(FENTRY);
    kernel.transition(&seen(TcpState::SynRecv, Established, ends, None));
    kernel.transition(&seen(Established, CloseWait, ends, None));
    kernel.transition(&seen(CloseWait, LastAck, ends, Some(200)));
    let carried = cut(&mut kernel);
    let frames = [kernel.totals(), tick(1.0)];
    assert_eq!(second(&carried, &frames, &of_pid(200))["states"]["LAST_ACK"], 1);
    assert_eq!(second(&carried, &frames, &of_pid(100))["states"]["LAST_ACK"], 0);
}

/// An accepted socket comes with its state when it is known whose it is.
#[test]
fn a_socket_that_passes_late_is_no_stranger() {
    let ends = tuple(SERVER, CLIENT);
    let mut kernel = PaperKernel::new(FENTRY);
    kernel.transition(&seen(TcpState::SynRecv, Established, ends, None));
    let carried = cut(&mut kernel);
    let open = [kernel.totals(), tick(1.0)];
    kernel.transition(&seen(Established, FinWait1, ends, Some(200)));
    let closing = [kernel.records(), kernel.totals(), tick(2.0)];
    assert_eq!(second(&carried, &open, &of_pid(200))["states"]["ESTABLISHED"], 0);
    let seen = second(&carried, &closing, &of_pid(200));
    assert_eq!(seen["states"]["FIN_WAIT1"], 1);
    assert_eq!(seen["closes"]["active"], 1);
    assert_eq!(seen["connects"]["ok"], 0, "that was in the other file");
    assert_eq!(seen["closers"][0]["role"], "server");
    assert_eq!(seen["clients"][0]["quadruplets_used"], 1);
    assert_eq!(seen["loss"]["unmatched"], 0);
}

fn carried_mini(tw: u64, netns: u32, substate: TcpState, held: Held) -> CarriedMini {
    let of = MiniOf::Closed { process: None, role: Role::Server, held };
    CarriedMini { tw, born_ns: at(0.0), substate, time_wait_ns: None, timestamps: None, netns, of }
}

fn quadruplet(netns: u32, lport: u16) -> Held {
    Held::Quadruplet(Some(HeldClient { netns, laddr: [1; 16], lport, raddr: [2; 16], rport: 9 }))
}

fn counts(minis: Vec<(u32, u64)>, in_fin_wait2: u64) -> CarriedCounts {
    let untold_ends = vec![(NETNS, 5), (OTHER_NETNS, 6)];
    CarriedCounts { minis, in_fin_wait2, untold_ends, complete: true, seeded_until_ns: at(0.0) }
}

/// What passes of the last of the counts, after the list of mini-sockets.
fn counted(filter: &Filter, minis: Vec<CarriedMini>, told: CarriedCounts) -> CarriedCounts {
    let mut stage = FilterStage::new(filter.clone(), &meta(FENTRY), 100).expect("it tells enough");
    stage.apply(&Frame::Carried(Carried::Minis(minis)));
    let frames = stage.apply(&Frame::Carried(Carried::Counts(told)));
    let [Frame::Carried(Carried::Counts(counts))] = frames.as_slice() else {
        panic!("{frames:?}");
    };
    counts.clone()
}

/// The counts are of what passes: a namespace's as they were told, others by the list.
#[test]
fn counts_are_of_what_passes() {
    let minis = || {
        vec![
            carried_mini(1, NETNS, FinWait2, quadruplet(NETNS, 443)),
            carried_mini(2, NETNS, TimeWait, quadruplet(NETNS, 80)),
            carried_mini(3, OTHER_NETNS, FinWait2, quadruplet(OTHER_NETNS, 443)),
        ]
    };
    let told = counts(vec![(NETNS, 20), (OTHER_NETNS, 10)], 9);
    let netns = Filter { netns: Some(NETNS), ..Filter::default() };
    let of_netns = counted(&netns, minis(), told.clone());
    assert_eq!(of_netns.minis, [(NETNS, 20)]);
    assert_eq!(of_netns.untold_ends, [(NETNS, 5)]);
    assert_eq!(of_netns.in_fin_wait2, 1, "how many of the 9 are there the list alone tells");
    let alone = counted(&netns, Vec::new(), counts(vec![(NETNS, 20)], 9));
    assert_eq!(alone.in_fin_wait2, 9, "there is no other");
    let of_port = counted(&lport("443"), minis(), told);
    assert_eq!(of_port.minis, [(NETNS, 1), (OTHER_NETNS, 1)]);
    assert_eq!((of_port.in_fin_wait2, of_port.untold_ends), (2, Vec::new()));
    assert!(of_port.complete);
}

/// Of a client for which there was no room nothing tells the ends, until a record does.
#[test]
fn ends_for_which_there_was_no_room() {
    let unknown = Held::Quadruplet(None);
    let minis = vec![carried_mini(7, NETNS, TimeWait, unknown)];
    let netns = Filter { netns: Some(NETNS), ..Filter::default() };
    let by_netns = counted(&netns, minis.clone(), counts(vec![(NETNS, 1)], 0));
    assert!(by_netns.complete, "its namespace is known");
    let by_port = counted(&lport("443"), minis.clone(), counts(vec![(NETNS, 1)], 0));
    assert_eq!((by_port.minis, by_port.complete), (Vec::new(), false));
    let socket = CarriedSocket {
        sk: 1,
        state: Some(Established),
        role: Role::Server,
        owner: None,
        closer: None,
        held: unknown,
    };
    let mut kernel = PaperKernel::new(FENTRY);
    let mut carried = cut(&mut kernel);
    let place = carried.1.len() - 1;
    carried.1.insert(place, Frame::Carried(Carried::Minis(minis)));
    carried.1.insert(place, Frame::Carried(Carried::Sockets(vec![socket])));
    let ends = tuple(SERVER, CLIENT);
    kernel.transition(&seen(Established, CloseWait, ends, None));
    kernel.end(&MiniEvent { time_ns: at(0.5), ..mini(TimeWait, ends) }, End::Reset, Fate::Written);
    let frames = [kernel.records(), kernel.totals(), tick(1.0)];
    for (ports, there) in [("443", 1), ("80", 0)] {
        let seen = second(&carried, &frames, &lport(ports));
        assert_eq!(seen["states"]["CLOSE_WAIT"], there, "{ports}");
        assert_eq!(seen["states"]["ESTABLISHED"], 0, "{ports}");
        assert_eq!(seen["time_wait"]["ended"]["reset"], 0, "it was not in the list");
        assert_eq!(seen["probes"]["exactness"]["states"], "inferred");
        assert_eq!(seen["loss"]["unmatched"], 0, "{ports}");
    }
}

/// A listener's family is known, and the port of what it accepted is on its other end.
#[test]
fn listeners_and_clients_have_ends() {
    let mut kernel = PaperKernel::new(FENTRY);
    let listener = tuple("0.0.0.0:443", "0.0.0.0:0");
    kernel.transition(&seen(Close, Listen, listener, Some(200)));
    let accepted = seen(TcpState::SynRecv, Established, tuple(SERVER, CLIENT), None);
    kernel.transition(&Seen { sk: 2, ..accepted });
    let carried = cut(&mut kernel);
    let frames = [kernel.totals(), tick(1.0)];
    let rport =
        |port: &str| Filter { rports: Some(port.parse().expect("a port")), ..Filter::default() };
    let v4 = Filter { family: Some(twtrace::filter::Family::V4), ..Filter::default() };
    for (filter, listen, established) in
        [(v4, 1, 1), (rport("40000"), 0, 1), (rport("443"), 0, 0), (lport("443"), 1, 1)]
    {
        let seen = second(&carried, &frames, &filter);
        assert_eq!(seen["states"]["LISTEN"], listen, "{filter}");
        assert_eq!(seen["states"]["ESTABLISHED"], established, "{filter}");
    }
}
