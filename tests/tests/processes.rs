//! Processes that live for one connection have their names all the same.

use std::os::unix::fs::symlink;

use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::peer::Peer;
use twtrace_tests::snapshot::{Exact, closer, peer};
use twtrace_tests::tool::Tool;
use twtrace_tests::traffic::{End, Traffic};

const PROCESSES: u64 = 50;

#[test]
fn short_lived_processes_are_named() {
    let dir = tempfile::tempdir().expect("a directory for the links");
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &["--top", "100"]);
    let one = Traffic::closed_by(End::Client, 1);
    // A process of its own, which forks nobody: a child between fork and exec
    // holds copies of its parent's sockets, and may be the one that closes them.
    let all = Traffic { connections: PROCESSES, ..one.clone() };
    let (server, port) = Peer::server(&netns, &all);
    let server_pid = server.pid();
    let clients: Vec<(u32, String)> = (0..PROCESSES)
        .map(|i| {
            let comm = format!("brief-{i:02}");
            let link = dir.path().join(&comm);
            symlink(Peer::program(), &link).expect("linking the helper program");
            let client = Peer::client_named(&netns, link, port, &one);
            let pid = client.pid();
            assert_eq!(client.finish().closed_first, 1);
            (pid, comm)
        })
        .collect();
    assert_eq!(server.finish().closed_second, PROCESSES);
    let snapshot = tool.finish();
    let exact = Exact::new(&snapshot, netns.inode());
    assert_eq!(exact.missed(), 0, "so few connections cannot interrupt each other");
    exact.object("closes", &[("active", PROCESSES), ("passive", PROCESSES)]);
    for (pid, comm) in clients {
        let row = closer(&snapshot, pid, netns.inode(), "client")
            .unwrap_or_else(|| panic!("no row of {comm}: {:#}", snapshot["closers"]));
        assert_eq!(row["comm"], comm.as_str(), "{row:#}");
        assert_eq!(row["active_closes"], 1, "{row:#}");
        let started = row["start_time"].as_str();
        assert!(started.is_some_and(|time| time.ends_with('Z')), "{row:#}");
    }
    exact.closer(server_pid, "server", peer(PROCESSES));
    let rows = snapshot["closers"].as_array().expect("closers is a list");
    assert_eq!(rows.len() as u64, PROCESSES + 1, "nobody else closed anything: {rows:#?}");
}

#[test]
fn rows_beyond_the_limit_are_summed_in_one() {
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &["--top", "3"]);
    let shares = [50, 40, 30, 20, 10];
    let all = Traffic::closed_by(End::Client, shares.iter().sum());
    let (server, port) = Peer::server(&netns, &all);
    for n in shares {
        let client = Peer::client(&netns, port, &Traffic::closed_by(End::Client, n));
        assert_eq!(client.finish().closed_first, n);
    }
    assert_eq!(server.finish().closed_second, all.connections);
    let snapshot = tool.finish();
    let rows = snapshot["closers"].as_array().expect("closers is a list");
    let numbers: Vec<_> = rows.iter().map(|row| row["active_closes"].as_u64()).collect();
    assert_eq!(numbers, [50, 40, 30, 30].map(Some), "most first, then the rest: {rows:#?}");
    assert_eq!(rows[3]["other"], true, "{rows:#?}");
}
