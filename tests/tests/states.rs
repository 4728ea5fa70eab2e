//! `twtrace states` against `ss`, to the unit, with every state there is.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::scenario::{DeafListener, Pair, set_option};
use twtrace_tests::sockets::{States, all_states};
use twtrace_tests::tool::{Run, program};
use twtrace_tests::traffic::Family;
use twtrace_tests::wait_for;

/// Every state of a socket that `ss` lists.
const STATES: [&str; 10] = [
    "CLOSE_WAIT",
    "CLOSING",
    "ESTABLISHED",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "LAST_ACK",
    "LISTEN",
    "SYN_RECV",
    "SYN_SENT",
    "TIME_WAIT",
];

/// Sockets that stay in their states, at least one in each, as long as this value lives.
struct Still {
    _listeners: [TcpListener; 2],
    _deaf: DeafListener,
    _waiting: Socket,
    _open: Vec<TcpStream>,
}

impl Still {
    /// `scale` of most, so that no two counts are equal by accident.
    fn new(family: Family, scale: usize) -> Self {
        let listener = family.listen();
        let deferring = family.listen();
        // Half-open until data comes.
        set_option(&deferring, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 60);
        let deaf = DeafListener::new();
        let pair = || Pair::open(&listener, family);
        let mut open = Vec::new();
        for _ in 0..scale {
            open.extend(established(pair()));
            open.extend(half_closed(pair()));
            open.push(pair().close_client_alone());
            pair().close_client_first();
            open.extend(fin_unsent(pair()));
            open.extend(last_ack(pair()));
            open.extend(closing(pair()));
            open.push(connect(family, &deferring));
        }
        let waiting = deaf.connect_in_vain();
        Self { _listeners: [listener, deferring], _deaf: deaf, _waiting: waiting, _open: open }
    }
}

fn established(pair: Pair) -> [TcpStream; 2] {
    [pair.client, pair.server]
}

/// FIN_WAIT2 of a full socket, and CLOSE_WAIT.
fn half_closed(pair: Pair) -> [TcpStream; 2] {
    pair.client.shutdown(Shutdown::Write).expect("the client's FIN");
    [pair.client, pair.server]
}

/// FIN_WAIT1: the FIN waits behind data that the server does not read.
fn fin_unsent(mut pair: Pair) -> [TcpStream; 2] {
    fill(&mut pair.client);
    pair.client.shutdown(Shutdown::Write).expect("the client's FIN");
    [pair.client, pair.server]
}

/// LAST_ACK: the second FIN waits behind data that the client does not read.
fn last_ack(mut pair: Pair) -> [TcpStream; 1] {
    pair.client.shutdown(Shutdown::Write).expect("the client's FIN");
    fill(&mut pair.server);
    drop(pair.server);
    [pair.client]
}

/// CLOSING: the client has read the server's FIN, its own waits behind data.
fn closing(mut pair: Pair) -> [TcpStream; 2] {
    fill(&mut pair.client);
    pair.client.shutdown(Shutdown::Write).expect("the client's FIN");
    pair.server.shutdown(Shutdown::Write).expect("the server's FIN");
    io::copy(&mut pair.client, &mut io::sink()).expect("reading to the end");
    [pair.client, pair.server]
}

/// Writes until the other end's buffer and ours are full.
fn fill(end: &mut TcpStream) {
    end.set_nonblocking(true).expect("O_NONBLOCK");
    let mut refusals = 0;
    while refusals < 10 {
        match end.write(&[0; 65_536]) {
            Ok(_) => refusals = 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                refusals += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => panic!("filling the send queue: {error}"),
        }
    }
    end.set_nonblocking(false).expect("O_NONBLOCK");
}

fn connect(family: Family, listener: &TcpListener) -> TcpStream {
    let port = listener.local_addr().expect("a bound socket has an address").port();
    TcpStream::connect(family.address(1, port)).expect("connecting")
}

/// The report on a namespace, whose sockets `ss` counts the same before and after.
fn quiet_report(netns: &PrivateNetns) -> (Value, States) {
    wait_for("a quiet moment", Duration::from_secs(20), || {
        let before = all_states(netns);
        let args = ["states", "--json", "--netns", &netns.selector()];
        let run = Run::of(Command::new(program()).args(args));
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        let report = serde_json::from_str(&run.stdout).expect("it prints JSON");
        let is_quiet = STATES.iter().all(|state| before.contains_key(*state));
        (is_quiet && before == all_states(netns)).then_some((report, before))
    })
}

/// A map of states as `ss` would give it: without those of which there are none.
fn states(value: &Value) -> States {
    let states = value.as_object().expect("states are an object").iter();
    let states = states.map(|(state, count)| (state.clone(), count.as_u64().expect("a number")));
    states.filter(|(_, count)| *count > 0).collect()
}

fn rows<'a>(report: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    report[key].as_array().expect("an array").iter()
}

/// What rows of these kinds have together.
fn together<'a>(rows: impl Iterator<Item = &'a Value>) -> States {
    let mut sum = States::new();
    for row in rows {
        for (state, count) in states(&row["states"]) {
            *sum.entry(state).or_default() += count;
        }
    }
    sum
}

fn assert_equals_ss(family: Family) {
    let netns = PrivateNetns::new();
    let still = netns.run(|| Still::new(family, 3));
    let (report, ss) = quiet_report(&netns);
    assert_eq!(states(&report["states"]), ss, "{report:#}");
    assert_eq!(together(rows(&report, "by_netns")), ss);
    assert_eq!(together(rows(&report, "by_process")), ss);
    assert_eq!(report["by_netns"][0]["netns"], netns.inode());

    let me = rows(&report, "by_process").filter(|row| row["pid"] == std::process::id());
    let nobody = rows(&report, "by_process").filter(|row| row["held_by"] == "nobody");
    let (mine, nobodys) = (together(me), together(nobody));
    for (state, count) in held(&netns) {
        assert_eq!(mine.get(&state).copied().unwrap_or(0), count, "{state}: {report:#}");
    }
    let (all, held): (u64, u64) = (ss.values().sum(), mine.values().sum());
    assert_eq!(held + nobodys.values().sum::<u64>(), all, "every holder is known: {report:#}");

    assert_eq!(quadruplets(&report), ss_quadruplets(&netns), "{report:#}");
    drop(still);
}

/// By state, the sockets that `ss -p` knows a process of.
fn held(netns: &PrivateNetns) -> BTreeMap<String, u64> {
    let listed = netns.output("ss", &["-Htanp"]);
    let mut held = BTreeMap::new();
    for line in listed.lines().filter(|line| line.contains("users:((")) {
        let state = line.split_ascii_whitespace().next().expect("a state");
        let name = match state {
            "ESTAB" => "ESTABLISHED".to_owned(),
            "FIN-WAIT-1" => "FIN_WAIT1".to_owned(),
            "FIN-WAIT-2" => "FIN_WAIT2".to_owned(),
            other => other.replace('-', "_"),
        };
        *held.entry(name).or_default() += 1;
    }
    held
}

/// How many quadruplets towards destinations have so many local ports, and by clients.
fn quadruplets(report: &Value) -> Vec<u64> {
    let used = rows(report, "destinations").chain(rows(report, "clients"));
    let mut used: Vec<u64> =
        used.map(|row| row["quadruplets_used"].as_u64().expect("a number")).collect();
    used.sort_unstable();
    used
}

/// The same, by what `ss` lists: connections that came to a listening port are its clients'.
fn ss_quadruplets(netns: &PrivateNetns) -> Vec<u64> {
    let listed = netns.output("ss", &["-Htan"]);
    let ends = |line: &str| -> (String, String, String) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        (words[0].to_owned(), plain(words[3]), plain(words[4]))
    };
    let port = |end: &str| end.rsplit_once(':').expect("an address and a port").1.to_owned();
    let address = |end: &str| end.rsplit_once(':').expect("an address and a port").0.to_owned();
    let sockets: Vec<_> = listed.lines().map(ends).collect();
    let (listening, others): (Vec<_>, Vec<_>) =
        sockets.iter().partition(|(state, ..)| state == "LISTEN");
    let listening: Vec<String> = listening.iter().map(|(_, local, _)| port(local)).collect();
    let mut used: BTreeMap<(String, String), u64> = BTreeMap::new();
    for (_, local, remote) in others {
        let key = if listening.contains(&port(local)) {
            (local.clone(), address(remote))
        } else {
            (address(local), remote.clone())
        };
        *used.entry(key).or_default() += 1;
    }
    let mut used: Vec<u64> = used.into_values().collect();
    used.sort_unstable();
    used
}

/// An end as IPv4 where it is mapped.
fn plain(end: &str) -> String {
    end.replace("[::ffff:", "").replace("::ffff:", "").replace(['[', ']'], "")
}

#[test]
fn every_state_of_ipv4_is_counted_as_ss_counts_it() {
    assert_equals_ss(Family::V4);
}

#[test]
fn every_state_of_ipv6_is_counted_as_ss_counts_it() {
    assert_equals_ss(Family::V6);
}

#[test]
fn every_state_of_mapped_addresses_is_counted_as_ss_counts_it() {
    assert_equals_ss(Family::MappedServer);
}

#[test]
fn queues_of_listeners_are_shown_as_they_fill() {
    let netns = PrivateNetns::new();
    let (listener, clients) = netns.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let address: std::net::SocketAddr = ([127, 0, 0, 1], 8_080).into();
        socket.bind(&address.into()).expect("binding the listener");
        socket.listen(7).expect("listening");
        let clients: Vec<_> =
            (0..5).map(|_| TcpStream::connect(address).expect("connecting")).collect();
        (socket, clients)
    });
    let run =
        Run::of(Command::new(program()).args(["states", "--json", "--netns", &netns.selector()]));
    let report: Value = serde_json::from_str(&run.stdout).expect("it prints JSON");
    let [row] = &rows(&report, "by_listener").collect::<Vec<_>>()[..] else {
        panic!("one listener: {report:#}")
    };
    let numbers = ["accept_queue", "backlog", "sockets", "lport", "pid"];
    let seen = numbers.map(|key| row[key].as_u64().expect("a number"));
    assert_eq!(seen, [5, 7, 1, 8_080, u64::from(std::process::id())], "{row:#}");
    assert_eq!(row["states"]["ESTABLISHED"], 5, "those that wait are at the listener: {row:#}");
    drop((listener, clients));
}
