//! Network namespaces: one alone, all at once, and one that goes away.

use serde_json::Value;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::snapshot::{Closer, Exact, active, closer, missed, number, peer};
use twtrace_tests::tool::Tool;
use twtrace_tests::traffic::{End, Traffic};

fn close(netns: &PrivateNetns, connections: u64) {
    netns.run(|| Traffic::closed_by(End::Client, connections).run());
}

#[test]
fn one_namespace_alone() {
    let (watched, other) = (PrivateNetns::new(), PrivateNetns::new());
    let tool = Tool::on(&watched, &[]);
    close(&watched, 300);
    close(&other, 500);
    let snapshot = tool.finish();
    let exact = Exact::new(&snapshot, watched.inode());
    exact.object("closes", &[("active", 300), ("passive", 300)]);
    exact.object("connects", &[("ok", 300)]);
    exact.closers_together(Closer { active: 300, peer: 300, resets: 0 });
    assert_eq!(closer(&snapshot, std::process::id(), other.inode(), "client"), None);
}

#[test]
fn a_namespace_is_selected_by_inode_and_by_name() {
    let (watched, other) = (PrivateNetns::new(), PrivateNetns::new());
    let name = watched.publish();
    for selector in [watched.inode().to_string(), name.as_str().to_owned()] {
        let tool = Tool::start(&["--netns", &selector]);
        close(&watched, 20);
        close(&other, 30);
        let snapshot = tool.finish();
        let exact = Exact::new(&snapshot, watched.inode());
        exact.object("closes", &[("active", 20), ("passive", 20)]);
    }
}

#[test]
fn all_namespaces_keep_their_rows_apart() {
    let netns = [PrivateNetns::new(), PrivateNetns::new()];
    // Other tests run at the same time, so only the rows of these two are known.
    let tool = Tool::start(&["--top", "10000"]);
    for (netns, connections) in netns.iter().zip([200, 700]) {
        close(netns, connections);
    }
    let snapshot = tool.finish();
    for (netns, connections) in netns.iter().zip([200, 700]) {
        let missed = missed(&snapshot);
        for (role, key) in [("client", "active_closes"), ("server", "peer_closes")] {
            let row = closer(&snapshot, std::process::id(), netns.inode(), role);
            let row = row.unwrap_or_else(|| panic!("no {role} row: {:#}", snapshot["closers"]));
            assert!(number(row, key).abs_diff(connections) <= missed, "{row:#}");
        }
    }
    assert!(number(&snapshot, "closes.active") >= 900, "{:#}", snapshot["closes"]);
}

#[test]
fn a_namespace_deleted_while_it_is_traced() {
    for selected in [true, false] {
        let netns = PrivateNetns::new();
        let inode = netns.inode();
        let tool = if selected { Tool::on(&netns, &[]) } else { Tool::start(&["--top", "10000"]) };
        close(&netns, 100);
        drop(netns);
        let after = tool.next_snapshot();
        let last = tool.finish();
        for snapshot in [&after, &last] {
            let row = closer(snapshot, std::process::id(), inode, "client");
            let row = row.unwrap_or_else(|| panic!("the row has gone: {:#}", snapshot["closers"]));
            let missed = missed(snapshot);
            assert!(number(row, "active_closes").abs_diff(100) <= missed, "{row:#}");
        }
        assert_ne!(last["closes"], Value::Null);
    }
}

#[test]
fn self_is_the_namespace_of_the_tool() {
    let (inside, other) = (PrivateNetns::new(), PrivateNetns::new());
    let tool = inside.run(|| Tool::start(&["--netns", "self"]));
    close(&inside, 10);
    close(&other, 20);
    let snapshot = tool.finish();
    let exact = Exact::new(&snapshot, inside.inode());
    exact.object("closes", &[("active", 10), ("passive", 10)]);
    exact.closer(std::process::id(), "client", active(10));
    exact.closer(std::process::id(), "server", peer(10));
}
