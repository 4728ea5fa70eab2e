//! Tens of thousands of connections, closed by either end or cut: every close
//! is counted once, and credited to the process that did it.

use std::time::Instant;

use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::peer::Peer;
use twtrace_tests::snapshot::{Closer, Exact, active, peer};
use twtrace_tests::tool::Tool;
use twtrace_tests::traffic::{Done, End, EndDone, Family, Traffic};

const ROUNDS: usize = 10;

/// Compares with what both ends say they did; the same process may be both.
/// Returns the number of events missed.
#[track_caller]
fn assert_exact(tool: Tool, netns: &PrivateNetns, done: &Done, pids: [u32; 2]) -> u64 {
    let Done { client, server, .. } = done;
    assert_eq!(client.connections, server.connections);
    let opened = netns.netstat("Tcp", "ActiveOpens");
    assert_eq!(opened, client.connections, "the kernel itself counts other connects");
    let snapshot = tool.finish();
    let exact = Exact::new(&snapshot, netns.inode());
    exact.object("connects", &[("ok", client.connections)]);
    exact.object(
        "closes",
        &[
            ("active", client.closed_first + server.closed_first),
            ("passive", client.closed_second + server.closed_second),
            ("reset", client.aborted + server.aborted + client.saw_reset + server.saw_reset),
            ("reset_local", client.aborted + server.aborted),
            ("reset_remote", client.saw_reset + server.saw_reset),
        ],
    );
    let row = |end: &EndDone| Closer {
        active: end.closed_first,
        peer: end.closed_second,
        resets: end.aborted,
    };
    exact.closer(pids[0], "client", row(client));
    exact.closer(pids[1], "server", row(server));
    let [client, server] = [row(client), row(server)];
    exact.closers_together(Closer {
        active: client.active + server.active,
        peer: client.peer + server.peer,
        resets: client.resets + server.resets,
    });
    exact.missed()
}

#[test]
fn ten_rounds_of_every_way_to_close() {
    let me = std::process::id();
    let phases = [
        Traffic::closed_by(End::Client, 10_000),
        Traffic::closed_by(End::Server, 10_000),
        Traffic::aborted(3_000),
    ];
    for round in 1..=ROUNDS {
        let start = Instant::now();
        let missed = phases.each_ref().map(|phase| {
            let netns = PrivateNetns::new();
            let tool = Tool::on(&netns, &[]);
            // An odd round has one connection at a time, an even one three.
            let traffic = phase.clone().threads(if round % 2 == 1 { 1 } else { 3 });
            let done = netns.run(|| traffic.run());
            assert_exact(tool, &netns, &done, [me, me])
        });
        let [client_first, server_first, aborted] = missed;
        println!(
            "round {round}: missed {client_first} of the closes by the client, {server_first} by \
             the server, {aborted} aborts; {:.1} s",
            start.elapsed().as_secs_f64()
        );
    }
}

#[test]
fn two_processes_and_every_family() {
    for (family, closer) in [
        (Family::V4, End::Client),
        (Family::V6, End::Server),
        (Family::MappedServer, End::Server),
        (Family::MappedBoth, End::Client),
    ] {
        let netns = PrivateNetns::new();
        let tool = Tool::on(&netns, &[]);
        let traffic = Traffic::closed_by(closer, 1_000).family(family);
        let start = Instant::now();
        let (server, port) = Peer::server(&netns, &traffic);
        let client = Peer::client(&netns, port, &traffic);
        let pids = [client.pid(), server.pid()];
        let (client, server) = (client.finish(), server.finish());
        let done = Done { client, server, elapsed: start.elapsed() };
        assert_exact(tool, &netns, &done, pids);
    }
}

#[test]
fn several_processes_have_a_row_each() {
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &[]);
    // Different numbers, so that a mix-up shows.
    let shares = [100, 200, 300, 400];
    let total: u64 = shares.iter().sum();
    // A process of its own, which forks nobody: a child between fork and exec
    // holds copies of its parent's sockets, and may be the one that closes them.
    let (server, port) = Peer::server(&netns, &Traffic::closed_by(End::Client, total));
    let server_pid = server.pid();
    let clients: Vec<Peer> = shares
        .iter()
        .map(|n| Peer::client(&netns, port, &Traffic::closed_by(End::Client, *n)))
        .collect();
    let pids: Vec<u32> = clients.iter().map(Peer::pid).collect();
    for (client, n) in clients.into_iter().zip(shares) {
        assert_eq!(client.finish().closed_first, n);
    }
    assert_eq!(server.finish().closed_second, total);
    let snapshot = tool.finish();
    let exact = Exact::new(&snapshot, netns.inode());
    exact.object("closes", &[("active", total), ("passive", total)]);
    for (pid, n) in pids.into_iter().zip(shares) {
        exact.closer(pid, "client", active(n));
    }
    exact.closer(server_pid, "server", peer(total));
}
