//! Local ports towards a destination: how many are taken, of how many, until when, and what
//! the clients of a server take.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::peer::Peer;
use twtrace_tests::scenario::{Pair, set_option};
use twtrace_tests::snapshot::{at, missed, number};
use twtrace_tests::tool::Tool;
use twtrace_tests::traffic::{End, Family, Traffic};

const RANGE: &str = "net.ipv4.ip_local_port_range";
const RESERVED: &str = "net.ipv4.ip_local_reserved_ports";

/// A namespace whose range has so many ports.
fn netns_of(ports: u16) -> PrivateNetns {
    let netns = PrivateNetns::new();
    netns.sysctl_set(RANGE, &format!("40000 {}", 40_000 + ports - 1));
    netns
}

fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 8_080)).expect("binding a listener")
}

/// The row of the destination at `raddr`:`rport`.
fn destination<'a>(snapshot: &'a Value, raddr: &str, rport: u16) -> Option<&'a Value> {
    let mut rows = snapshot["destinations"].as_array().expect("destinations are known").iter();
    rows.find(|row| row["raddr"] == raddr && row["rport"] == rport)
}

/// Checks numbers of a row, but for events that nobody can have seen.
#[track_caller]
fn assert_row(snapshot: &Value, row: &Value, want: &[(&str, u64)]) {
    let missed = missed(snapshot);
    for (key, want) in want {
        let seen = at(row, key).as_u64();
        assert!(
            seen.is_some_and(|seen| seen.abs_diff(*want) <= missed),
            "{key} is {seen:?} and not {want}, {missed} were missed: {row:#}"
        );
    }
}

/// A connection that the client closes first, as long as there is a port for it.
fn open_and_close(listener: &TcpListener) -> io::Result<()> {
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    Pair { client, server }.close_client_first();
    Ok(())
}

/// Opens so many connections a second until there is no port left; returns when that was, and
/// how many there were.
fn open_until_no_port(per_second: f64) -> (Instant, u32) {
    let listener = listener();
    let start = Instant::now();
    for opened in 0.. {
        let due = start + Duration::from_secs_f64(f64::from(opened) / per_second);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        match open_and_close(&listener) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
                return (Instant::now(), opened);
            }
            Err(error) => panic!("connection {opened}: {error}"),
        }
    }
    unreachable!("the range is finite")
}

#[test]
fn ports_run_out_when_it_was_said() {
    let netns = netns_of(200);
    let tool = Tool::on(&netns, &["-d", "0.1"]);
    let end = OnceLock::new();
    let halfway = thread::scope(|scope| {
        scope.spawn(|| end.set(netns.run(|| open_until_no_port(20.0))));
        let used = |snapshot: &Value| {
            let row = destination(snapshot, "127.0.0.1", 8_080)?;
            Some((row["ports_used"].as_u64()?, row.clone()))
        };
        let before = tool.wait_for("a fifth of the ports", |snapshot| {
            used(snapshot).is_some_and(|(used, _)| (40..90).contains(&used))
        });
        let (_, row) = used(&before).expect("there is a row");
        assert!(row["knee_in_s"].as_f64().is_some_and(|s| s > 0.0), "{row:#}");
        let half = tool.wait_for("half of the ports", |snapshot| {
            used(snapshot).is_some_and(|(used, _)| used >= 100)
        });
        (Instant::now(), used(&half).expect("there is a row").1)
    });
    let &(gone_at, opened) = end.get().expect("the client has ended");
    let snapshot = tool.finish();
    let (half_at, half) = halfway;
    assert_eq!(half["knee_in_s"], 0.0, "half is used: {half:#}");
    let said = half["exhausted_in_s"].as_f64().expect("they are running out");
    let took = gone_at.duration_since(half_at).as_secs_f64();
    assert!((said - took).abs() <= took / 10.0, "it was to be in {said:.2} s and took {took:.2}");

    assert_eq!(opened, 200, "a range of 200 ports has as many connections");
    assert_eq!(netns.sockstat_tw(), 200);
    let row = destination(&snapshot, "127.0.0.1", 8_080).expect("there is a row");
    let me = u64::from(std::process::id());
    assert_row(
        &snapshot,
        row,
        &[
            ("netns", netns.inode()),
            ("ports_used", 200),
            ("ports_time_wait", 200),
            ("ports_available", 200),
            ("ports_bound", 0),
            ("ports_reusable", 0),
            ("connect_errors.EADDRNOTAVAIL", 1),
            ("found.first_half", 100),
            ("found.second_half", 100),
            ("pid", me),
        ],
    );
    assert_eq!(row["exhausted_in_s"], 0.0, "{row:#}");
    assert_eq!(number(&snapshot, "port_search.connect.failed.EADDRNOTAVAIL"), 1);
    let failures = snapshot["port_search"]["failures"].as_array().expect("they are known");
    let [failure] = &failures[..] else { panic!("one kind of failure: {failures:#?}") };
    assert_row(&snapshot, failure, &[("pid", me), ("rport", 8_080), ("last.ports_used", 200)]);
    let words = ["op", "error", "laddr", "raddr"].map(|key| failure[key].as_str());
    assert_eq!(words, ["connect", "EADDRNOTAVAIL", "127.0.0.1", "127.0.0.1"].map(Some));
    assert_eq!(failure["last"]["ports_available"], 200);
}

#[test]
fn what_was_there_before_counts_and_a_look_sees_the_same() {
    let netns = netns_of(100);
    let open = netns.run(|| {
        let listener = listener();
        (0..30).for_each(|_| open_and_close(&listener).expect("there are ports"));
        let open: Vec<Pair> = (0..7).map(|_| Pair::open(&listener, Family::V4)).collect();
        (listener, open)
    });
    netns.wait_for_tw(30);
    for probes in ["auto", "none"] {
        let tool = Tool::on(&netns, &["--probes", probes]);
        let snapshot = tool.next_snapshot();
        let row = destination(&snapshot, "127.0.0.1", 8_080).expect("there is a row");
        let want = [("ports_used", 37), ("ports_time_wait", 30), ("ports_available", 100)];
        assert_row(&snapshot, row, &want);
        let clients = snapshot["clients"].as_array().expect("they are known");
        let [client] = &clients[..] else { panic!("one client: {clients:#?}") };
        assert_row(&snapshot, client, &[("lport", 8_080), ("quadruplets_used", 7)]);
        tool.stop(Signal::INT);
    }
    drop(open);
}

#[test]
fn a_range_that_changes_is_another_offer() {
    let netns = netns_of(200);
    let tool = Tool::on(&netns, &[]);
    let _open = netns.run(|| {
        let listener = listener();
        let open: Vec<Pair> = (0..30).map(|_| Pair::open(&listener, Family::V4)).collect();
        (listener, open)
    });
    let offered = |ports: u64| {
        tool.wait_for("another offer", move |snapshot| {
            let row = destination(snapshot, "127.0.0.1", 8_080);
            row.is_some_and(|row| row["ports_available"] == ports && row["ports_used"] == 30)
        })
    };
    let ratio = |snapshot: &Value| {
        let row = destination(snapshot, "127.0.0.1", 8_080).expect("there is a row");
        (row["used_ratio"].clone(), row["exhausted_in_s"].clone())
    };
    assert_eq!(ratio(&offered(200)).0, 0.15);
    netns.sysctl_set(RESERVED, "40000-40099");
    offered(100);
    netns.sysctl_set(RESERVED, "");
    netns.sysctl_set(RANGE, "50000 50049");
    assert_eq!(ratio(&offered(50)).0, 0.0, "none of those in use lies there");
    netns.sysctl_set(RESERVED, "50000-50049");
    let (all_reserved, exhausted) = ratio(&offered(0));
    assert_eq!((all_reserved, exhausted), (Value::Null, json!(0.0)), "there is no port to give");
    tool.finish();
}

#[test]
fn a_port_that_somebody_bound_is_passed_over() {
    let netns = netns_of(10);
    let tool = Tool::on(&netns, &[]);
    let _open = netns.run(|| {
        let (web, other) = (listener(), TcpListener::bind("127.0.0.1:8081").expect("a listener"));
        let elsewhere =
            Pair::open_from("127.0.0.1:40003".parse().expect("an address"), &other, Family::V4);
        (Pair::open(&web, Family::V4), elsewhere, web, other)
    });
    let snapshot = tool.finish();
    let row = |rport| destination(&snapshot, "127.0.0.1", rport).expect("there is a row");
    assert_row(
        &snapshot,
        row(8_080),
        &[("ports_used", 1), ("ports_bound", 1), ("ports_available", 10)],
    );
    assert_row(&snapshot, row(8_081), &[("ports_used", 1), ("ports_bound", 0)]);
    let bound = snapshot["port_search"]["bind_before_connect"].as_array().expect("it is known");
    let [bound] = &bound[..] else { panic!("one process binds: {bound:#?}") };
    let me = u64::from(std::process::id());
    assert_row(&snapshot, bound, &[("pid", me), ("count", 1), ("in_range", 1)]);
}

#[test]
fn thousands_of_destinations_are_rows_and_a_rest() {
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &["--top", "10"]);
    let traffic = Traffic { destinations: 2_000, ..Traffic::closed_by(End::Client, 2_500) };
    let (server, port) = Peer::server(&netns, &traffic);
    let client = Peer::client(&netns, port, &traffic);
    assert_eq!(client.finish().connections, 2_500);
    server.finish();
    let snapshot = tool.finish();
    let rows = snapshot["destinations"].as_array().expect("they are known");
    assert_eq!(rows.len(), 11, "ten rows and the rest");
    assert_eq!(rows[10]["other"], true);
    let used: u64 = rows.iter().map(|row| row["ports_used"].as_u64().expect("a number")).sum();
    assert!(used.abs_diff(2_500) <= missed(&snapshot), "{used} of 2500: {rows:#?}");
    // The first 500 were connected to twice.
    assert!(rows[..10].iter().all(|row| row["ports_used"] == 2), "{rows:#?}");
}

#[test]
fn who_closes_first_as_a_server_takes_quadruplets_of_its_clients() {
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &[]);
    let listener_port = netns.run(|| {
        let listener = listener();
        (0..20).for_each(|_| Pair::open(&listener, Family::V4).close_server_first());
        (0..5).for_each(|_| open_and_close(&listener).expect("there are ports"));
        listener.local_addr().expect("it is bound").port()
    });
    netns.wait_for_tw(25);
    let snapshot = tool.finish();
    let row = destination(&snapshot, "127.0.0.1", listener_port).expect("there is a row");
    assert_row(&snapshot, row, &[("ports_used", 5), ("ports_time_wait", 5)]);
    let clients = snapshot["clients"].as_array().expect("they are known");
    let [client] = &clients[..] else { panic!("one client: {clients:#?}") };
    let want = [("lport", u64::from(listener_port)), ("quadruplets_used", 20), ("time_wait", 20)];
    assert_row(&snapshot, client, &want);
    // This process pays on both sides.
    let proxies = snapshot["proxies"].as_array().expect("they are known");
    let [proxy] = &proxies[..] else { panic!("one proxy: {proxies:#?}") };
    let me = u64::from(std::process::id());
    let want = [("pid", me), ("outbound_time_wait", 5), ("inbound_time_wait", 20)];
    assert_row(&snapshot, proxy, &want);
}

#[test]
fn tw_reuse_gives_up_what_is_old_enough_and_had_timestamps() {
    for (setting, timestamps, reusable, reason) in [
        ("0", "1", 0, "setting"),
        ("1", "1", 20, ""),
        ("2", "1", 20, ""),
        ("1", "0", 0, "no_timestamps"),
    ] {
        let netns = netns_of(40);
        netns.sysctl_set("net.ipv4.tcp_tw_reuse", setting);
        netns.sysctl_set("net.ipv4.tcp_timestamps", timestamps);
        let tool = Tool::on(&netns, &[]);
        netns.run(|| {
            let listener = listener();
            (0..20).for_each(|_| open_and_close(&listener).expect("there are ports"));
        });
        let snapshot = tool.wait_for("what may be reused", |snapshot| {
            let row = destination(snapshot, "127.0.0.1", 8_080);
            row.is_some_and(|row| row["ports_used"] == 20 && row["ports_reusable"] == reusable)
        });
        let reuse = snapshot["tw_reuse"].as_array().expect("it is known");
        let row = reuse.iter().find(|row| row["netns"] == netns.inode()).expect("there is a row");
        assert_eq!(row["reusable"], reusable, "{row:#}");
        if !reason.is_empty() {
            assert_eq!(row["refused"][reason], 20, "tcp_tw_reuse={setting}: {row:#}");
        }
        tool.finish();
    }
}

#[test]
fn a_range_of_its_own_is_what_a_socket_searches() {
    let netns = netns_of(200);
    let tool = Tool::on(&netns, &[]);
    let _open = netns.run(|| {
        let listener = listener();
        let clients = [(); 3].map(|()| connect_within(40_100, 40_109, &listener));
        (clients, listener)
    });
    let snapshot = tool.finish();
    let row = destination(&snapshot, "127.0.0.1", 8_080).expect("there is a row");
    assert_row(&snapshot, row, &[("ports_used", 3), ("ports_available", 10)]);
    let range = json!({"low": 40_100, "high": 40_109, "own": true, "step": 1});
    assert_eq!(row["range"], range, "since 6.8 it is walked port by port");
    assert_eq!(row["knee_in_s"], Value::Null, "{row:#}");
}

/// Connects by one of these ports.
fn connect_within(low: u16, high: u16, listener: &TcpListener) -> Socket {
    const IP_LOCAL_PORT_RANGE: i32 = 51;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let range = u32::from(low) | u32::from(high) << 16;
    set_option(&socket, libc::IPPROTO_IP, IP_LOCAL_PORT_RANGE, range.cast_signed());
    let address = listener.local_addr().expect("it is bound");
    socket.connect(&address.into()).expect("there are ports");
    socket
}

#[test]
fn a_namespace_that_is_gone_takes_its_rows_along() {
    let netns = netns_of(50);
    let tool = Tool::start(&[]);
    netns.run(|| {
        let listener = listener();
        (0..10).for_each(|_| open_and_close(&listener).expect("there are ports"));
    });
    let inode = netns.inode();
    let used = |snapshot: &Value| {
        let rows = snapshot["destinations"].as_array().expect("they are known");
        let own = rows.iter().filter(|row| row["netns"] == inode);
        own.map(|row| row["ports_used"].as_u64().expect("a number")).sum::<u64>()
    };
    tool.wait_for("the ports", |snapshot| used(snapshot) == 10);
    drop(netns);
    tool.wait_for("the namespace's end", |snapshot| used(snapshot) == 0);
    tool.stop(Signal::INT);
}
