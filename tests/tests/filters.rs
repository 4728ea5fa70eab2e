//! Two processes connect to two ports, and a filter shows what one of them did.

use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::Value;
use twtrace_tests::cgroup::Cgroup;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::peer::Peer;
use twtrace_tests::snapshot::{Exact, active, number, peer};
use twtrace_tests::tool::{Run, Tool, program};
use twtrace_tests::traffic::{End, Family, Traffic};

/// Connections of the process that is looked for, and of the other one.
const ITS: u64 = 40;
const OTHERS: u64 = 70;

/// Two servers, each a process, in a namespace of their own.
struct Scene {
    netns: PrivateNetns,
    closer: End,
    its: (Peer, u16),
    others: (Peer, u16),
}

impl Scene {
    fn new(closer: End) -> Self {
        let netns = PrivateNetns::new();
        let its = Peer::server(&netns, &Traffic::closed_by(closer, ITS));
        let others = Peer::server(&netns, &Traffic::closed_by(closer, OTHERS));
        Self { netns, closer, its, others }
    }

    /// Traces with `args`, while this process connects to one of them and another process to
    /// the other; returns the last snapshot and the namespace.
    #[track_caller]
    fn traced(self, args: &[&str]) -> (Value, PrivateNetns) {
        let tool = Tool::on(&self.netns, args);
        let its = Traffic::closed_by(self.closer, ITS);
        let (server, port) = self.its;
        let (others_server, others_port) = self.others;
        let others = Traffic::closed_by(self.closer, OTHERS);
        let client = Peer::client(&self.netns, others_port, &others);
        assert_eq!(self.netns.run(|| its.connect(port)).connections, ITS);
        assert_eq!(server.finish().connections, ITS);
        assert_eq!(client.finish().connections, OTHERS);
        assert_eq!(others_server.finish().connections, OTHERS);
        (tool.finish(), self.netns)
    }
}

/// Checks that `snapshot` shows what the clients did that are looked for, and nothing else.
#[track_caller]
fn assert_clients(snapshot: &Value, netns: &PrivateNetns) {
    let exact = Exact::new(snapshot, netns.inode());
    exact.object("connects", &[("ok", ITS)]);
    exact.object("closes", &[("active", ITS)]);
    exact.count("time_wait.born", ITS);
    exact.count("time_wait.now", ITS);
    exact.count("port_search.connect.count", ITS);
    exact.count("transitions.by_pair.CLOSE>SYN_SENT", ITS);
    exact.closer(std::process::id(), "client", active(ITS));
    exact.closers_together(active(ITS));
    exact.minis_together(ITS);
    assert_eq!(snapshot["transitions"]["by_pair"]["LISTEN>SYN_RECV"], Value::Null);
    assert_eq!(snapshot["reconcile"], Value::Null, "the kernel counts everybody's");
    assert_eq!(snapshot["kernel"]["netns"], netns.inode());
    let destinations = snapshot["destinations"].as_array().expect("destinations is a list");
    let used: u64 = destinations.iter().map(|row| number(row, "ports_used")).sum();
    assert!(used.abs_diff(ITS) <= exact.missed(), "{destinations:#?}");
}

/// The same of the servers.
#[track_caller]
fn assert_servers(snapshot: &Value, netns: &PrivateNetns, server: u32) {
    let exact = Exact::new(snapshot, netns.inode());
    exact.object("connects", &[]);
    exact.object("closes", &[("passive", ITS)]);
    exact.count("time_wait.born", 0);
    exact.count("transitions.by_pair.LISTEN>SYN_RECV", ITS);
    exact.count("transitions.by_pair.SYN_RECV>ESTABLISHED", ITS);
    exact.count("port_search.connect.count", 0);
    exact.closer(server, "server", peer(ITS));
    exact.closers_together(peer(ITS));
}

#[test]
fn by_the_process_that_connects() {
    let (snapshot, netns) =
        Scene::new(End::Client).traced(&["-p", &std::process::id().to_string()]);
    assert_clients(&snapshot, &netns);
    assert_eq!(snapshot["filter"], format!("--pid {}", std::process::id()));
    assert_eq!(snapshot["time_wait"]["seeded"], Value::Null, "whose those are nobody knows");
}

#[test]
fn by_the_process_that_answers() {
    let scene = Scene::new(End::Client);
    let server = scene.its.0.pid();
    let (snapshot, netns) = scene.traced(&["-p", &server.to_string()]);
    assert_servers(&snapshot, &netns, server);
}

#[test]
fn by_the_process_that_was_connected_to_and_closes_first() {
    let scene = Scene::new(End::Server);
    let server = scene.its.0.pid();
    let (snapshot, netns) = scene.traced(&["--pid", &server.to_string()]);
    let exact = Exact::new(&snapshot, netns.inode());
    exact.object("closes", &[("active", ITS)]);
    exact.object("connects", &[]);
    exact.count("time_wait.born", ITS);
    exact.closer(server, "server", active(ITS));
    exact.minis(server, "server", ITS, 0);
    exact.closers_together(active(ITS));
}

#[test]
fn by_the_remote_port() {
    let scene = Scene::new(End::Client);
    let ports = format!("1-9,{}", scene.its.1);
    let (snapshot, netns) = scene.traced(&["-D", &ports]);
    assert_clients(&snapshot, &netns);
}

#[test]
fn by_the_local_port() {
    let scene = Scene::new(End::Client);
    let (server, port) = (scene.its.0.pid(), scene.its.1);
    let (snapshot, netns) = scene.traced(&["-L", &port.to_string()]);
    assert_servers(&snapshot, &netns, server);
}

/// A connect has its local port only when it is found.
#[test]
fn by_the_local_port_of_clients() {
    let scene = Scene::new(End::Client);
    let (low, high) = if scene.its.1 < 30_000 { (40_000, 50_000) } else { (11_000, 20_000) };
    scene.netns.sysctl_set("net.ipv4.ip_local_port_range", &format!("{low} {high}"));
    let (snapshot, netns) = scene.traced(&["-L", &format!("{low}-{high}")]);
    let exact = Exact::new(&snapshot, netns.inode());
    // Both clients, and neither server unless its port happens to lie there.
    exact.object("connects", &[("ok", ITS + OTHERS)]);
    exact.count("closes.active", ITS + OTHERS);
    exact.count("port_search.connect.count", ITS + OTHERS);
    exact.count("time_wait.born", ITS + OTHERS);
}

#[test]
fn by_the_name_of_short_lived_processes() {
    let dir = tempfile::tempdir().expect("a directory for the link");
    let link = dir.path().join("tw-filter-its-name-is-long");
    symlink(Peer::program(), &link).expect("linking the helper program");
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &["--comm", "tw-filter-its-name-is-long"]);
    for (program, connections) in [(link, ITS), (Peer::program(), OTHERS)] {
        let traffic = Traffic::closed_by(End::Client, connections);
        let (server, port) = Peer::server(&netns, &traffic);
        let client = Peer::client_named(&netns, program, port, &traffic);
        assert_eq!(client.finish().closed_first, connections);
        assert_eq!(server.finish().closed_second, connections);
    }
    let snapshot = tool.finish();
    let exact = Exact::new(&snapshot, netns.inode());
    exact.object("connects", &[("ok", ITS)]);
    exact.object("closes", &[("active", ITS)]);
    exact.count("time_wait.born", ITS);
    // Listeners of both servers are left out.
    exact.count("port_search.bind.count", 0);
    let rows = snapshot["closers"].as_array().expect("closers is a list");
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert_eq!(rows[0]["comm"], "tw-filter-its-n", "{rows:#?}");
}

/// An IPv6 socket that speaks IPv4 is an IPv4 one.
#[test]
fn by_address_family() {
    for (flag, v4, v6) in [("-4", 1, 0), ("-6", 0, 1)] {
        let netns = PrivateNetns::new();
        let tool = Tool::on(&netns, &[flag]);
        netns.run(|| {
            let one = Traffic::closed_by(End::Client, ITS);
            one.clone().family(Family::V4).run();
            one.clone().family(Family::MappedServer).run();
            one.clone().family(Family::MappedBoth).run();
            one.family(Family::V6).run();
        });
        let snapshot = tool.finish();
        let exact = Exact::new(&snapshot, netns.inode());
        let connections = ITS * (3 * v4 + v6);
        exact.object("connects", &[("ok", connections)]);
        exact.object("closes", &[("active", connections), ("passive", connections)]);
        exact.count("time_wait.born", connections);
        // Three of the four listeners are IPv6 sockets, whatever they accept.
        exact.count("port_search.bind.count", v4 + 3 * v6);
    }
}

#[test]
fn by_the_remote_address() {
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &["--raddr", "127.0.0.2"]);
    // In turn to 127.0.0.1 and 127.0.0.2, from 127.0.0.1.
    let traffic = Traffic { destinations: 2, ..Traffic::closed_by(End::Client, 2 * ITS) };
    netns.run(|| traffic.run());
    let snapshot = tool.finish();
    let exact = Exact::new(&snapshot, netns.inode());
    exact.object("connects", &[("ok", ITS)]);
    exact.object("closes", &[("active", ITS)]);
    let rows = snapshot["destinations"].as_array().expect("destinations is a list");
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert_eq!(rows[0]["raddr"], "127.0.0.2");
}

/// A socket that was there before is of the process that closes it.
#[test]
fn by_the_process_that_closes_what_was_there() {
    let netns = PrivateNetns::new();
    let (its, port) = Peer::server(&netns, &Traffic::closed_by(End::Client, ITS));
    let (others, others_port) = Peer::server(&netns, &Traffic::closed_by(End::Client, OTHERS));
    let client = netns.run(|| Peer::holder(&netns, port, 1));
    let another = netns.run(|| Peer::holder(&netns, others_port, 1));
    let tool = Tool::on(&netns, &["-p", &client.pid().to_string()]);
    assert_eq!(tool.snapshot()["states"]["ESTABLISHED"], 0, "nobody says whose they are");
    let pid = client.pid();
    client.finish();
    another.finish();
    netns.wait_for_tw(2);
    let snapshot = tool.finish();
    let exact = Exact::new(&snapshot, netns.inode());
    exact.object("closes", &[("active", 1)]);
    exact.count("time_wait.born", 1);
    exact.closer(pid, "unknown", active(1));
    its.kill();
    others.kill();
}

#[test]
fn what_is_no_filter_is_an_error_of_one_line() {
    for (args, told) in [
        (["-L", "http"], "--lport \"http\" is no list of ports, such as 443 or 80,8000-8099"),
        (["-D", "9-8"], "--rport \"9-8\" is no list of ports"),
        (["--raddr", "10.1.2.3/8"], "write 10.0.0.0/8"),
        (["--cgroup", "nginx"], "--cgroup \"nginx\" is no path of a cgroup"),
        (["--pid", "4194305"], "there is no such process"),
    ] {
        let run = Run::of(Command::new(program()).arg("top").args(args));
        assert_eq!(run.code, Some(2), "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(told), "{args:?}: {}", run.stderr);
        assert_eq!(run.stderr.trim_end().lines().count(), 1, "{}", run.stderr);
    }
    let polling = ["top", "--probes", "none", "--comm", "x", "-n", "1"];
    let run = Run::of(Command::new(program()).args(polling));
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("sock_diag names no process"), "{}", run.stderr);
}

#[test]
fn by_the_cgroup_of_the_process() {
    let cgroup = Cgroup::new(&format!("tw-filter-{}", std::process::id()));
    let scene = Scene::new(End::Client);
    let server = scene.its.0.pid();
    std::fs::write(cgroup.path().join("cgroup.procs"), server.to_string())
        .expect("moving a process to a cgroup");
    let path = cgroup.path().to_str().expect("its name is plain").to_owned();
    let (snapshot, netns) = scene.traced(&["--cgroup", &path]);
    assert_servers(&snapshot, &netns, server);
}
