//! How many mini-sockets are born, live and are refused, and whose they are:
//! the same as the kernel counts, to the unit.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::Value;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::peer::Peer;
use twtrace_tests::scenario::Pair;
use twtrace_tests::snapshot::{Exact, TimeWait, born, closer, number, seconds};
use twtrace_tests::tool::Tool;
use twtrace_tests::traffic::{End, Family, Traffic};

/// The counters that the Snapshot has under the kernel's own names.
const COUNTERS: [&str; 4] = ["TW", "TWKilled", "TWRecycled", "TCPTimeWaitOverflow"];

/// Checks that `kernel` says what the kernel says to everybody.
#[track_caller]
fn assert_kernel(snapshot: &Value, netns: &PrivateNetns) {
    let kernel = &snapshot["kernel"];
    assert_eq!(kernel["netns"], netns.inode());
    assert_eq!(kernel["tw_sockstat"], netns.sockstat_tw(), "{kernel:#}");
    for name in COUNTERS {
        assert_eq!(kernel[name], netns.netstat("TcpExt", name), "{name}: {kernel:#}");
    }
}

/// Whether TW and TWKilled count births here, as from Linux 5.18 on.
fn kernel_counts_births(snapshot: &Value) -> bool {
    !snapshot["reconcile"]["births_minus_TW"].is_null()
}

#[test]
fn every_birth_is_counted_and_lives_on() {
    const CONNECTIONS: u64 = 10_000;
    for closer in [End::Client, End::Server] {
        let netns = PrivateNetns::new();
        let tool = Tool::on(&netns, &[]);
        netns.run(|| Traffic::closed_by(closer, CONNECTIONS).threads(3).run());
        netns.wait_for_tw(CONNECTIONS);
        // The first may expire in a minute; until then all are there.
        let alive = tool.next_snapshot();
        let exact = Exact::new(&alive, netns.inode());
        exact.time_wait(born(CONNECTIONS));
        exact.reconciles();
        assert_kernel(&alive, &netns);
        if kernel_counts_births(&alive) {
            let counted = netns.netstat("TcpExt", "TW") + netns.netstat("TcpExt", "TWKilled");
            assert_eq!(counted, CONNECTIONS);
        }
        let (first, second) =
            if closer == End::Client { ("client", "server") } else { ("server", "client") };
        let me = std::process::id();
        exact.minis(me, first, CONNECTIONS, 0);
        exact.minis(me, second, 0, 0);
        exact.minis_together(CONNECTIONS);
        assert_eq!(number(&alive, "time_wait.lifetime_s.count"), 0);
        // No mini-socket is older than the tool.
        let elapsed = alive["elapsed_s"].as_f64().expect("a number");
        let row = row_of(&alive, &netns, first);
        let occupied = row["port_seconds"].as_f64().expect("a number");
        assert!(occupied > 0.0 && occupied <= elapsed * CONNECTIONS as f64, "{row:#}");
        tool.finish();
    }
}

#[track_caller]
fn row_of<'a>(snapshot: &'a Value, netns: &PrivateNetns, role: &str) -> &'a Value {
    let row = closer(snapshot, std::process::id(), netns.inode(), role);
    row.unwrap_or_else(|| panic!("no row of the {role}: {:#}", snapshot["closers"]))
}

/// The kernel ties sockets and mini-sockets to one address family or the
/// other, and the closers' rows are found by that address.
#[test]
fn every_family_has_its_births_and_its_closers() {
    for family in [Family::V4, Family::V6, Family::MappedServer, Family::MappedBoth] {
        let netns = PrivateNetns::new();
        let tool = Tool::on(&netns, &[]);
        let mut alive = 0;
        for (closer, connections) in [(End::Client, 300), (End::Server, 200)] {
            let traffic = Traffic::closed_by(closer, connections).family(family);
            let (server, port) = Peer::server(&netns, &traffic);
            let client = Peer::client(&netns, port, &traffic);
            let pids = [client.pid(), server.pid()];
            client.finish();
            server.finish();
            alive += connections;
            netns.wait_for_tw(alive);
            let snapshot = tool.next_snapshot();
            let exact = Exact::new(&snapshot, netns.inode());
            let of = |end| if closer == end { connections } else { 0 };
            exact.minis(pids[0], "client", of(End::Client), 0);
            exact.minis(pids[1], "server", of(End::Server), 0);
        }
        let last = tool.finish();
        let exact = Exact::new(&last, netns.inode());
        exact.time_wait(born(alive));
        exact.minis_together(alive);
        exact.reconciles();
    }
}

#[test]
fn crossed_closes_leave_a_mini_socket_at_both_ends() {
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &[]);
    netns.run(|| Pair::open(&Family::V4.listen(), Family::V4).close_crossed(&netns));
    let last = tool.finish();
    let exact = Exact::new(&last, netns.inode());
    exact.time_wait(born(2));
    exact.minis(std::process::id(), "client", 1, 0);
    exact.minis(std::process::id(), "server", 1, 0);
    exact.reconciles();
}

#[test]
fn refused_births_are_counted_and_have_their_closer() {
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &[]);
    netns.run(|| Traffic::closed_by(End::Client, 100).run());
    netns.wait_for_tw(100);
    // So many are there already.
    netns.sysctl_set("net.ipv4.tcp_max_tw_buckets", "100");
    netns.run(|| Traffic::closed_by(End::Client, 300).run());
    let last = tool.finish();
    assert_eq!(netns.netstat("TcpExt", "TCPTimeWaitOverflow"), 300);
    let exact = Exact::new(&last, netns.inode());
    exact.time_wait(TimeWait { refused: 300, ..born(100) });
    exact.object("closes", &[("active", 400), ("passive", 400)]);
    exact.minis(std::process::id(), "client", 100, 300);
    exact.minis(std::process::id(), "server", 0, 0);
    exact.reconciles();
}

/// Both leave FIN_WAIT2 for CLOSE, and only the kernel's counter tells them apart.
#[test]
fn a_close_that_wants_no_mini_socket_is_not_refused_one() {
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &[]);
    let listener = netns.run(|| Family::V4.listen());
    let open = || netns.run(|| Pair::open(&listener, Family::V4));
    for _ in 0..20 {
        open().close_client_first_without_waiting();
    }
    let unwanted = tool.next_snapshot();
    let exact = Exact::new(&unwanted, netns.inode());
    exact.time_wait(born(0));
    exact.object("closes", &[("active", 20), ("passive", 20)]);
    exact.minis(std::process::id(), "client", 0, 0);
    exact.reconciles();

    netns.sysctl_set("net.ipv4.tcp_max_tw_buckets", "0");
    for _ in 0..7 {
        open().close_client_first();
    }
    let last = tool.finish();
    assert_eq!(netns.netstat("TcpExt", "TCPTimeWaitOverflow"), 7);
    let exact = Exact::new(&last, netns.inode());
    exact.time_wait(TimeWait { refused: 7, ..born(0) });
    exact.reconciles();
    // Which closes of this process were refused one, nobody knows.
    let row = row_of(&last, &netns, "client");
    assert_eq!(row["refused"], Value::Null, "{row:#}");
}

/// What is born while the tool attaches and seeds is counted once.
#[test]
fn attaching_in_the_middle_of_traffic_loses_no_mini_socket() {
    let netns = PrivateNetns::new();
    let attached = AtomicBool::new(false);
    let tool = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Bounded, for the tool may never attach.
            let start = Instant::now();
            while !attached.load(Relaxed) && start.elapsed() < Duration::from_secs(40) {
                netns.run(|| Traffic::closed_by(End::Client, 500).run());
            }
        });
        let tool = Tool::on(&netns, &[]);
        tool.wait_for("a birth", |snapshot| number(snapshot, "time_wait.born") > 0);
        attached.store(true, Relaxed);
        tool
    });
    let last = tool.finish();
    let exact = Exact::new(&last, netns.inode());
    let [seeded, born] = ["time_wait.seeded", "time_wait.born"].map(|key| number(&last, key));
    exact.time_wait(TimeWait { seeded, ..self::born(born) });
    assert_eq!(seeded + born, netns.sockstat_tw(), "{:#}", last["time_wait"]);
    assert!(seeded > 0, "{:#}", last["time_wait"]);
}

#[test]
fn births_and_ends_at_the_same_time_reconcile() {
    let netns = PrivateNetns::new();
    netns.sysctl_set("net.ipv4.tcp_fin_timeout", "2");
    let tool = Tool::on(&netns, &[]);
    let listener = netns.run(|| Family::V4.listen());
    // Half of them never see their peer close, and time out after 2 s.
    let deserted: Vec<_> = netns.run(|| {
        let pair = |_| {
            Pair::open(&listener, Family::V4).close_server_first();
            Pair::open(&listener, Family::V4).close_client_alone()
        };
        (0..200).map(pair).collect()
    });
    // The last acknowledgements are delayed, and the births with them.
    netns.wait_for_tw(400);
    netns.wait_for_tw(200);
    let last = tool.next_snapshot();
    let exact = Exact::new(&last, netns.inode());
    exact.time_wait(TimeWait { ended: &[("fin_wait2_timeout", 200)], ..born(400) });
    exact.minis(std::process::id(), "client", 0, 0);
    exact.minis(std::process::id(), "server", 200, 0);
    exact.reconciles();
    assert_kernel(&last, &netns);
    assert!(seconds(&last, "time_wait.lifetime_s.min") >= 2.0, "{:#}", last["time_wait"]);
    drop(deserted);
    tool.finish();
}
