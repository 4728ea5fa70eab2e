//! Searches for a local port: how many, whose, for which remote end, and that
//! nothing else is taken for one.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::peer::Peer;
use twtrace_tests::scenario::{Pair, connect_refused, no_port_left, set_option};
use twtrace_tests::snapshot::{Exact, at, number};
use twtrace_tests::tool::{Tool, traced};
use twtrace_tests::traffic::{End, Family, Traffic};

/// What is searched and checked.
#[derive(Clone, Copy, Default)]
struct Searches {
    connect: u64,
    /// Of these, without success.
    failed: u64,
    bind: u64,
    /// Further ones by listen, which nobody measures.
    listen: u64,
    explicit: u64,
}

/// Checks counts, and that each search that is measured has its latency.
#[track_caller]
fn assert_searches(snapshot: &Value, netns: u64, want: Searches) {
    let exact = Exact::new(snapshot, netns);
    exact.count("port_search.connect.count", want.connect);
    exact.object("port_search.connect.failed", &[("EADDRNOTAVAIL", want.failed)]);
    exact.count("port_search.bind.count", want.bind + want.listen);
    exact.count("port_search.bind_explicit.count", want.explicit);
    for key in ["bind.failed", "bind_explicit.failed", "bind.tried", "connect.tried"] {
        assert_eq!(*at(snapshot, &format!("port_search.{key}")), Value::Null, "{key}");
    }
    for (op, measured) in [("connect", want.connect), ("bind", want.bind)] {
        exact.count(&format!("port_search.{op}.latency_ns.count"), measured);
        assert_latencies(&snapshot["port_search"][op]);
    }
    for key in ["by_process", "by_destination"] {
        for row in rows(snapshot, key) {
            assert_latencies(row);
        }
    }
}

/// Checks that the sum lies between what its parts allow.
#[track_caller]
fn assert_latencies(searches: &Value) {
    let latency = &searches["latency_ns"];
    let total = searches["total_ns"].as_u64().expect("a number");
    let count = latency["count"].as_u64().expect("a number");
    if count == 0 {
        assert_eq!((total, &latency["max"]), (0, &Value::Null), "{searches:#}");
        return;
    }
    let [min, p50, max] = ["min", "p50", "max"].map(|key| latency[key].as_u64().expect("a number"));
    assert!(0 < min && min <= p50 && p50 <= max, "{searches:#}");
    assert!(count * min <= total && total <= count * max, "{searches:#}");
}

#[track_caller]
fn rows<'a>(snapshot: &'a Value, key: &str) -> &'a [Value] {
    let rows = snapshot["port_search"][key].as_array();
    rows.unwrap_or_else(|| panic!("no {key}: {:#}", snapshot["port_search"]))
}

/// Searches of a process by one call, without those that failed, and these.
#[track_caller]
fn by_process(snapshot: &Value, pid: u32, op: &str) -> Option<(u64, Value)> {
    let row = rows(snapshot, "by_process").iter().find(|row| row["pid"] == pid && row["op"] == op);
    row.map(|row| (row["count"].as_u64().expect("a number"), row["failed"].clone()))
}

/// Searches by address and port of the remote end.
fn by_destination(snapshot: &Value) -> Vec<(String, u64, u64)> {
    let shown = |row: &Value| {
        let raddr = row["raddr"].as_str().expect("an address").to_owned();
        (raddr, number(row, "rport"), number(row, "count"))
    };
    let mut found: Vec<_> = rows(snapshot, "by_destination").iter().map(shown).collect();
    found.sort_unstable();
    found
}

fn socket(domain: Domain) -> Socket {
    Socket::new(domain, Type::STREAM, None).expect("a socket")
}

fn localhost(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[test]
fn every_connect_without_a_port_is_a_search_for_its_destination() {
    for (family, want) in [
        (Family::V4, &["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"][..]),
        (Family::V6, &["::1"]),
        (Family::MappedBoth, &["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"]),
    ] {
        let netns = PrivateNetns::new();
        let tool = Tool::on(&netns, &[]);
        let traffic =
            Traffic { destinations: 4, ..Traffic::closed_by(End::Client, 1_000).family(family) };
        let (server, port) = Peer::server(&netns, &traffic);
        let client = Peer::client(&netns, port, &traffic);
        let pids = [client.pid(), server.pid()];
        client.finish();
        server.finish();
        let last = tool.finish();
        // The listener asked for a port.
        let searches = Searches { connect: 1_000, bind: 1, ..Searches::default() };
        assert_searches(&last, netns.inode(), searches);
        let each = 1_000 / want.len() as u64;
        let want: Vec<_> =
            want.iter().map(|raddr| ((*raddr).to_owned(), u64::from(port), each)).collect();
        assert_eq!(by_destination(&last), want);
        for row in rows(&last, "by_destination") {
            assert_eq!(row["netns"], netns.inode(), "{row:#}");
        }
        let none = serde_json::json!({ "EADDRNOTAVAIL": 0 });
        assert_eq!(by_process(&last, pids[0], "connect"), Some((1_000, none)));
        assert_eq!(by_process(&last, pids[1], "bind"), Some((1, Value::Null)));
        assert_eq!(rows(&last, "by_process").len(), 2, "{:#}", last["port_search"]);
    }
}

#[test]
fn only_what_has_to_find_a_port_is_a_search() {
    const BOUND: u16 = 9_000;
    let (snapshot, netns) = traced(|_| {
        // A port of one's choice, which is checked when it is bound, and not
        // again when it is listened to or connected from.
        let listener = Family::V4.listen_on(BOUND);
        Pair::open_from(localhost(BOUND + 1), &listener, Family::V4).close_client_first();
        // One that bind has found.
        let client = socket(Domain::IPV4);
        client.bind(&localhost(0).into()).expect("binding");
        client.connect(&localhost(BOUND).into()).expect("connecting");
        drop(client);
        // One that bind leaves to connect.
        let client = socket(Domain::IPV4);
        set_bind_address_no_port(&client);
        client.bind(&localhost(0).into()).expect("binding");
        client.connect(&localhost(BOUND).into()).expect("connecting");
        drop(client);
        // No route, and so no search.
        let error = TcpStream::connect((Ipv4Addr::new(192, 0, 2, 1), BOUND));
        assert_eq!(
            error.expect_err("there is nothing but lo").kind(),
            ErrorKind::NetworkUnreachable
        );
    });
    let searches = Searches { connect: 1, bind: 1, explicit: 2, ..Searches::default() };
    assert_searches(&snapshot, netns, searches);
    let me = std::process::id();
    assert_eq!(by_process(&snapshot, me, "connect").map(|(count, _)| count), Some(1));
    assert_eq!(by_process(&snapshot, me, "bind").map(|(count, _)| count), Some(1));
}

/// `IP_BIND_ADDRESS_NO_PORT`: the address now, the port when it is needed.
fn set_bind_address_no_port(socket: &Socket) {
    set_option(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1);
}

#[test]
fn binds_and_listens_that_find_a_port() {
    let (snapshot, netns) = traced(|_| {
        let any = |v6: bool, port| -> SocketAddr {
            if v6 { (Ipv6Addr::LOCALHOST, port).into() } else { localhost(port) }
        };
        for (v6, domain, count) in [(false, Domain::IPV4, 10), (true, Domain::IPV6, 5)] {
            for _ in 0..count {
                socket(domain).bind(&any(v6, 0).into()).expect("binding");
                UdpSocket::bind(any(v6, 0)).expect("binding UDP");
                UdpSocket::bind(any(v6, 9_100)).expect("binding UDP");
            }
            let explicit = socket(domain);
            explicit.bind(&any(v6, 9_000).into()).expect("binding");
            // Refused, so neither a search nor a check that got its port.
            let error = socket(domain).bind(&any(v6, 9_000).into()).expect_err("it is taken");
            assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}");
            UdpSocket::bind(any(v6, 9_100)).expect("binding UDP");
        }
        for _ in 0..3 {
            socket(Domain::IPV4).listen(1).expect("listening");
        }
        // A port that was found is not searched for again.
        let bound = socket(Domain::IPV4);
        bound.bind(&localhost(0).into()).expect("binding");
        bound.listen(1).expect("listening");
    });
    let searches = Searches { bind: 16, listen: 3, explicit: 2, ..Searches::default() };
    assert_searches(&snapshot, netns, searches);
    let found = by_process(&snapshot, std::process::id(), "bind");
    assert_eq!(found.map(|(count, _)| count), Some(19), "{:#}", snapshot["port_search"]);
    assert_eq!(by_destination(&snapshot), []);
}

#[test]
fn a_search_fails_when_no_port_is_left_and_not_when_nobody_listens() {
    const FAILED: u64 = 5;
    let (snapshot, netns) = traced(|netns| {
        for _ in 0..3 {
            connect_refused();
        }
        let listener = Family::V4.listen_on(9_000);
        let (pair, _) = no_port_left(netns, &listener);
        for _ in 1..FAILED {
            TcpStream::connect(localhost(9_000)).expect_err("the only port is in use");
        }
        pair.close_client_first();
    });
    let searches =
        Searches { connect: 3 + 1 + FAILED, failed: FAILED, explicit: 1, ..Searches::default() };
    assert_searches(&snapshot, netns, searches);
    assert_eq!(
        by_destination(&snapshot),
        [("127.0.0.1".to_owned(), 1, 3), ("127.0.0.1".to_owned(), 9_000, 1 + FAILED)]
    );
    let failed = |row: &Value| row["failed"]["EADDRNOTAVAIL"].as_u64().expect("a number");
    for row in rows(&snapshot, "by_destination") {
        assert_eq!(failed(row), if row["rport"] == 9_000 { FAILED } else { 0 }, "{row:#}");
    }
    let by_me = by_process(&snapshot, std::process::id(), "connect");
    assert_eq!(by_me, Some((9, serde_json::json!({ "EADDRNOTAVAIL": FAILED }))));
}

/// A connect that nobody waits for searches all the same.
#[test]
fn a_connect_that_does_not_block_is_a_search() {
    let (snapshot, netns) = traced(|_| {
        let listener = Family::V4.listen_on(9_000);
        for _ in 0..10 {
            let client = socket(Domain::IPV4);
            client.set_nonblocking(true).expect("O_NONBLOCK");
            // On loopback it may be connected before the call returns.
            let _ = client.connect(&localhost(9_000).into());
            let (server, _) = listener.accept().expect("accepting");
            drop((client, server));
        }
    });
    let searches = Searches { connect: 10, explicit: 1, ..Searches::default() };
    assert_searches(&snapshot, netns, searches);
}

/// A namespace in which each of 10,000 ports is in TIME_WAIT towards this listener.
fn with_a_full_range() -> (PrivateNetns, TcpListener) {
    let netns = PrivateNetns::new();
    netns.sysctl_set("net.ipv4.ip_local_port_range", "20000 29999");
    let listener = netns.run(|| Family::V4.listen_on(9_000));
    netns.run(|| {
        for _ in 0..10_000 {
            Pair::open(&listener, Family::V4).close_client_first();
        }
    });
    (netns, listener)
}

/// Where every port is taken, every one must be looked at.
#[test]
fn a_search_through_a_full_range_takes_longer() {
    let (netns, _listener) = with_a_full_range();
    let tool = Tool::on(&netns, &[]);
    netns.run(|| TcpStream::connect(localhost(9_000)).expect_err("every port is in use"));
    netns.run(|| TcpStream::connect((Ipv4Addr::new(127, 0, 0, 2), 9_000)).expect("connecting"));
    let last = tool.finish();
    let searches = Searches { connect: 2, failed: 1, ..Searches::default() };
    assert_searches(&last, netns.inode(), searches);
    let latency = &last["port_search"]["connect"]["latency_ns"];
    let [min, max] = ["min", "max"].map(|key| latency[key].as_u64().expect("a number"));
    assert!(max > 10 * min && max > 100_000, "{latency:#}");
}

/// Searches through a full range take nearly all of a process's time, and CPU samples
/// say so. Each stands for a hundredth of a second, which the process must have had.
#[test]
fn the_cpu_that_searches_cost_is_the_process_s_own() {
    const BUSY: Duration = Duration::from_secs(2);
    let (netns, _listener) = with_a_full_range();
    let tool = Tool::on(&netns, &["-d", "0.5"]);
    let before = cpu_time();
    netns.run(|| {
        let start = Instant::now();
        while start.elapsed() < BUSY {
            TcpStream::connect(localhost(9_000)).expect_err("every port is in use");
        }
    });
    let me = std::process::id();
    let shared = tool.wait_for("a share of our CPU", |snapshot| {
        let row = rows(snapshot, "by_process").iter().find(|row| row["pid"] == me);
        row.is_some_and(|row| row["cpu_core_pct"].as_f64() > Some(0.0))
    });
    let spent = cpu_time() - before;
    assert!(at(&shared, "port_search.connect.cpu_core_pct").as_f64() > Some(0.0), "{shared:#}");
    let last = tool.finish();
    let samples = at(&last, "port_search.samples");
    let found = number(samples, "connect") as f64 / number(samples, "hz") as f64;
    // A sample or two fall to the edges, and clocks of CPU time are coarse.
    let most = spent.as_secs_f64() * 1.5 + 0.1;
    assert!(found > 0.0 && found <= most, "{found} s of samples in {spent:?} of CPU: {samples:#}");
    assert_eq!(number(samples, "bind"), 0, "{samples:#}");
}

/// `--sample-hz 0` takes none, which is not the same as none that met a search.
#[test]
fn no_samples_are_unknown_and_not_zero() {
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &["--sample-hz", "0"]);
    let last = tool.finish();
    for key in ["samples", "bind.cpu_core_pct", "connect.cpu_core_pct"] {
        assert_eq!(*at(&last, &format!("port_search.{key}")), Value::Null, "{key}");
    }
    assert_eq!(*at(&last, "probes.cpu_share"), Value::Null);
}

/// User and system time of this process so far.
fn cpu_time() -> Duration {
    // SAFETY: zero is a valid value of each of its integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `rusage`, which lives across the call.
    let done = unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    assert_eq!(done, 0, "getrusage: {}", std::io::Error::last_os_error());
    [usage.ru_utime, usage.ru_stime]
        .map(|time| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000))
        .iter()
        .sum()
}
