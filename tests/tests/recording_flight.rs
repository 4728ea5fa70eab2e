//! The flight recorder: the last seconds are kept, and written out when something happens.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::recording::{Place, Recording, Told, record_to, report_is_end, wait_for_end};
use twtrace_tests::scenario::{Pair, no_port_left};
use twtrace_tests::snapshot::{Exact, missed, number};
use twtrace_tests::traffic::{End, Family, Traffic};

/// Keeps the last seconds of `netns`, so many.
#[track_caller]
fn keep(seconds: &str, netns: &PrivateNetns, file: &Path) -> Recording {
    Recording::on(netns, file, &["--flight", seconds])
}

/// Waits for the file, and checks it.
#[track_caller]
fn written_out(file: &Path) -> Value {
    wait_for_end(file);
    report_is_end(file)
}

#[test]
fn the_time_before_a_signal_is_written_out_and_what_came_long_before_is_not() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("flight.twt");
    let recording = keep("2", &netns, &file);
    netns.run(|| Traffic::closed_by(End::Client, 100).run());
    netns.wait_for_tw(100);
    // Two seconds are kept, and up to two more, which begin with a part of their own.
    recording.wait_seconds(5.0);
    assert_eq!(place.names(), [""; 0], "what is kept has no name");
    netns.run(|| Traffic::closed_by(End::Client, 50).run());
    netns.wait_for_tw(150);
    recording.signal(Signal::USR2);
    recording.wait_to_hear("writing the flight trace: SIGUSR2");
    let snapshot = written_out(&file);
    let forgiven = missed(&snapshot);
    let (closed, alive) = (number(&snapshot, "closes.active"), number(&snapshot, "time_wait.now"));
    assert!(closed.abs_diff(50) <= forgiven, "{closed} closes of the last two seconds");
    assert!(alive.abs_diff(150) <= forgiven, "{alive}: those of before live on");
    let ticks = Told::of(&file).ticks();
    let seconds = (ticks[ticks.len() - 1] - ticks[0]) as f64 / 1e9;
    assert!((1.0..=4.5).contains(&seconds), "{seconds} s of 2 that were to be kept");
    let done = recording.stop(Signal::INT);
    assert_eq!(done.code, Some(0));
    assert_eq!(place.names(), ["flight.twt"], "it is written once");
}

#[test]
fn every_signal_writes_another_file() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let files = [place.file("flight.twt"), place.file("flight.1.twt")];
    let recording = keep("60", &netns, &files[0]);
    for (file, closes) in files.iter().zip([10, 20]) {
        netns.run(|| Traffic::closed_by(End::Client, 10).run());
        recording.signal(Signal::USR2);
        let snapshot = written_out(file);
        Exact::new(&snapshot, netns.inode()).count("closes.active", closes);
    }
    let done = recording.stop(Signal::TERM);
    assert_eq!(done.code, Some(0));
    let bytes: u64 = files.iter().map(|file| file.metadata().expect("it is there").len()).sum();
    assert_eq!(done.summary().bytes, bytes, "what was written, not what was kept");
}

#[test]
fn the_time_before_the_ports_ran_out_is_written_out() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("flight.twt");
    let recording = keep("60", &netns, &file);
    netns.run(|| Traffic::closed_by(End::Client, 30).run());
    recording.wait_seconds(1.2);
    assert_eq!(place.names(), [""; 0], "nothing has happened yet");
    let _open = netns.run(|| {
        let listener = Family::V4.listen();
        no_port_left(&netns, &listener)
    });
    let snapshot = written_out(&file);
    let exact = Exact::new(&snapshot, netns.inode());
    exact.count("closes.active", 30);
    exact.object("connects", &[("ok", 31), ("no_port", 1)]);
    assert_eq!(recording.stop(Signal::INT).code, Some(0));
    assert_eq!(place.names(), ["flight.twt"], "it is written once");
}

#[test]
fn the_time_before_the_knee_is_written_out() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    netns.sysctl_set("net.ipv4.ip_local_port_range", "40000 40019");
    let file = place.file("flight.twt");
    let recording = keep("60", &netns, &file);
    let (listener, mut pairs) = netns.run(|| {
        let listener = Family::V4.listen_on(80);
        let pairs: Vec<_> = (0..9).map(|_| Pair::open(&listener, Family::V4)).collect();
        (listener, pairs)
    });
    recording.wait_seconds(1.2);
    assert_eq!(place.names(), [""; 0], "9 of 20 ports are less than half");
    netns.run(|| pairs.extend((0..2).map(|_| Pair::open(&listener, Family::V4))));
    recording.wait_to_hear("a destination is past the knee");
    let snapshot = written_out(&file);
    let rows = snapshot["destinations"].as_array().expect("they are known");
    let row = rows.iter().find(|row| row["rport"] == 80).expect("there is a row");
    let used = row["ports_used"].as_u64().expect("a number");
    assert!(used.abs_diff(11) <= missed(&snapshot), "{row:#}");
    assert_eq!(recording.stop(Signal::INT).code, Some(0));
    drop(pairs);
}

#[test]
fn nothing_is_left_of_what_was_kept() {
    for signal in [Signal::INT, Signal::KILL] {
        let (netns, place) = (PrivateNetns::new(), Place::new());
        let file = place.file("flight.twt");
        let recording = keep("10", &netns, &file);
        netns.run(|| Traffic::closed_by(End::Client, 100).run());
        recording.wait_seconds(2.2);
        let done = recording.stop(signal);
        assert_eq!(place.names(), [""; 0], "{signal:?}");
        if signal == Signal::INT {
            let [said] = &done.complaints[..] else { panic!("{:?}", done.complaints) };
            assert!(said.starts_with("twtrace: no flight trace was written: "), "{said}");
            assert_eq!(done.summary().bytes, 0);
        }
    }
}

#[test]
fn a_file_that_exists_is_refused_before_anything_is_kept() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("flight.twt");
    std::fs::write(&file, "precious").expect("writing a file");
    let done = Recording::spawn(&mut record_to(&netns, &file, &["--flight", "10"])).ended();
    assert_eq!(done.code, Some(2));
    let [said] = &done.complaints[..] else { panic!("{:?}", done.complaints) };
    assert!(said.ends_with("exists: name another file, or --force to replace it"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).expect("it is still there"), "precious");
}

#[test]
fn a_trace_that_cannot_be_written_out_is_said_and_fails_the_run() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("flight.twt");
    let recording = keep("10", &netns, &file);
    std::fs::create_dir(&file).expect("a directory in its place");
    recording.signal(Signal::USR2);
    recording.wait_to_hear("the flight trace was not written: ");
    // It goes on, and writes the next one.
    netns.run(|| Traffic::closed_by(End::Client, 10).run());
    recording.signal(Signal::USR2);
    let snapshot = written_out(&place.file("flight.1.twt"));
    Exact::new(&snapshot, netns.inode()).count("closes.active", 10);
    assert_eq!(recording.stop(Signal::INT).code, Some(2));
}
