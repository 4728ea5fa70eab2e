//! A recording in several files: each can be read by itself, what is open when one ends is
//! known in the next, and all together are one recording.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use serde_json::Value;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::recording::{
    Place, Recording, Told, reading, record_to, report, report_is_end, wait_for_end, wait_for_next,
};
use twtrace_tests::scenario::Pair;
use twtrace_tests::snapshot::{Exact, TimeWait, closer, missed, number, states};
use twtrace_tests::sockets;
use twtrace_tests::tool::Tool;
use twtrace_tests::traffic::{End, Family, Traffic};

/// Numbers that all files together have, each a part.
const SUMMED: [&str; 6] = [
    "closes.active",
    "closes.passive",
    "connects.ok",
    "time_wait.born",
    "time_wait.ended.replaced",
    "transitions.total",
];

/// Checks that the files one by one, all together, and `live` tell of the same.
#[track_caller]
fn assert_parts_of(live: &Value, files: &[PathBuf]) {
    let together = report(files);
    let parts: Vec<Value> = files.iter().map(|file| report_is_end(file)).collect();
    let forgiven = missed(live) + missed(&together);
    for path in SUMMED {
        let sum: u64 = parts.iter().map(|part| number(part, path)).sum();
        assert_eq!(sum, number(&together, path), "{path} of all files, and of each");
        let live = number(live, path);
        assert!(sum.abs_diff(live) <= forgiven, "{path}: {sum} recorded, {live} beside it");
    }
    let last = &parts[parts.len() - 1];
    for path in ["time_wait.now", "states"] {
        let now = |snapshot: &Value| twtrace_tests::snapshot::at(snapshot, path).clone();
        assert_eq!(now(last), now(&together), "{path} in the last file");
    }
}

#[track_caller]
fn destination(snapshot: &Value, rport: u16) -> &Value {
    let rows = snapshot["destinations"].as_array().expect("destinations are known");
    let mut rows = rows.iter().filter(|row| row["rport"] == rport);
    let row = rows.next().unwrap_or_else(|| panic!("no row of {rport}: {rows:#?}"));
    assert!(rows.next().is_none(), "two rows of {rport}");
    row
}

#[test]
fn what_is_there_when_a_file_ends_is_known_in_the_next() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let files = [place.file("trace.twt"), place.file("trace.1.twt")];
    // One that is there before anything is recorded.
    let seeded = netns.run(|| {
        let listener = Family::V4.listen();
        let pair = Pair::open(&listener, Family::V4);
        (listener, pair)
    });
    let top = Tool::on(&netns, &[]);
    let recording = Recording::on(&netns, &files[0], &[]);
    let client = SocketAddr::from((Ipv4Addr::LOCALHOST, 9_999));
    let (listener, mut pairs) = netns.run(|| {
        let listener = Family::V4.listen();
        (0..3).for_each(|_| Pair::open(&listener, Family::V4).close_client_first());
        Pair::open_from(client, &listener, Family::V4).close_server_first();
        let pairs: Vec<_> = (0..6).map(|_| Pair::open(&listener, Family::V4)).collect();
        (listener, pairs)
    });
    let rport = listener.local_addr().expect("a bound socket has an address").port();
    netns.wait_for_tw(4);

    recording.signal(Signal::HUP);
    wait_for_next(&files[1]);
    netns.run(|| {
        pairs.drain(..2).for_each(Pair::close_client_first);
        pairs.drain(..1).for_each(Pair::close_server_first);
        // The server's mini-socket of the first file is replaced.
        let again = Pair::open_from(client, &listener, Family::V4);
        pairs.push(again);
    });
    netns.wait_for_tw(6);
    let sockets = sockets::states(&netns);
    let done = recording.finish();
    let live = top.finish();

    let [first, second] = files.each_ref().map(|file| done.forgiving(report_is_end(file)));
    let exact = Exact::new(&first, netns.inode());
    exact.object("closes", &[("active", 4), ("passive", 4)]);
    let exact = Exact::new(&second, netns.inode());
    exact.object("closes", &[("active", 3), ("passive", 3)]);
    exact.object("time_wait.ended", &[("replaced", 1)]);
    exact.count("time_wait.born", 3);
    exact.count("time_wait.now", netns.sockstat_tw());
    // What was there before a file began enters none of its distributions.
    exact.count("time_wait.lifetime_s.count", 0);
    exact.reconciles();
    let both = done.forgiving(report(&files));
    Exact::new(&both, netns.inode()).count("time_wait.lifetime_s.count", 1);
    let me = std::process::id();
    for (role, closed) in [("client", 2), ("server", 1)] {
        let row = closer(&second, me, netns.inode(), role);
        let row = row.unwrap_or_else(|| panic!("no {role}: {:#}", second["closers"]));
        assert_eq!(row["active_closes"], closed, "{row:#}");
    }
    assert_eq!(closer(&second, me, netns.inode(), "unknown"), None);
    if exact.missed() == 0 {
        assert_eq!(states(&second), sockets, "as `ss` counted them");
        let row = destination(&second, rport);
        // 3 open, 1 from a bound port, and 2 + 3 that the client closed first.
        assert_eq!((&row["ports_used"], &row["ports_time_wait"]), (&9.into(), &5.into()));
    }
    assert_parts_of(&live, &files);
    drop((seeded, pairs));
}

#[test]
fn the_files_of_one_recording_say_so() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let recording = Recording::on(&netns, &place.file("trace.twt"), &[]);
    recording.signal(Signal::HUP);
    wait_for_next(&place.file("trace.1.twt"));
    recording.signal(Signal::HUP);
    wait_for_next(&place.file("trace.2.twt"));
    recording.finish();
    assert_eq!(place.names(), ["trace.1.twt", "trace.2.twt", "trace.twt"]);
    let told = ["trace.twt", "trace.1.twt", "trace.2.twt"].map(|it| Told::of(&place.file(it)));
    let numbers = told.each_ref().map(|told| told.metas[0].recording.file);
    let id = told[0].metas[0].recording.id.clone();
    assert_eq!(numbers, [0, 1, 2]);
    assert!(told.iter().all(|told| told.metas[0].recording.id == id));
    assert_eq!(told.each_ref().map(|told| told.ends[0].goes_on), [true, true, false]);
    assert_eq!(told.each_ref().map(Told::is_carried_over), [false, true, true]);
}

/// Connections, again and again, until `enough`.
fn churn(netns: &PrivateNetns, enough: &AtomicBool) -> u64 {
    let mut closed = 0;
    while !enough.load(Ordering::Relaxed) {
        netns.run(|| Traffic::closed_by(End::Client, 200).run());
        closed += 200;
    }
    closed
}

#[test]
fn a_file_a_second_and_an_end_after_the_last() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let top = Tool::on(&netns, &[]);
    let recording =
        Recording::spawn(&mut record_to(&netns, &place.file("trace.twt"), &["-G", "1", "-W", "3"]));
    let enough = AtomicBool::new(false);
    let (done, live) = thread::scope(|scope| {
        let churning = scope.spawn(|| churn(&netns, &enough));
        let done = recording.ended();
        enough.store(true, Ordering::Relaxed);
        assert!(churning.join().expect("the traffic ends") > 0);
        (done, top.finish())
    });
    assert_eq!((done.code, &done.complaints[..]), (Some(0), &[][..]));
    let files = ["trace.twt", "trace.1.twt", "trace.2.twt"].map(|name| place.file(name));
    assert_eq!(place.names().len(), files.len(), "{:?}", place.names());
    let parts = files.each_ref().map(|file| report_is_end(file));
    for part in &parts {
        assert!(number(part, "closes.active") > 0, "there was traffic in each second");
        let unmatched = number(part, "loss.unmatched");
        assert!(unmatched <= missed(&done.forgiving(part.clone())), "{:#}", part["loss"]);
    }
    let summed: u64 = parts.iter().map(|part| number(part, "transitions.total")).sum();
    assert_eq!(summed, number(&report(&files), "transitions.total"));
    assert!(summed <= number(&live, "transitions.total"), "`top` ran longer");
    let bytes: u64 = files.iter().map(|file| file.metadata().expect("it is there").len()).sum();
    assert_eq!(done.summary().bytes, bytes);
    let told = files.each_ref().map(|file| Told::of(file));
    let events: u64 = told.iter().map(|told| told.ends[0].events - told.introduced_again()).sum();
    assert_eq!(done.summary().events, events);
}

#[test]
fn a_file_that_is_full_is_followed_and_the_oldest_removed() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let args = ["-C", "1", "-W", "2"];
    let recording = Recording::on(&netns, &place.file("trace.twt"), &args);
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        let churning = scope.spawn(|| churn(&netns, &enough));
        // Not before the second begins.
        wait_for_end(&place.file("trace.twt"));
        wait_for_next(&place.file("trace.2.twt"));
        enough.store(true, Ordering::Relaxed);
        churning.join().expect("the traffic ends");
    });
    recording.finish();
    let names = place.names();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(!names.contains(&"trace.twt".to_owned()), "the first one is gone: {names:?}");
    let files: Vec<PathBuf> = names.iter().map(|name| place.file(name)).collect();
    let parts: Vec<Value> = files.iter().map(|file| report_is_end(file)).collect();
    let full = files[0].metadata().expect("it is there").len();
    assert!(full >= 1_000_000, "{full} bytes");
    let closes: u64 = parts.iter().map(|part| number(part, "closes.active")).sum();
    assert_eq!(number(&report(&files), "closes.active"), closes);
    assert_eq!(
        number(&parts[1], "time_wait.now"),
        netns.sockstat_tw(),
        "those of removed files are known"
    );
}

#[test]
fn names_tell_the_time() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let pattern = place.file("t-%Y%m%d-%H%M%S.twt");
    let done = Recording::spawn(&mut record_to(&netns, &pattern, &["-G", "1", "-W", "2"])).ended();
    assert_eq!((done.code, &done.complaints[..]), (Some(0), &[][..]));
    let names = place.names();
    assert_eq!(names.len(), 2, "{names:?}");
    for name in &names {
        let time = name.strip_prefix("t-").and_then(|rest| rest.strip_suffix(".twt"));
        let (date, of_day) = time.and_then(|it| it.split_once('-')).expect("a date and a time");
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        assert_eq!((date.len(), of_day.len()), (8, 6), "{name}");
        assert!(date.starts_with("20") && digits(date) && digits(of_day), "{name}");
    }
    let files: Vec<PathBuf> = names.iter().map(|name| place.file(name)).collect();
    report(&files);
}

#[test]
fn nobody_else_may_read_it_and_nothing_is_overwritten_unasked() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("trace.twt");
    fs::write(&file, "precious").expect("writing a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("chmod");
    let run = |args: &[&str]| {
        let args = [&["--duration", "1.2"], args].concat();
        Recording::spawn(&mut record_to(&netns, &file, &args)).ended()
    };
    let refused = run(&[]);
    let said =
        format!("twtrace: {} exists: name another file, or --force to replace it", file.display());
    assert_eq!((refused.code, &refused.complaints[..]), (Some(2), &[said][..]));
    assert_eq!(fs::read_to_string(&file).expect("it is still there"), "precious");
    let done = run(&["--force"]);
    assert_eq!((done.code, &done.complaints[..]), (Some(0), &[][..]));
    report_is_end(&file);
    assert_eq!(file.metadata().expect("it is there").mode() & 0o7777, 0o600);
}

#[test]
fn a_link_is_not_followed() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let (link, target) = (place.file("link.twt"), place.file("target"));
    let run = |args: &[&str]| {
        let args = [&["--duration", "1.2"], args].concat();
        Recording::spawn(&mut record_to(&netns, &link, &args)).ended()
    };
    // One that leads nowhere, and one to a file that somebody needs.
    symlink(&target, &link).expect("a link");
    assert_eq!(run(&[]).code, Some(2));
    assert_eq!(place.names(), ["link.twt"], "nothing was made behind it");
    fs::write(&target, "precious").expect("writing a file");
    assert_eq!(run(&[]).code, Some(2));
    assert_eq!(run(&["--force"]).code, Some(0));
    assert_eq!(fs::read_to_string(&target).expect("it is still there"), "precious");
    assert!(!link.is_symlink(), "the link was replaced, not its target");
    report_is_end(&link);
}

#[test]
fn files_that_are_no_one_recording_are_told_apart() {
    let place = Place::new();
    let netns = PrivateNetns::new();
    let recording = Recording::on(&netns, &place.file("a.twt"), &[]);
    for next in ["a.1.twt", "a.2.twt"] {
        recording.signal(Signal::HUP);
        wait_for_next(&place.file(next));
    }
    recording.finish();
    Recording::on(&netns, &place.file("b.twt"), &[]).finish();
    let refused = |names: &[&str], why: &str| {
        let files: Vec<PathBuf> = names.iter().map(|name| place.file(name)).collect();
        let run = reading(&["report", "--json"], &files);
        assert_eq!((run.code, &run.stdout[..]), (Some(2), ""), "{names:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(run.stderr.contains(why), "{names:?}: {}", run.stderr);
    };
    refused(&["a.twt", "b.twt"], "are of two recordings: report each by itself");
    refused(&["a.2.twt", "a.twt"], "a part of the recording is missing (file 1)");
    refused(&["a.twt", "a.twt"], "are the same file of one recording");
    // The order on the command line does not matter, and the first need not be there.
    for names in [["a.2.twt", "a.1.twt"], ["a.1.twt", "a.2.twt"]] {
        report(&names.map(|name| place.file(name)));
    }
    let alone = report_is_end(&place.file("a.1.twt"));
    Exact::new(&alone, netns.inode()).time_wait(TimeWait::default());
}
