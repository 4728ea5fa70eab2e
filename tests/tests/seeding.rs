//! Sockets that were there before the tool: it knows them at once, and follows
//! them to their end.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::Value;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::scenario::Pair;
use twtrace_tests::snapshot::{Closer, Exact, number, states as reported};
use twtrace_tests::sockets::{States, states};
use twtrace_tests::tool::Tool;
use twtrace_tests::traffic::{End, Family, Traffic};
use twtrace_tests::wait_for;

fn named(states: &[(&str, u64)]) -> States {
    states.iter().map(|(state, n)| ((*state).to_owned(), *n)).collect()
}

/// Waits until `ss` counts what the test has made: an ACK may be delayed.
#[track_caller]
fn settle(netns: &PrivateNetns, want: &[(&str, u64)]) {
    let want = named(want);
    wait_for(&format!("ss to count {want:?}"), Duration::from_secs(5), || {
        (states(netns) == want).then_some(())
    });
}

/// Waits until `ss` and then the tool report `want`.
#[track_caller]
fn assert_follows(tool: &Tool, netns: &PrivateNetns, want: &[(&str, u64)]) {
    settle(netns, want);
    let want = named(want);
    tool.wait_for(&format!("states {want:?}"), |snapshot| reported(snapshot) == want);
}

#[test]
fn known_at_first_sight_and_followed_to_the_end() {
    let netns = PrivateNetns::new();
    let (v4, v6) = netns.run(|| (Family::V4.listen(), Family::V6.listen()));
    let open = |listener, family| netns.run(|| Pair::open(listener, family));
    let mut pairs: Vec<Pair> = (0..40).map(|_| open(&v4, Family::V4)).collect();
    pairs.extend((0..10).map(|_| open(&v6, Family::V6)));
    // Ten clients have closed, and their servers have not.
    let half_closed: Vec<_> = pairs.drain(..10).map(|pair| pair.server).collect();
    settle(&netns, &[("ESTABLISHED", 80), ("LISTEN", 2), ("CLOSE_WAIT", 10)]);

    let tool = Tool::on(&netns, &[]);
    let first = tool.snapshot();
    assert_eq!(reported(&first), states(&netns), "at the first snapshot: {:#}", first["states"]);
    for part in ["closes", "connects"] {
        Exact::new(&first, netns.inode()).object(part, &[]);
    }

    let fresh: Vec<Pair> = (0..5).map(|_| open(&v4, Family::V4)).collect();
    let third = netns.run(|| Family::V4.listen());
    assert_follows(&tool, &netns, &[("ESTABLISHED", 90), ("LISTEN", 3), ("CLOSE_WAIT", 10)]);

    drop(half_closed);
    assert_follows(&tool, &netns, &[("ESTABLISHED", 90), ("LISTEN", 3)]);

    let unfinished: Vec<_> = pairs.drain(..5).map(|pair| pair.client).collect();
    assert_follows(
        &tool,
        &netns,
        // A server closed, its client has not: the mini-socket of the server is not counted.
        &[("ESTABLISHED", 80), ("LISTEN", 3), ("CLOSE_WAIT", 5)],
    );

    drop(unfinished);
    pairs.into_iter().for_each(Pair::close_client_first);
    fresh.into_iter().for_each(Pair::close_server_first);
    drop((v4, v6, third));
    assert_follows(&tool, &netns, &[]);

    let last = tool.finish();
    let exact = Exact::new(&last, netns.inode());
    exact.object("connects", &[("ok", 5)]);
    // 5 + 35 + 5 pairs were closed from ESTABLISHED; of the ten half-closed
    // ones only the passive part was left, and that was entered before.
    exact.object("closes", &[("active", 45), ("passive", 45)]);
}

#[test]
fn seeded_sockets_that_are_closed_have_their_closer() {
    let netns = PrivateNetns::new();
    let listener = netns.run(|| Family::V4.listen());
    let pairs: Vec<Pair> =
        (0..20).map(|_| netns.run(|| Pair::open(&listener, Family::V4))).collect();
    let tool = Tool::on(&netns, &[]);
    pairs.into_iter().for_each(Pair::close_client_first);
    let last = tool.finish();
    let exact = Exact::new(&last, netns.inode());
    exact.object("closes", &[("active", 20), ("passive", 20)]);
    // Which end connected is not known of a seed, who closes it is.
    exact.closers_together(Closer { active: 20, peer: 20, resets: 0 });
    let rows = last["closers"].as_array().expect("closers is a list");
    assert!(rows.iter().all(|row| row["pid"] == std::process::id()), "{rows:#?}");
}

#[test]
fn attaching_in_the_middle_of_traffic_loses_no_socket() {
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
        let seen = |snapshot: &Value| number(snapshot, "closes.active") > 0;
        tool.wait_for("a close", seen);
        attached.store(true, Relaxed);
        tool
    });
    assert_follows(&tool, &netns, &[]);
    let last = tool.finish();
    Exact::new(&last, netns.inode());
    let [active, passive] = ["closes.active", "closes.passive"].map(|key| number(&last, key));
    assert!(active > 0 && active.abs_diff(passive) <= 1, "{:#}", last["closes"]);
}
