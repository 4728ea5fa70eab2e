//! SIGKILL at any moment: nothing is left on the host, and the next start works.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use twtrace_tests::cgroup::command_cgroups;
use twtrace_tests::faults::{Chance, longer};
use twtrace_tests::left_behind::{Inventory, names};
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::recording::{Place, Told, reading, report_is_end};
use twtrace_tests::snapshot::Exact;
use twtrace_tests::tool::{Run, Tool, exit_status, program};
use twtrace_tests::traffic::{End, Traffic};

/// With `TWTRACE_TESTS_LONG=20` there are 720.
const ROUNDS: u64 = 36;
/// Attaching takes a third of this, on a quiet machine.
const ATTACHING_MS: u64 = 900;
/// Draining and detaching take less.
const STOPPING_MS: u64 = 200;

/// What is killed, by turns.
const COMMANDS: [&[&str]; 6] = [
    &["top", "--batch", "--json", "-d", "0.2"],
    &["record", "-o", "trace.twt"],
    &["serve", "--listen", "127.0.0.1:0"],
    &["ports", "--", "sleep", "600"],
    &["top", "--demo", "--batch", "--json", "-d", "0.2"],
    &["record", "--flight", "60", "-o", "trace.twt"],
];

fn start(args: &[&str], netns: &PrivateNetns, place: &Place) -> Child {
    let mut command = Command::new(program());
    command.arg(args[0]);
    if !args.contains(&"--demo") {
        command.args(["--netns", &netns.selector()]);
    }
    command.args(&args[1..]).current_dir(place.path()).env("TMPDIR", place.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("starting the tool")
}

/// Waits for a moment while it attaches, runs, or stops.
fn wait(child: &Child, phase: u64, chance: &mut Chance) {
    let sleep = |ms| std::thread::sleep(Duration::from_millis(ms));
    match phase {
        0 => sleep(chance.below(ATTACHING_MS)),
        1 => sleep(ATTACHING_MS + chance.below(1_500)),
        _ => {
            sleep(ATTACHING_MS + 600);
            // It may be that slow a machine, on which the signal ends it: that is a moment too.
            let _ = kill_process(Pid::from_child(child), Signal::INT);
            sleep(chance.below(STOPPING_MS));
        }
    }
}

/// What there is of a recording that was cut can be read, or has not begun.
#[track_caller]
fn assert_readable(file: &Path, place: &Place, what: &str) {
    let Some(told) = File::open(file).ok().and_then(|file| Told::read(file).ok()) else {
        return;
    };
    let run = reading(&["verify"], &[file]);
    assert!(matches!(run.code, Some(0 | 1)), "{what}: {}{}", run.stdout, run.stderr);
    if told.ticks().is_empty() {
        return;
    }
    let repaired = place.file("repaired.twt");
    let output = repaired.to_str().expect("UTF-8");
    let run = reading(&["repair", "--force", "-o", output], &[file]);
    assert_eq!(run.code, Some(0), "{what}: {}", run.stderr);
    report_is_end(&repaired);
}

#[test]
fn nothing_is_left_whenever_it_is_killed() {
    let mut chance = Chance::new();
    let netns = PrivateNetns::new();
    let mut objects = 0;
    for round in 0..ROUNDS * longer() {
        let (args, phase) = (COMMANDS[round as usize % COMMANDS.len()], chance.below(3));
        let what = format!("round {round}, {args:?}, phase {phase}, seed {}", chance.seed());
        let (place, before) = (Place::new(), names());
        let mut child = start(args, &netns, &place);
        wait(&child, phase, &mut chance);
        let had = Inventory::of_stopped(child.id(), &before);
        objects += had.objects();
        child.kill().expect("killing it");
        child.wait().expect("waiting for it");
        had.end("sleep");
        had.assert_gone(&what);
        let file = place.file("trace.twt");
        assert_readable(&file, &place, &what);
        let mut left = place.names();
        left.retain(|name| !["trace.twt", "repaired.twt"].contains(&&name[..]));
        assert_eq!(left, <[&str; 0]>::default(), "{what}: files are left");
        if args[0] == "ports" {
            next_removes_the_cgroup(child.id(), &what);
        }
    }
    assert!(objects > 100, "most of them were killed while they had BPF objects: {objects}");
    next_start_works();
}

/// A cgroup outlives whoever made it; the next that makes one removes it.
#[track_caller]
fn next_removes_the_cgroup(pid: u32, what: &str) {
    let run = Run::of(Command::new(program()).args(["ports", "--", "true"]));
    assert_eq!(run.code, Some(0), "{what}: {}", run.stderr);
    let left = format!("twtrace-ports-{pid}");
    assert!(!command_cgroups().contains(&left), "{what}: {left} is left");
}

#[track_caller]
fn next_start_works() {
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &[]);
    netns.run(|| Traffic::closed_by(End::Client, 200).run());
    let snapshot = tool.finish();
    let exact = Exact::new(&snapshot, netns.inode());
    exact.object("closes", &[("active", 200), ("passive", 200)]);
    exact.reconciles();
}

/// What is under way is not taken away.
#[test]
fn a_cgroup_that_is_in_use_stays() {
    let mut command = Command::new(program());
    command.args(["ports", "--", "sleep", "600"]).stdin(Stdio::null());
    let mut first = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the first");
    let own = format!("twtrace-ports-{}", first.id());
    let is_there = || command_cgroups().contains(&own);
    twtrace_tests::wait_for("its cgroup", Duration::from_secs(20), || is_there().then_some(()));
    let run = Run::of(Command::new(program()).args(["ports", "--", "true"]));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(is_there(), "the second took the cgroup of the first");
    // The command gets the signal first, and ends.
    kill_process(Pid::from_child(&first), Signal::TERM).expect("asking for the end");
    exit_status(&mut first);
    assert!(!is_there(), "the first has removed its own");
}
