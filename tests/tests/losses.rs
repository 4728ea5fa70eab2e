//! What is lost is counted, under its own name, and totals stay exact.

use rustix::process::{Pid, Signal, kill_process};
use twtrace::decode;
use twtrace::frame::Frame;
use twtrace_common::RecordKind;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::recording::{Place, Recording, Told, report_is_end};
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

/// The records in a file, without those that introduce a process.
fn events(told: &Told) -> u64 {
    let batches = told.frames.iter().filter_map(|frame| match frame {
        Frame::Records(batch) => Some(batch),
        _ => None,
    });
    let records = batches.flat_map(|batch| decode::records(batch));
    records.filter(|record| record[0] != RecordKind::Process as u8).count() as u64
}

/// The smallest ring, read as fast as can be while connections are made at full speed; another
/// twtrace beside it has room for everything, and says what was produced.
#[test]
fn what_a_ring_of_one_page_loses_is_counted_to_the_unit() {
    const MANY: u64 = 20_000;
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let files = [place.file("all.twt"), place.file("some.twt")];
    let [all, some] = [("64M", &files[0]), ("4096", &files[1])].map(|(size, file)| {
        // Samples of processors are no two recordings' own.
        Recording::on(&netns, file, &["--ring-size", size, "--sample-hz", "0"])
    });
    netns.run(|| Traffic::closed_by(End::Client, MANY).threads(2).run());
    netns.wait_for_tw(MANY);
    let (all, some) = (all.finish(), some.finish());

    let live = some.forgiving(report_is_end(&files[1]));
    let missed = missed(&live) + all.summary().missed.unwrap_or(0);
    // An introduction that finds no room comes with the next record of that process, and is no loss.
    let [produced, consumed] = files.each_ref().map(|file| events(&Told::of(file)));
    assert_eq!(all.summary().ring_full, Some(0), "the other ring has room for all");
    let lost = some.summary().ring_full.expect("it is told");
    assert!(lost > 0, "a page has room for all of it?");
    assert!(
        produced.abs_diff(consumed + lost) <= missed,
        "{produced} were produced, {consumed} consumed, {lost} lost, {missed} missed"
    );
    assert_eq!(number(&live, "loss.ring_full"), lost);
    assert_eq!(Told::of(&files[1]).ring_full(), lost, "the file says the same");

    for (total, kernel) in [
        ("connects.ok", netns.netstat("Tcp", "ActiveOpens")),
        ("closes.active", netns.netstat("TcpExt", "TW")),
        ("time_wait.born", netns.netstat("TcpExt", "TW")),
        ("time_wait.now", netns.sockstat_tw()),
        ("port_search.connect.count", MANY),
    ] {
        let counted = number(&live, total);
        assert!(counted.abs_diff(kernel) <= missed, "{total} is {counted}, the kernel's {kernel}");
        assert!(kernel == MANY, "{total}: the kernel counts {kernel} of {MANY}");
    }
}
