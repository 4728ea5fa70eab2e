//! What is lost is counted, under its own name, and totals stay exact.

use rustix::process::{Pid, Signal, kill_process};
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::snapshot::{missed, number};
use twtrace_tests::tool::Tool;
use twtrace_tests::traffic::{End, Traffic};

const CONNECTIONS: u64 = 2_000;
/// Both ends of a connection together: nine transitions (a listener's child has
/// no record for the first of its own), a port found, a mini-socket born.
const RECORDS_PER_CONNECTION: u64 = 11;

/// While the tool is stopped nobody empties a ring of one page.
#[test]
fn a_full_ring_costs_detail_and_no_totals() {
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &["--ring-size", "4096"]);
    let pid = Pid::from_raw(tool.pid().cast_signed()).expect("a process id");
    kill_process(pid, Signal::STOP).expect("stopping the tool");
    netns.run(|| Traffic::closed_by(End::Client, CONNECTIONS).run());
    kill_process(pid, Signal::CONT).expect("continuing the tool");
    let snapshot = tool.finish();
    let missed = missed(&snapshot);
    for total in [
        "closes.active",
        "closes.passive",
        "connects.ok",
        "time_wait.born",
        "time_wait.now",
        "port_search.connect.count",
    ] {
        let counted = number(&snapshot, total);
        assert!(counted + missed >= CONNECTIONS && counted <= CONNECTIONS, "{total} is {counted}");
    }
    let ring_full = number(&snapshot, "loss.ring_full");
    let written = CONNECTIONS * RECORDS_PER_CONNECTION;
    // A page holds fewer than fifty records, and the listener adds three.
    assert!(
        (written - 100..=written + 3).contains(&(ring_full + missed)),
        "{ring_full} of about {written} records found no room"
    );
}

#[test]
fn a_full_table_forgets_the_oldest_and_says_so() {
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &["--max-connections", "8"]);
    let listener = netns.run(|| twtrace_tests::traffic::Family::V4.listen());
    let pairs: Vec<_> = (0..20)
        .map(|_| {
            netns.run(|| {
                twtrace_tests::scenario::Pair::open(&listener, twtrace_tests::traffic::Family::V4)
            })
        })
        .collect();
    drop(pairs);
    let snapshot = tool.finish();
    assert!(number(&snapshot, "loss.evicted") >= 40 - 8, "{:#}", snapshot["loss"]);
    assert_eq!(number(&snapshot, "connects.ok"), 20, "totals do not come from the table");
}
