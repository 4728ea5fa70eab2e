//! A kernel without BTF, made by hiding the file in a mount namespace of our
//! own: the classic tracepoint takes over, and what it cannot know is null.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::snapshot::number;
use twtrace_tests::tool::{Run, Tool, program};
use twtrace_tests::traffic::{End, Traffic};

/// Hides the kernel's BTF; `$0` is the tool.
const HIDE_BTF: &str = "mount -t tmpfs none /sys/kernel/btf";
/// The tool needs tracefs for this hook and does not mount it by itself.
const TRACEFS: &str = "mount -t tracefs none /sys/kernel/tracing";

/// `twtrace ARGS` in a mount namespace where `setup` has run.
fn after(setup: &str, args: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", &format!("{setup}; exec \"$0\" \"$@\"")]);
    command.arg(program()).args(args);
    command
}

#[test]
fn the_classic_tracepoint_counts_and_says_what_it_cannot_know() {
    // It sees every namespace and cannot tell them apart, so others may add to its counts.
    let netns = PrivateNetns::new();
    let args = ["top", "--batch", "--json", "-d", "0.2"];
    let tool = Tool::launch(&mut after(&format!("{HIDE_BTF}; {TRACEFS}"), &args));
    netns.run(|| {
        Traffic::closed_by(End::Client, 300).run();
        Traffic::aborted(100).run();
    });
    let ended = tool.stop(Signal::INT);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    // What it cannot follow is said once, and for all of it why.
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("no BTF").count(), 1, "{}", ended.stderr);
    let snapshot = ended.last.expect("there was a first snapshot");
    assert_eq!(snapshot["probes"]["transitions"], "tracepoint");
    assert!(number(&snapshot, "closes.active") >= 300, "{:#}", snapshot["closes"]);
    assert!(number(&snapshot, "closes.reset") >= 200, "{:#}", snapshot["closes"]);
    for unknown in ["reset_local", "reset_remote"] {
        assert_eq!(snapshot["closes"][unknown], Value::Null, "{unknown}");
    }
    for unknown in ["refused", "timed_out", "no_port", "other"] {
        assert_eq!(snapshot["connects"][unknown], Value::Null, "{unknown}");
    }
    assert_eq!(snapshot["probes"]["exactness"]["closers"], "inferred");
    let rows = snapshot["closers"].as_array().expect("closers is a list");
    let mine: Vec<&Value> = rows.iter().filter(|row| row["pid"] == std::process::id()).collect();
    let client = mine.iter().find(|row| row["role"] == "client").expect("a row of the client");
    assert_eq!(client["active_closes"], 300, "{client:#}");
    assert_eq!(client["netns"], Value::Null, "this hook cannot tell");
    assert_eq!(client["start_time"], Value::Null, "this hook cannot tell");
}

#[test]
fn a_namespace_filter_without_a_hook_that_can_filter_is_refused() {
    let setup = format!("{HIDE_BTF}; {TRACEFS}");
    let args = ["top", "--batch", "-n", "1", "-d", "0.2", "--netns", "self"];
    let run = Run::of(&mut after(&setup, &[&args[..], &["--probes", "tracepoint"]].concat()));
    assert_eq!(run.code, Some(2), "{}{}", run.stdout, run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
}

#[test]
fn without_tracefs_too_it_polls_and_check_says_how_to_mend_it() {
    let run = Run::of(&mut after(HIDE_BTF, &["top", "--batch", "--json", "-n", "1", "-d", "0.2"]));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.snapshots()[0]["closes"], Value::Null);
    assert!(run.stderr.contains("BTF"), "{}", run.stderr);
    let check = Run::of(&mut after(HIDE_BTF, &["check"]));
    assert_eq!(check.code, Some(1), "{}", check.stdout);
    assert!(check.stdout.contains("mount -t tracefs"), "{}", check.stdout);
}
