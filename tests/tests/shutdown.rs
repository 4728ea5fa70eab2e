//! However it is asked to end, the tool ends cleanly and leaves nothing behind.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use twtrace_tests::bpf_objects::{BpfObject, cgroup_links_of, held_by};
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::snapshot::{Exact, born, number};
use twtrace_tests::tool::{Tool, exit_status, program};
use twtrace_tests::traffic::{End, Traffic};
use twtrace_tests::wait_for;

#[test]
fn a_signal_brings_a_last_snapshot_of_all_that_happened() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let netns = PrivateNetns::new();
        // An interval longer than the test: what is printed last is due to the signal.
        let tool = Tool::on(&netns, &["-d", "3"]);
        netns.run(|| Traffic::closed_by(End::Client, 200).run());
        let ended = tool.stop(signal);
        assert_eq!(ended.status.code(), Some(0), "{signal:?}: {}", ended.stderr);
        assert_eq!(ended.stderr, "", "{signal:?}");
        assert_eq!(ended.snapshots, 2, "the first and the last, {signal:?}");
        let last = ended.last.expect("a last snapshot");
        let exact = Exact::new(&last, netns.inode());
        exact.object("closes", &[("active", 200), ("passive", 200)]);
    }
}

#[test]
fn it_ends_after_the_number_of_snapshots_asked_for() {
    let netns = PrivateNetns::new();
    let mut child = Command::new(program())
        .args(["top", "--batch", "--json", "-d", "0.2", "-n", "3", "--netns", &netns.selector()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starting the tool");
    assert_eq!(exit_status(&mut child).code(), Some(0));
    let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let elapsed: Vec<f64> = lines
        .map(|line| {
            let snapshot: serde_json::Value =
                serde_json::from_str(&line.expect("a line")).expect("a snapshot");
            snapshot["elapsed_s"].as_f64().expect("elapsed_s is a number")
        })
        .collect();
    assert_eq!(elapsed.len(), 3);
    assert!(elapsed.is_sorted(), "{elapsed:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let netns = PrivateNetns::new();
    let mut child = Command::new(program())
        .args(["top", "--batch", "--json", "-d", "0.1", "--netns", &netns.selector()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starting the tool");
    let mut line = String::new();
    // As `| head -n1` does.
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    stdout.read_line(&mut line).expect("reading the first snapshot");
    drop(stdout);
    let status = exit_status(&mut child);
    let mut said = String::new();
    child
        .stderr
        .take()
        .expect("stderr is piped")
        .read_to_string(&mut said)
        .expect("reading stderr");
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
}

#[test]
fn no_bpf_object_is_left() {
    for signal in [Signal::INT, Signal::KILL] {
        let netns = PrivateNetns::new();
        // No snapshot is due, so none is cut in two by SIGKILL.
        let tool = Tool::on(&netns, &["-d", "3"]);
        assert_eq!(tool.snapshot()["probes"]["port_search"], "tracepoint");
        let objects = held_by(tool.pid());
        assert!(cgroup_links_of(tool.pid()) > 0, "the tool attaches to no cgroup");
        let programs = objects.iter().filter(|o| matches!(o, BpfObject::Program(_))).count();
        assert!(programs > 0, "the tool holds no program: {objects:?}");
        assert!(objects.iter().all(|object| object.exists()), "{objects:?}");
        tool.stop(signal);
        // The kernel frees them a little later.
        wait_for(&format!("{objects:?} to be gone"), Duration::from_secs(10), || {
            (!objects.iter().any(|object| object.exists())).then_some(())
        });
    }
}

#[test]
fn a_second_tool_at_the_same_time_counts_the_same() {
    let netns = PrivateNetns::new();
    let tools = [Tool::on(&netns, &[]), Tool::on(&netns, &[])];
    netns.run(|| Traffic::closed_by(End::Server, 1_000).run());
    for tool in tools {
        let snapshot = tool.finish();
        let exact = Exact::new(&snapshot, netns.inode());
        exact.object("closes", &[("active", 1_000), ("passive", 1_000)]);
        // Both have programs at the root cgroup, which let each other run.
        exact.time_wait(born(1_000));
        exact.count("port_search.connect.count", 1_000);
        exact.count("port_search.connect.latency_ns.count", 1_000);
        exact.count("port_search.bind.count", 1);
        exact.count("port_search.bind.latency_ns.count", 1);
        exact.reconciles();
        assert!(number(&snapshot, "transitions.total") >= 10_000 - exact.missed());
    }
}
