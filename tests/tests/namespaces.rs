//! Network namespaces that come and go by the thousand: more than the programs have slots for.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use twtrace::frame::Frame;
use twtrace_tests::bpf_objects::held_by;
use twtrace_tests::brief_netns;
use twtrace_tests::faults::longer;
use twtrace_tests::recording::{Done, Place, Recording, Told, reading, record};
use twtrace_tests::serve::Serve;
use twtrace_tests::snapshot::{missed, number};
use twtrace_tests::traffic::{End, Traffic};
use twtrace_tests::wait_for;

/// Connections in each.
const EACH: u64 = 3;
/// With `TWTRACE_TESTS_LONG` there are three times as many.
const MANY: u64 = 1_100;
/// What is remembered of so many, with room for what the allocator keeps.
const GROWTH: u64 = 48 << 20;

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

fn resident(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).expect("it runs");
    let pages: u64 = text.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a number");
    pages * rustix::param::page_size() as u64
}

/// Makes connections in a new namespace; returns its inode, and what holds it.
fn namespace() -> (u64, File) {
    let held = brief_netns::inside(|| {
        Traffic::closed_by(End::Client, EACH).run();
        File::open("/proc/thread-self/ns/net").expect("the own namespace")
    });
    (held.metadata().expect("its inode").ino(), held)
}

#[test]
fn they_cost_no_total_and_leak_nothing() {
    let (many, bound) = (MANY * longer().min(3), GROWTH * longer().min(3));
    let place = Place::new();
    let file = place.file("trace.twt");
    let serve = Serve::start(&[]);
    let output = file.to_str().expect("UTF-8");
    let recording = Recording::launch(&mut record(&["--ring-size", "64M", "-o", output]));
    let (files, objects) = (open_files(serve.pid()), held_by(serve.pid()));
    let pids = [serve.pid(), recording.pid()];
    let before = pids.map(resident);

    let made: BTreeMap<u64, File> = (0..many).map(|_| namespace()).collect();
    assert_eq!(made.len() as u64, many, "all were there at once");
    for (pid, before) in pids.into_iter().zip(before) {
        let grown = resident(pid).saturating_sub(before);
        assert!(grown < bound, "{grown} bytes more with {many} namespaces");
    }
    // Before the numbers of these namespaces are those of others.
    let done = recording.finish();
    let ours: Vec<u64> = made.into_keys().collect();
    assert_counted(&file, &ours, &done);

    // One that is open for a moment is none that is kept.
    wait_for("files to be closed", Duration::from_secs(20), || {
        (open_files(serve.pid()) <= files).then_some(())
    });
    assert_eq!(held_by(serve.pid()), objects);
    let grown = resident(serve.pid()).saturating_sub(before[0]);
    assert!(grown < bound, "{grown} bytes more after {many} namespaces");
    assert_eq!(serve.get("/readyz").status, 200);
    let (status, said) = serve.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0), "{said}");
}

/// Records tell each namespace; all of them together are what the totals count, in a slot of its own or
/// in that of those that found none.
#[track_caller]
fn assert_counted(file: &Path, ours: &[u64], done: &Done) {
    assert_eq!(done.summary().ring_full, Some(0), "the ring holds all of it");
    let told = Told::of(file);
    let live = done.forgiving(told.snapshot());
    let missed = missed(&live);
    let (mut by_netns, mut all) = (BTreeMap::<u64, u64>::new(), 0);
    for row in rows(file) {
        if row["first_fin"] == "active" && row["seeded"] == false {
            all += 1;
            let own = row["closer_pid"] == std::process::id();
            *by_netns.entry(row["netns"].as_u64().unwrap_or(0)).or_default() += u64::from(own);
        }
    }
    let wrong = ours.iter().filter(|netns| by_netns.get(netns) != Some(&EACH)).count() as u64;
    assert!(wrong <= missed, "{wrong} of {} namespaces, {missed} were missed", ours.len());
    // Whoever else closed meanwhile is in both; one under way at the beginning or the end in one.
    let counted = number(&live, "closes.active");
    let about = missed + counted / 1_000;
    assert!(counted.abs_diff(all) <= about, "{counted} are counted, {all} recorded");
    let slots = ours.iter().filter(|netns| has_slot(&told, **netns)).count();
    assert!(slots < ours.len(), "there was a slot for each of {}", ours.len());
}

fn rows(file: &Path) -> Vec<Value> {
    let run = reading(&["export", "--format", "jsonl", "--connections"], &[file]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let row = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    run.stdout.lines().map(row).collect()
}

fn has_slot(told: &Told, netns: u64) -> bool {
    let totals = told.frames.iter().rev().find_map(|frame| match frame {
        Frame::Totals(totals) => Some(totals),
        _ => None,
    });
    let totals = totals.expect("there are totals");
    totals.by_netns.iter().any(|(known, _)| known.map(u64::from) == Some(netns))
}
