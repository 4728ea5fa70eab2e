//! The worked examples of the counting rules, and the ways to close that they
//! do not show. What takes a minute, as the whole of examples 2 and 5, is in
//! `time_wait_expiry.rs`.

use std::time::Duration;

use serde_json::Value;
use twtrace_tests::clock::timer_slack;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::peer::Peer;
use twtrace_tests::scenario::{DeafListener, Pair, connect_refused, no_port_left};
use twtrace_tests::snapshot::{
    Closer, Exact, TimeWait, active, at, born, closer, number, peer, resets, seconds,
};
use twtrace_tests::sockets::states;
use twtrace_tests::tool::{Tool, traced};
use twtrace_tests::traffic::{End, Family, Traffic};

/// Plays one IPv4 connection that ends by `close`, in this process.
#[track_caller]
fn traced_pair(close: impl FnOnce(Pair) + Send) -> (Value, u64) {
    traced(|_| close(Pair::open(&Family::V4.listen(), Family::V4)))
}

/// Checks the closes, one connect that succeeded, which is one search for a
/// port as the listener's bind is another, and both rows of this process.
#[track_caller]
fn assert_pair(
    (snapshot, netns): &(Value, u64),
    closes: &[(&str, u64)],
    client: Closer,
    server: Closer,
) {
    let exact = Exact::new(snapshot, *netns);
    exact.object("connects", &[("ok", 1)]);
    exact.object("closes", closes);
    exact.closer(std::process::id(), "client", client);
    exact.closer(std::process::id(), "server", server);
    // Who closed first has the mini-socket.
    exact.time_wait(born(client.active + server.active));
    exact.minis(std::process::id(), "client", client.active, 0);
    exact.minis(std::process::id(), "server", server.active, 0);
    assert_searches(&exact, 1, 0);
    exact.count("port_search.bind.count", 1);
    exact.reconciles();
}

/// Checks the searches for a port by connect, and how many of them failed.
#[track_caller]
fn assert_searches(exact: &Exact<'_>, searches: u64, failed: u64) {
    exact.count("port_search.connect.count", searches);
    exact.count("port_search.connect.latency_ns.count", searches);
    exact.object("port_search.connect.failed", &[("EADDRNOTAVAIL", failed)]);
}

const ONE_EACH: &[(&str, u64)] = &[("active", 1), ("passive", 1)];

#[test]
fn example_1_the_client_closes_first() {
    assert_pair(&traced_pair(Pair::close_client_first), ONE_EACH, active(1), peer(1));
}

#[test]
fn the_server_closes_first() {
    assert_pair(&traced_pair(Pair::close_server_first), ONE_EACH, peer(1), active(1));
}

/// The server's part is over when the tool has seen the mini-socket wait for it.
#[test]
fn example_2_the_server_closes_later() {
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &[]);
    let listener = netns.run(|| Family::V4.listen());
    let server = netns.run(|| Pair::open(&listener, Family::V4).close_client_alone());
    netns.wait_for_tw(1);
    let waiting = tool.next_snapshot();
    drop(server);
    let last = tool.finish();
    for snapshot in [&waiting, &last] {
        let exact = Exact::new(snapshot, netns.inode());
        exact.time_wait(born(1));
        exact.count("fin_wait2.born", 1);
        // This tier sees the substate of birth and end, and the end is to come.
        let fin_wait2 = &snapshot["fin_wait2"];
        assert_eq!(fin_wait2["to_time_wait"], Value::Null, "{fin_wait2:#}");
        exact.minis(std::process::id(), "client", 1, 0);
        exact.reconciles();
    }
    let exact = Exact::new(&last, netns.inode());
    exact.object("closes", ONE_EACH);
}

#[test]
fn example_3_the_peer_never_closes() {
    const TIMEOUT: Duration = Duration::from_secs(5);
    let netns = PrivateNetns::new();
    netns.sysctl_set("net.ipv4.tcp_fin_timeout", &TIMEOUT.as_secs().to_string());
    let tool = Tool::on(&netns, &[]);
    let listener = netns.run(|| Family::V4.listen());
    let server = netns.run(|| Pair::open(&listener, Family::V4).close_client_alone());
    netns.wait_for_tw(1);
    netns.wait_for_tw(0);
    let last = tool.finish();
    drop(server);
    let exact = Exact::new(&last, netns.inode());
    exact.time_wait(TimeWait { ended: &[("fin_wait2_timeout", 1)], ..born(1) });
    exact.minis(std::process::id(), "client", 0, 0);
    exact.reconciles();
    assert_eq!(number(&last, "time_wait.lifetime_s.count"), 1);
    let lifetime = seconds(&last, "time_wait.lifetime_s.max");
    let limit = (TIMEOUT + timer_slack(TIMEOUT)).as_secs_f64() + 0.05;
    assert!((TIMEOUT.as_secs_f64()..=limit).contains(&lifetime), "{lifetime} s");
}

#[test]
fn example_4_linger_zero() {
    let closes = [("reset", 2), ("reset_local", 1), ("reset_remote", 1)];
    assert_pair(&traced_pair(Pair::abort), &closes, resets(1), resets(0));
}

#[test]
fn unread_data_at_close_is_a_reset_too() {
    let closes = [("reset", 2), ("reset_local", 1), ("reset_remote", 1)];
    let traced = traced_pair(|mut pair| {
        use std::io::{Read, Write};
        pair.server.write_all(b"unread").expect("sending");
        pair.client.peek(&mut [0]).expect("the data to be there");
        drop(pair.client);
        pair.server.read(&mut [0]).expect_err("the server must see the reset");
    });
    assert_pair(&traced, &closes, resets(1), resets(0));
}

#[test]
fn example_6_the_only_port_is_reused() {
    let (snapshot, netns) = traced(|netns| {
        let listener = Family::V4.listen_on(9_000);
        netns.sysctl_set("net.ipv4.ip_local_port_range", "9999 9999");
        netns.sysctl_set("net.ipv4.tcp_tw_reuse", "1");
        Pair::open(&listener, Family::V4).close_client_first();
        netns.wait_for_tw(1);
        // The delay after which a port is given up; only the clock tells.
        std::thread::sleep(Duration::from_millis(1_100));
        Pair::open(&listener, Family::V4).close_client_first();
        netns.wait_for_tw(1);
        assert_eq!(netns.netstat("TcpExt", "TWRecycled"), 1);
    });
    let exact = Exact::new(&snapshot, netns);
    exact.time_wait(TimeWait { ended: &[("reused", 1)], ..born(2) });
    exact.minis(std::process::id(), "client", 1, 0);
    assert_eq!(snapshot["kernel"]["TWRecycled"], 1, "{:#}", snapshot["kernel"]);
    exact.reconciles();
    assert_searches(&exact, 2, 0);
    let lifetime = seconds(&snapshot, "time_wait.lifetime_s.max");
    assert!((1.1..60.0).contains(&lifetime), "{lifetime} s");
}

#[test]
fn example_7_no_mini_socket_allowed() {
    let (snapshot, netns) = traced(|netns| {
        netns.sysctl_set("net.ipv4.tcp_max_tw_buckets", "0");
        Pair::open(&Family::V4.listen(), Family::V4).close_client_first();
        assert_eq!(netns.netstat("TcpExt", "TCPTimeWaitOverflow"), 1);
    });
    let exact = Exact::new(&snapshot, netns);
    exact.object("closes", ONE_EACH);
    exact.time_wait(TimeWait { refused: 1, ..born(0) });
    exact.closer(std::process::id(), "client", active(1));
    exact.minis(std::process::id(), "client", 0, 1);
    exact.minis(std::process::id(), "server", 0, 0);
    exact.reconciles();
}

#[test]
fn example_8_a_refused_connect_is_no_close() {
    let (snapshot, netns) = traced(|_| drop(connect_refused()));
    let exact = Exact::new(&snapshot, netns);
    exact.object("connects", &[("refused", 1)]);
    exact.object("closes", &[]);
    exact.closers_together(Closer::default());
    exact.time_wait(born(0));
    assert_searches(&exact, 1, 0);
}

#[test]
fn example_9_no_port_left() {
    let traced = traced(|netns| {
        let listener = Family::V4.listen();
        let (pair, _) = no_port_left(netns, &listener);
        pair.close_client_first();
    });
    let exact = Exact::new(&traced.0, traced.1);
    exact.object("connects", &[("ok", 1), ("no_port", 1)]);
    exact.object("closes", ONE_EACH);
    exact.time_wait(born(1));
    assert_searches(&exact, 2, 1);
}

/// The socket of a refused connect still has its old port when it tries again.
#[test]
fn no_port_left_for_a_socket_that_was_refused_before() {
    let traced = traced(|netns| {
        let listener = Family::V4.listen();
        let (pair, _) = no_port_left(netns, &listener);
        let taken = listener.local_addr().expect("an address").port();
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
            .expect("a socket");
        let connect = |port| {
            let error = socket.connect(&Family::V4.address(1, port).into());
            error.expect_err("nobody listens, or no port is left").raw_os_error()
        };
        assert_eq!(connect(1), Some(libc::ECONNREFUSED));
        assert_eq!(connect(taken), Some(libc::EADDRNOTAVAIL));
        pair.close_client_first();
    });
    let exact = Exact::new(&traced.0, traced.1);
    // One by the helper, with a fresh socket.
    exact.object("connects", &[("ok", 1), ("refused", 1), ("no_port", 2)]);
    // The socket that was refused before gave its port back.
    assert_searches(&exact, 4, 2);
}

/// A listener that closes cuts what nobody accepted: its process does.
#[test]
fn unaccepted_connections_are_reset_by_the_server() {
    let (snapshot, netns) = traced(|_| {
        let listener = Family::V4.listen();
        let port = listener.local_addr().expect("an address").port();
        let clients: Vec<_> = (0..10)
            .map(|_| std::net::TcpStream::connect(Family::V4.address(1, port)).expect("connecting"))
            .collect();
        drop(listener);
        drop(clients);
    });
    let exact = Exact::new(&snapshot, netns);
    exact.object("closes", &[("reset", 20), ("reset_local", 10), ("reset_remote", 10)]);
    exact.closer(std::process::id(), "server", Closer { resets: 10, ..Closer::default() });
}

#[test]
fn example_10_one_process_is_both_ends() {
    let (snapshot, netns) = traced(|_| {
        let done = Traffic::closed_by(End::Client, 10_000).run();
        assert_eq!(done.client.closed_first, 10_000);
    });
    let exact = Exact::new(&snapshot, netns);
    exact.object("closes", &[("active", 10_000), ("passive", 10_000)]);
    exact.closer(std::process::id(), "client", active(10_000));
    exact.closer(std::process::id(), "server", peer(10_000));
    exact.closers_together(Closer { active: 10_000, peer: 10_000, resets: 0 });
    exact.time_wait(born(10_000));
    exact.minis(std::process::id(), "client", 10_000, 0);
    exact.minis(std::process::id(), "server", 0, 0);
    assert_searches(&exact, 10_000, 0);
    exact.reconciles();
}

#[test]
fn an_unanswered_connect_times_out() {
    let (snapshot, netns) = traced(|netns| drop(DeafListener::new().connect_until_timeout(netns)));
    let exact = Exact::new(&snapshot, netns);
    exact.object("connects", &[("timed_out", 1)]);
    exact.object("closes", &[]);
}

#[test]
fn a_connect_given_up_is_neither_close_nor_reset() {
    let (snapshot, netns) = traced(|_| DeafListener::new().connect_and_give_up());
    let exact = Exact::new(&snapshot, netns);
    exact.object("connects", &[("other", 1)]);
    exact.object("closes", &[]);
}

#[test]
fn both_ends_in_closing_at_once() {
    let (snapshot, netns) = traced(|netns| {
        Pair::open(&Family::V4.listen(), Family::V4).close_crossed(netns);
    });
    let exact = Exact::new(&snapshot, netns);
    exact.object("connects", &[("ok", 1)]);
    exact.object("closes", &[("simultaneous", 2)]);
}

#[test]
fn one_end_in_closing() {
    let (snapshot, netns) = traced_pair(Pair::close_half_crossed);
    // The server's FIN was acknowledged before the client's came.
    Exact::new(&snapshot, netns).object("closes", &[("simultaneous", 1), ("active", 1)]);
}

#[test]
fn a_half_close_counts_when_it_begins() {
    assert_pair(&traced_pair(Pair::close_by_halves), ONE_EACH, active(1), peer(1));
    assert_pair(&traced_pair(Pair::close_by_halves_alone), ONE_EACH, active(1), peer(1));
}

#[test]
fn a_killed_process_closed_what_it_held() {
    const HELD: usize = 7;
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &[]);
    let listener = netns.run(|| Family::V4.listen());
    let port = listener.local_addr().expect("an address").port();
    let pid = std::thread::scope(|scope| {
        for _ in 0..HELD {
            scope.spawn(|| Traffic::closed_by(End::Client, 1).serve(&listener));
        }
        let holder = Peer::holder(&netns, port, HELD);
        let pid = holder.pid();
        holder.kill();
        pid
    });
    let snapshot = tool.finish();
    let exact = Exact::new(&snapshot, netns.inode());
    exact.object("closes", &[("active", HELD as u64), ("passive", HELD as u64)]);
    exact.closer(pid, "client", active(HELD as u64));
    exact.closer(std::process::id(), "server", peer(HELD as u64));
    let row = closer(&snapshot, pid, netns.inode(), "client").expect("a row");
    assert_eq!(row["comm"], "twtrace-peer", "{row:#}");
}

#[test]
fn ipv6_counts_the_same() {
    let traced = traced(|_| {
        let listener = Family::V6.listen();
        Pair::open(&listener, Family::V6).close_client_first();
    });
    assert_pair(&traced, ONE_EACH, active(1), peer(1));
}

#[test]
fn a_dual_stack_socket_counts_once() {
    for family in [Family::MappedServer, Family::MappedBoth] {
        let traced = traced(|_| {
            let listener = family.listen();
            Pair::open(&listener, family).close_client_first();
        });
        assert_pair(&traced, ONE_EACH, active(1), peer(1));
        let exact = Exact::new(&traced.0, traced.1);
        exact.closers_together(Closer { active: 1, peer: 1, resets: 0 });
    }
}

#[test]
fn listeners_are_not_closes() {
    let (snapshot, netns) = traced(|netns| {
        for family in [Family::V4, Family::V6] {
            drop(family.listen());
        }
        assert_eq!(states(netns), [].into());
    });
    let exact = Exact::new(&snapshot, netns);
    exact.object("connects", &[]);
    exact.object("closes", &[]);
    exact.closers_together(Closer::default());
}

#[test]
fn what_cannot_be_seen_yet_is_unknown_and_not_zero() {
    let (snapshot, _) = traced_pair(Pair::close_client_first);
    for part in [
        "time_wait.rearmed",
        "time_wait.time_wait_s",
        "time_wait.remaining_s",
        "fin_wait2.now",
        "fin_wait2.time_s",
        "port_search.bind.failed",
        "port_search.bind_explicit.failed",
    ] {
        let (parent, key) = part.rsplit_once('.').unwrap_or(("", part));
        let parent = if parent.is_empty() { &snapshot } else { at(&snapshot, parent) };
        assert_eq!(parent.get(key), Some(&Value::Null), "{part} must be there, and null");
    }
}
