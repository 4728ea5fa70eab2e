//! The traffic itself, against what the kernel counts: a tracer is measured
//! with these connections, so they must be what they say.

use std::time::Duration;

use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::peer::Peer;
use twtrace_tests::scenario::{DeafListener, Pair, connect_refused, no_port_left};
use twtrace_tests::sockets::states;
use twtrace_tests::traffic::{Done, End, EndDone, Family, Traffic};
use twtrace_tests::wait_for;

#[track_caller]
fn assert_no_retry(done: &Done) {
    assert_eq!(done.client.retried, 0, "a SYN was dropped");
    assert!(done.elapsed < Duration::from_secs(30), "{:?}: too slow to be used", done.elapsed);
}

/// The number of mini-sockets made, on kernels that count them at birth (5.18 and newer).
fn births(netns: &PrivateNetns) -> u64 {
    netns.netstat("TcpExt", "TW") + netns.netstat("TcpExt", "TWKilled")
}

#[test]
fn ten_thousand_closed_by_the_client_leave_as_many_time_waits() {
    let netns = PrivateNetns::new();
    let done = netns.run(|| Traffic::closed_by(End::Client, 10_000).run());
    assert_no_retry(&done);
    let all = EndDone { connections: 10_000, ..EndDone::default() };
    assert_eq!(done.client, EndDone { closed_first: 10_000, ..all.clone() });
    assert_eq!(done.server, EndDone { closed_second: 10_000, ..all });
    assert_eq!(births(&netns), 10_000);
    assert_eq!(netns.sockstat_tw(), 10_000);
    assert_eq!(netns.netstat("Tcp", "ActiveOpens"), 10_000);
    assert_eq!(netns.netstat("Tcp", "PassiveOpens"), 10_000);
    assert_eq!(netns.netstat("TcpExt", "TCPTimeWaitOverflow"), 0);
    assert_eq!(states(&netns), [].into(), "no socket is left");
    println!("10,000 connections in {:?}", done.elapsed);
}

#[test]
fn closed_by_the_server_over_several_threads() {
    let netns = PrivateNetns::new();
    let done = netns.run(|| Traffic::closed_by(End::Server, 5_001).threads(3).run());
    assert_no_retry(&done);
    assert_eq!((done.server.closed_first, done.client.closed_second), (5_001, 5_001));
    // A client may take a port again that the server has in TIME_WAIT; that one
    // is replaced, which sockstat shows and the count of births does not.
    assert_eq!(births(&netns), 5_001);
    assert!(netns.sockstat_tw() <= 5_001);
}

#[test]
fn aborted_connections_are_reset_and_leave_nothing() {
    let netns = PrivateNetns::new();
    let done = netns.run(|| Traffic::aborted(1_000).run());
    assert_no_retry(&done);
    assert_eq!((done.client.aborted, done.server.saw_reset), (1_000, 1_000));
    assert_eq!(netns.netstat("TcpExt", "TCPAbortOnData"), 1_000);
    assert_eq!((births(&netns), netns.sockstat_tw()), (0, 0));
}

#[test]
fn every_address_family() {
    for family in [Family::V6, Family::MappedServer, Family::MappedBoth] {
        let netns = PrivateNetns::new();
        let done = netns.run(|| Traffic::closed_by(End::Client, 200).family(family).run());
        assert_eq!((done.client.closed_first, done.server.closed_second), (200, 200), "{family:?}");
        assert_eq!(netns.sockstat_tw(), 200, "{family:?}");
    }
}

#[test]
fn both_ends_as_processes() {
    let netns = PrivateNetns::new();
    let traffic = Traffic::closed_by(End::Server, 300);
    let (server, port) = Peer::server(&netns, &traffic);
    let client = Peer::client(&netns, port, &traffic);
    assert_eq!(client.finish().closed_second, 300);
    assert_eq!(server.finish().closed_first, 300);
    assert_eq!(births(&netns), 300);
}

#[test]
fn failed_connects_fail_as_named() {
    let netns = PrivateNetns::new();
    let errno = |error: std::io::Error| error.raw_os_error();
    assert_eq!(errno(netns.run(connect_refused)), Some(libc::ECONNREFUSED));
    netns.run(|| {
        let deaf = DeafListener::new();
        deaf.connect_and_give_up();
        assert_eq!(states(&netns), [("LISTEN".to_owned(), 1)].into());
        assert_eq!(errno(deaf.connect_until_timeout(&netns)), Some(libc::ETIMEDOUT));
        let listener = Family::V4.listen();
        let (pair, error) = no_port_left(&netns, &listener);
        assert_eq!(errno(error), Some(libc::EADDRNOTAVAIL));
        pair.close_client_first();
    });
    assert_eq!(netns.sockstat_tw(), 1, "the one connection that succeeded");
}

#[test]
fn single_connections_close_as_named() {
    type Close = fn(Pair, &PrivateNetns);
    let netns = PrivateNetns::new();
    // How many mini-sockets each close leaves.
    let closes: [(&str, Close, u64); 7] = [
        ("client first", |pair, _| pair.close_client_first(), 1),
        ("server first", |pair, _| pair.close_server_first(), 1),
        ("aborted", |pair, _| pair.abort(), 0),
        ("by halves", |pair, _| pair.close_by_halves(), 1),
        ("by halves alone", |pair, _| pair.close_by_halves_alone(), 1),
        ("half crossed", |pair, _| pair.close_half_crossed(), 2),
        ("crossed", Pair::close_crossed, 2),
    ];
    let listener = netns.run(|| Family::V4.listen());
    for (name, close, left) in closes {
        let before = netns.sockstat_tw();
        netns.run(|| close(Pair::open(&listener, Family::V4), &netns));
        wait_for(&format!("{left} TIME_WAIT after {name}"), Duration::from_secs(5), || {
            (netns.sockstat_tw() == before + left).then_some(())
        });
        assert_eq!(states(&netns), [("LISTEN".to_owned(), 1)].into(), "after {name}");
    }
}

#[test]
fn a_namespace_has_sysctls_counters_and_a_name_of_its_own() {
    let (one, other) = (PrivateNetns::new(), PrivateNetns::new());
    assert_ne!(one.inode(), other.inode());
    one.sysctl_set("net.ipv4.tcp_fin_timeout", "5");
    assert_eq!(one.sysctl_get("net.ipv4.tcp_fin_timeout"), "5");
    assert_eq!(other.sysctl_get("net.ipv4.tcp_fin_timeout"), "60");
    one.run(|| Traffic::closed_by(End::Client, 3).run());
    assert_eq!((one.sockstat_tw(), other.sockstat_tw()), (3, 0));
    let name = one.publish();
    let inode =
        other.output("ip", &["netns", "exec", name.as_str(), "readlink", "/proc/self/ns/net"]);
    assert_eq!(inode.trim(), format!("net:[{}]", one.inode()));
}

#[test]
fn a_killed_process_closes_what_it_held() {
    let netns = PrivateNetns::new();
    let listener = netns.run(|| Family::V4.listen());
    let port = listener.local_addr().expect("an address").port();
    let traffic = Traffic::closed_by(End::Client, 5);
    std::thread::scope(|scope| {
        // Serving is one after the other, so each held connection needs a thread.
        for _ in 0..5 {
            scope.spawn(|| Traffic { connections: 1, ..traffic.clone() }.serve(&listener));
        }
        let holder = Peer::holder(&netns, port, 5);
        assert_eq!(states(&netns).get("ESTABLISHED"), Some(&10));
        holder.kill();
    });
    wait_for("five TIME_WAITs", Duration::from_secs(5), || {
        (netns.sockstat_tw() == 5).then_some(())
    });
}
