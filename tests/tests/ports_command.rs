//! `twtrace ports`: one report, of the whole host or of one command, which is run as if twtrace
//! were not there.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use twtrace_tests::cgroup::{command_cgroups, processes_in};
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::peer::Peer;
use twtrace_tests::snapshot::number;
use twtrace_tests::tool::{Run, exit_status, program};
use twtrace_tests::traffic::{End, Traffic};
use twtrace_tests::wait_for;

/// `ports --json` on `netns`, of `command`, which runs in there too.
fn ports(netns: &PrivateNetns, command: &[&str]) -> Command {
    let mut ports = Command::new("nsenter");
    ports.arg(format!("--net=/proc/{}/ns/net", netns.holder()));
    ports
        .arg(program())
        .args(["ports", "--json", "--netns", &netns.selector(), "--"])
        .args(command);
    ports
}

/// Runs it to its end. The report is the last line of the error output, and the only one.
#[track_caller]
fn report(netns: &PrivateNetns, command: &[&str]) -> (Value, Run) {
    let run = Run::of(&mut ports(netns, command));
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    let report = serde_json::from_str(&run.stderr);
    (report.unwrap_or_else(|error| panic!("{error}: {}", run.stderr)), run)
}

/// A client of some connections to a server in `netns`, as words of a shell.
fn client(port: u16, connections: u64) -> String {
    let traffic = Traffic { destinations: 4, ..Traffic::closed_by(End::Client, connections) };
    format!("'{}' client {port} '{traffic}'", Peer::program().display())
}

#[test]
fn the_time_asked_for_gives_one_report() {
    let netns = PrivateNetns::new();
    let duration = ["ports", "--duration", "0.5", "--json", "--netns", &netns.selector()];
    let run = Run::of(Command::new(program()).args(duration));
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let [snapshot] = &run.snapshots()[..] else { panic!("more than one: {}", run.stdout) };
    assert!(number(snapshot, "port_search.connect.count") == 0, "{snapshot:#}");
    assert!(snapshot["elapsed_s"].as_f64().is_some_and(|s| s >= 0.5), "{snapshot:#}");
    assert_eq!(snapshot["port_search"].get("only_cgroup"), None);
}

#[test]
fn exactly_the_searches_of_the_command_count() {
    let netns = PrivateNetns::new();
    let (server, port) = Peer::server(&netns, &Traffic::closed_by(End::Client, 500));
    // More than it can make until it is dropped.
    let bystander = Traffic::closed_by(End::Client, 200_000);
    let (_other_server, other_port) = Peer::server(&netns, &bystander);
    let other = Peer::client(&netns, other_port, &bystander);
    let (report, run) = report(&netns, &["sh", "-c", &client(port, 500)]);
    assert_eq!(run.code, Some(0));
    server.finish();
    drop(other);
    assert_counts(&report, 500);
    assert!(number(&report, "connects.ok") > 500, "the bystander was idle: {report:#}");
    let search = &report["port_search"];
    let [process] = &search["by_process"].as_array().expect("rows")[..] else {
        panic!("more than the client: {search:#}")
    };
    assert_eq!((&process["comm"], number(process, "count")), (&"twtrace-peer".into(), 500));
    for row in search["by_destination"].as_array().expect("rows") {
        assert_eq!(row["rport"], port, "{row:#}");
    }
    let cgroup = search["only_cgroup"].as_str().expect("a path");
    assert!(cgroup.contains("/twtrace-ports-"), "{cgroup}");
}

#[test]
fn what_outlives_the_command_counts_too() {
    let netns = PrivateNetns::new();
    let (server, port) = Peer::server(&netns, &Traffic::closed_by(End::Client, 50));
    let script = format!("(sleep 0.5; {}) >/dev/null & exit 3", client(port, 50));
    let (report, run) = report(&netns, &["sh", "-c", &script]);
    assert_eq!(run.code, Some(3));
    server.finish();
    assert_counts(&report, 50);
}

#[track_caller]
fn assert_counts(report: &Value, connects: u64) {
    for key in ["count", "latency_ns.count"] {
        let key = format!("port_search.connect.{key}");
        assert_eq!(number(report, &key), connects, "{key}: {:#}", report["port_search"]);
    }
    assert_eq!(number(report, "port_search.bind.count"), 0, "{:#}", report["port_search"]);
}

#[test]
fn the_command_keeps_its_streams_and_its_exit_code() {
    let netns = PrivateNetns::new();
    for (script, code) in
        [("echo out; exit 0", 0), ("echo out; exit 42", 42), ("echo out; kill -TERM $$", 143)]
    {
        let (_, run) = report(&netns, &["sh", "-c", script]);
        assert_eq!((run.code, run.stdout.as_str()), (Some(code), "out\n"), "{script}");
    }
    let limit = "ulimit -Sn";
    let (_, run) = report(&netns, &["sh", "-c", limit]);
    let bare = Run::of(Command::new("sh").args(["-c", limit]));
    assert_eq!(run.stdout, bare.stdout, "the limit on files is the caller's");
}

#[test]
fn a_command_that_cannot_be_run_has_the_exit_code_of_shells() {
    for (command, code) in [("no-such-command", 127), ("/no/such/command", 127), ("/dev/null", 126)]
    {
        let run = Run::of(Command::new(program()).args(["ports", "--", command]));
        assert_eq!((run.code, run.stdout.as_str()), (Some(code), ""), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(
            run.stderr.starts_with(&format!("twtrace: cannot run {command}: ")),
            "{}",
            run.stderr
        );
    }
}

/// As a terminal does it: the signal goes to all in the foreground.
#[test]
fn ctrl_c_ends_both_and_brings_the_report() {
    let netns = PrivateNetns::new();
    let mut command = ports(&netns, &["sleep", "60"]);
    command.stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().expect("starting the tool");
    let cgroup = format!("twtrace-ports-{}", child.id());
    // Before it is a program of its own it may not hear the signal.
    wait_for("the command to run", Duration::from_secs(20), || {
        processes_in(&cgroup).contains(&"sleep".to_owned()).then_some(())
    });
    kill_process_group(Pid::from_child(&child), Signal::INT).expect("signalling both");
    assert_eq!(exit_status(&mut child).code(), Some(130));
    let mut said = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut said).expect("reading it");
    let report: Value = serde_json::from_str(&said).expect("a report alone");
    assert_counts(&report, 0);
    assert!(!command_cgroups().contains(&cgroup), "the cgroup is left");
}

/// A signal to twtrace alone is passed on; what the command has left running does not keep its
/// cgroup, and does not keep twtrace.
#[test]
fn what_is_left_running_goes_back_where_it_came_from() {
    let netns = PrivateNetns::new();
    let script = "sleep 7 >/dev/null 2>&1 & echo $!; wait";
    let mut command = ports(&netns, &["sh", "-c", script]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starting the tool");
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().expect("it is piped"));
    std::io::BufRead::read_line(&mut stdout, &mut line).expect("it starts");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("signalling the tool");
    assert_eq!(exit_status(&mut child).code(), Some(143));
    let cgroup = format!("twtrace-ports-{}", child.id());
    wait_for("the cgroup to go", Duration::from_secs(5), || {
        (!command_cgroups().contains(&cgroup)).then_some(())
    });
    let left = line.trim().parse().ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(left, Signal::KILL).expect("it runs on");
}
