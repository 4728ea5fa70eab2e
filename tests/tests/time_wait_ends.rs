//! Whatever ends a mini-socket before its time, it is told what it was.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::Value;
use socket2::SockRef;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::scenario::Pair;
use twtrace_tests::snapshot::{Exact, TimeWait, born, missed, number};
use twtrace_tests::tool::Tool;
use twtrace_tests::traffic::{End, Family, Traffic};

const LISTENER: u16 = 9_000;
const CLIENT: u16 = 9_001;

/// A namespace with a listener, and a tool that watches it.
struct Scene {
    netns: PrivateNetns,
    listener: TcpListener,
    family: Family,
    tool: Tool,
}

impl Scene {
    fn new() -> Self {
        Self::of(Family::V4)
    }

    fn of(family: Family) -> Self {
        let netns = PrivateNetns::new();
        let listener = netns.run(|| family.listen_on(LISTENER));
        let tool = Tool::on(&netns, &[]);
        Self { netns, listener, family, tool }
    }

    fn open(&self) -> Pair {
        self.netns.run(|| Pair::open(&self.listener, self.family))
    }

    /// A client that always has the same address.
    fn open_bound(&self) -> Pair {
        let client = match self.family {
            Family::V4 | Family::MappedServer => SocketAddr::from((Ipv4Addr::LOCALHOST, CLIENT)),
            Family::V6 => SocketAddr::from((Ipv6Addr::LOCALHOST, CLIENT)),
            Family::MappedBoth => SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), CLIENT)),
        };
        self.netns.run(|| Pair::open_from(client, &self.listener, self.family))
    }

    /// Waits until so many are left, and checks what became of the others.
    #[track_caller]
    fn ends_with(self, left: u64, want: TimeWait<'_>) -> Value {
        self.netns.wait_for_tw(left);
        let last = self.tool.finish();
        let exact = Exact::new(&last, self.netns.inode());
        exact.time_wait(want);
        exact.minis_together(left);
        exact.reconciles();
        exact.count("time_wait.lifetime_s.count", want.born - left);
        last
    }
}

#[test]
fn fifty_ports_are_reused_again_and_again() {
    const PORTS: u64 = 50;
    const ROUNDS: u64 = 8;
    let scene = Scene::new();
    let netns = &scene.netns;
    netns.sysctl_set("net.ipv4.ip_local_port_range", "20000 20049");
    netns.sysctl_set("net.ipv4.tcp_tw_reuse", "1");
    // Until then it was the next second of the peer's last timestamp.
    let is_adjustable = netns.sysctl_exists("net.ipv4.tcp_tw_reuse_delay");
    let (delay, rounds) = if is_adjustable {
        (Duration::from_millis(200), ROUNDS)
    } else {
        (Duration::from_secs(1), 3)
    };
    if is_adjustable {
        netns.sysctl_set("net.ipv4.tcp_tw_reuse_delay", &delay.as_millis().to_string());
    }
    for round in 0..rounds {
        if round > 0 {
            // Nothing tells when the delay is over but the clock.
            std::thread::sleep(delay + Duration::from_millis(50));
        }
        for _ in 0..PORTS {
            scene.open().close_client_first();
        }
    }
    let connections = rounds * PORTS;
    let reused = connections - PORTS;
    assert_eq!(netns.netstat("TcpExt", "TWRecycled"), reused);
    let last =
        scene.ends_with(PORTS, TimeWait { ended: &[("reused", reused)], ..born(connections) });
    Exact::new(&last, 0).count("time_wait.lifetime_by_end.reused.count", reused);
    let by_end = &last["time_wait"]["lifetime_by_end"]["reused"];
    let shortest = by_end["min"].as_f64().expect("a number");
    assert!(shortest > 0.0 && shortest < 60.0, "{by_end:#}");
}

/// FINs that interrupt a search for a port re-arm others of the same destination:
/// nothing ends, and nothing is born twice.
#[test]
fn segments_that_interrupt_a_search_end_nothing() {
    const PORTS: u64 = 400;
    let scene = Scene::new();
    let netns = &scene.netns;
    netns.sysctl_set("net.ipv4.ip_local_port_range", "20000 20399");
    // Other than 60 s: each FIN moves a timer to another slot of the wheel.
    netns.sysctl_set("net.ipv4.tcp_fin_timeout", "10");
    // What arrives is worked off by the second CPU, over the client's search.
    let rps = "mount -t sysfs none /sys && echo 2 > /sys/class/net/lo/queues/rx-0/rps_cpus";
    netns.output("unshare", &["--mount", "sh", "-ec", rps]);
    let servers: Vec<_> = (0..PORTS).map(|_| scene.open().close_client_alone()).collect();
    netns.wait_for_tw(PORTS);
    let closed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            run_on_cpu(1);
            let address = scene.family.address(1, LISTENER);
            netns.run(|| {
                while !closed.load(Ordering::Relaxed) {
                    TcpStream::connect(address).expect_err("all ports are in use");
                }
            });
        });
        run_on_cpu(0);
        for server in servers {
            drop(server);
            std::thread::sleep(Duration::from_millis(1));
        }
        closed.store(true, Ordering::Relaxed);
    });
    let last = scene.tool.finish();
    let exact = Exact::new(&last, scene.netns.inode());
    // Programs that are interrupted all the time miss some, and every number is exact
    // up to these: fewer than the ends and births that there would be otherwise.
    assert!(exact.missed() < PORTS, "{:#}", last["loss"]);
    exact.time_wait(born(PORTS));
    exact.reconciles();
}

/// Keeps the calling thread on one CPU.
fn run_on_cpu(cpu: usize) {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).expect("this test needs two CPUs");
}

/// The port of one's own choice is free at once, whatever tcp_tw_reuse says.
#[test]
fn a_bound_connect_reuses_its_port_in_every_family() {
    for family in [Family::V4, Family::V6, Family::MappedServer, Family::MappedBoth] {
        let scene = Scene::of(family);
        for _ in 0..5 {
            scene.open_bound().close_client_first();
            scene.netns.wait_for_tw(1);
        }
        assert_eq!(scene.netns.netstat("TcpExt", "TWRecycled"), 4);
        let ended = [("reused", 4), ("reused_bound", 4)];
        let last = scene.ends_with(1, TimeWait { ended: &ended, ..born(5) });
        let netns = last["kernel"]["netns"].as_u64().expect("a number");
        Exact::new(&last, netns).minis(std::process::id(), "client", 1, 0);
    }
}

#[test]
fn a_new_connection_replaces_a_servers_mini_socket_in_every_family() {
    for family in [Family::V4, Family::V6, Family::MappedServer, Family::MappedBoth] {
        let scene = Scene::of(family);
        for _ in 0..5 {
            scene.open_bound().close_server_first();
            scene.netns.wait_for_tw(1);
        }
        assert_eq!(scene.netns.netstat("TcpExt", "TWRecycled"), 0);
        scene.ends_with(1, TimeWait { ended: &[("replaced", 4)], ..born(5) });
    }
}

#[test]
fn a_reset_ends_a_time_wait() {
    let scene = Scene::new();
    for _ in 0..3 {
        let pair = scene.open();
        scene.netns.run(|| pair.close_client_first_and_assassinate());
    }
    scene.open().close_client_first();
    scene.ends_with(1, TimeWait { ended: &[("reset", 3)], ..born(4) });
}

#[test]
fn a_reset_ends_a_fin_wait2() {
    let scene = Scene::new();
    for _ in 0..3 {
        let server = scene.open().close_client_alone();
        scene.netns.wait_for_tw(1);
        SockRef::from(&server).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        drop(server);
        scene.netns.wait_for_tw(0);
    }
    let last = scene.ends_with(0, TimeWait { ended: &[("reset", 3)], ..born(3) });
    Exact::new(&last, 0).count("fin_wait2.born", 3);
    let fin_wait2 = &last["fin_wait2"];
    // They were last seen as they were born.
    assert!(fin_wait2["to_time_wait"].as_u64().unwrap_or(0) == 0, "{fin_wait2:#}");
}

/// Data that nobody will ever read.
#[test]
fn data_for_a_fin_wait2_is_rejected() {
    let scene = Scene::new();
    for _ in 0..3 {
        let mut server = scene.open().close_client_alone();
        scene.netns.wait_for_tw(1);
        server.write_all(b"too late").expect("sending");
        scene.netns.wait_for_tw(0);
        let error = server.write_all(b"again").expect_err("the server must have seen RST");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
    }
    scene.ends_with(0, TimeWait { ended: &[("rejected", 3)], ..born(3) });
}

/// Whether this kernel was built to end sockets on demand; true if nobody says.
fn ss_can_kill(netns: &PrivateNetns) -> bool {
    let config = "{ zcat /proc/config.gz || cat /boot/config-$(uname -r); } 2>/dev/null || true";
    let config = netns.output("sh", &["-c", config]);
    config.is_empty() || config.contains("\nCONFIG_INET_DIAG_DESTROY=y\n")
}

/// Before 6.1, or a little earlier, the kernel refuses to end mini-sockets.
fn mini_sockets_can_be_killed() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("uname -r");
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(1))
}

#[test]
fn ss_kill_aborts_both_substates_in_every_family() {
    for family in [Family::V4, Family::V6, Family::MappedServer, Family::MappedBoth] {
        let scene = Scene::of(family);
        if !ss_can_kill(&scene.netns) || !mini_sockets_can_be_killed() {
            println!("not tested: this kernel ends no mini-sockets on demand (ss --kill)");
            return;
        }
        scene.open().close_client_first();
        scene.open().close_server_first();
        let server = scene.open().close_client_alone();
        scene.netns.wait_for_tw(3);
        for state in ["time-wait", "fin-wait-2"] {
            scene.netns.output("ss", &["--kill", "--tcp", "state", state]);
        }
        scene.ends_with(0, TimeWait { ended: &[("aborted", 3)], ..born(3) });
        drop(server);
    }
}

#[test]
fn a_namespace_takes_its_mini_sockets_with_it() {
    const EACH: u64 = 200;
    let Scene { netns, listener, tool, .. } = Scene::new();
    for closer in [End::Client, End::Server] {
        netns.run(|| Traffic::closed_by(closer, EACH).run());
    }
    netns.wait_for_tw(2 * EACH);
    // The tool itself must not keep the namespace alive.
    let inode = netns.inode();
    drop((netns, listener));
    let purged = |snapshot: &Value| number(snapshot, "time_wait.ended.purged") == 2 * EACH;
    tool.wait_for("the purge", purged);
    let last = tool.finish();
    let exact = Exact::new(&last, inode);
    exact.time_wait(TimeWait { ended: &[("purged", 2 * EACH)], ..born(2 * EACH) });
    exact.minis_together(0);
}

#[test]
fn a_hundred_namespaces_come_and_go() {
    const NAMESPACES: u64 = 100;
    const EACH: u64 = 5;
    // Room for what else lives on this host.
    let tool = Tool::start(&["--top", "10000"]);
    let mut inodes = Vec::new();
    for _ in 0..NAMESPACES {
        let netns = PrivateNetns::new();
        netns.run(|| Traffic::closed_by(End::Client, EACH).run());
        netns.wait_for_tw(EACH);
        inodes.push(netns.inode());
    }
    inodes.sort_unstable();
    inodes.dedup();
    // A number may be given to a second namespace, and then has one row.
    let ours = |snapshot: &Value, key: &str| -> u64 {
        let rows = snapshot["closers"].as_array().expect("closers is a list");
        let is_ours = |row: &&Value| {
            row["pid"] == std::process::id()
                && row["netns"].as_u64().is_some_and(|n| inodes.binary_search(&n).is_ok())
        };
        rows.iter().filter(is_ours).map(|row| row[key].as_u64().unwrap_or(0)).sum()
    };
    tool.wait_for("the last namespace to go", |snapshot| {
        ours(snapshot, "active_closes") + missed(snapshot) >= NAMESPACES * EACH
            && ours(snapshot, "time_wait_now") <= missed(snapshot)
    });
    let last = tool.finish();
    let exact = Exact::new(&last, 0);
    let missed = exact.missed();
    assert!(ours(&last, "active_closes").abs_diff(NAMESPACES * EACH) <= missed);
    let time_wait = &last["time_wait"];
    // Others may have made some at the same time, and have let them expire.
    for key in ["born", "ended.purged"] {
        let count = number(&last, &format!("time_wait.{key}"));
        assert!(count + missed >= NAMESPACES * EACH, "{key}: {time_wait:#}");
    }
    exact.count("time_wait.ended.unseen", 0);
}
