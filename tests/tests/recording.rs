//! A recording tells what a `top` beside it tells, what the kernel counts, and what really
//! happened; and its report is, to the last digit, the Snapshot of the live run.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::recording::{
    Place, Recording, Told, reading, record, record_to, report, report_is_end,
};
use twtrace_tests::scenario::{Pair, connect_refused, no_port_left};
use twtrace_tests::snapshot::{Exact, at, born, closer, missed, number, states};
use twtrace_tests::sockets;
use twtrace_tests::tool::{Run, Tool, program};
use twtrace_tests::traffic::{End, Family, Traffic};

/// What was seen of the traffic of [`everything`].
const CLIENTS: u64 = 300;
const SERVERS: u64 = 200;
const ABORTED: u64 = 50;
const REFUSED: u64 = 5;
const HALF_CLOSED: u64 = 7;

/// Closes by both ends, aborts, connects in vain, and mini-sockets in FIN_WAIT2; returns what
/// is still open.
fn everything(netns: &PrivateNetns) -> impl Sized + use<> {
    let opened = netns.run(|| {
        Traffic::closed_by(End::Client, CLIENTS).run();
        Traffic::closed_by(End::Server, SERVERS).run();
        Traffic::aborted(ABORTED).run();
        (0..REFUSED).for_each(|_| drop(connect_refused()));
        let listener = Family::V4.listen();
        let half_closed: Vec<_> = (0..HALF_CLOSED)
            .map(|_| Pair::open(&listener, Family::V4).close_client_alone())
            .collect();
        let (last, error) = no_port_left(netns, &listener);
        assert_eq!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL), "{error}");
        (listener, half_closed, last)
    });
    netns.wait_for_tw(CLIENTS + SERVERS + HALF_CLOSED);
    opened
}

/// Numbers of what has happened, none of which depends on when one looks.
const TOTALS: [&str; 13] = [
    "transitions.total",
    "closes.active",
    "closes.passive",
    "closes.reset",
    "closes.reset_local",
    "closes.reset_remote",
    "connects.ok",
    "connects.refused",
    "connects.no_port",
    "time_wait.born",
    "time_wait.now",
    "port_search.connect.count",
    "port_search.bind.count",
];

#[track_caller]
fn assert_same_totals(recorded: &Value, live: &Value) {
    let forgiven = missed(recorded) + missed(live);
    for path in TOTALS {
        let (recorded, live) = (number(recorded, path), number(live, path));
        let difference = recorded.abs_diff(live);
        assert!(difference <= forgiven, "{path}: {recorded} recorded, {live} beside it");
    }
}

#[test]
fn a_recording_tells_what_happened() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("trace.twt");
    let top = Tool::on(&netns, &[]);
    let recording = Recording::on(&netns, &file, &[]);
    let open = everything(&netns);
    let (kernel, sockets) = (netns.sockstat_tw(), sockets::states(&netns));
    let births = netns.netstat("TcpExt", "TW") + netns.netstat("TcpExt", "TWKilled");
    let done = recording.finish();
    let live = top.finish();
    let recorded = done.forgiving(report_is_end(&file));

    assert_same_totals(&recorded, &live);
    let exact = Exact::new(&recorded, netns.inode());
    let (active, reset) = (CLIENTS + SERVERS + HALF_CLOSED, ABORTED);
    exact.count("closes.active", active);
    exact.count("closes.passive", active);
    exact.count("closes.reset_local", reset);
    exact.count("closes.reset_remote", reset);
    let connected = CLIENTS + SERVERS + ABORTED + HALF_CLOSED + 1;
    exact.object("connects", &[("ok", connected), ("refused", REFUSED), ("no_port", 1)]);
    exact.time_wait(born(active));
    exact.count("fin_wait2.born", HALF_CLOSED);
    exact.reconciles();
    assert!(number(&recorded, "time_wait.now").abs_diff(kernel) <= exact.missed());
    assert!(number(&recorded, "time_wait.born").abs_diff(births) <= exact.missed());
    if exact.missed() == 0 {
        assert_eq!(states(&recorded), sockets, "as `ss` counted them");
    }
    let me = std::process::id();
    let row = closer(&recorded, me, netns.inode(), "client").expect("we closed first");
    let closed = at(row, "active_closes").as_u64().expect("a number");
    assert!(closed.abs_diff(CLIENTS + HALF_CLOSED) <= exact.missed(), "{row:#}");
    drop(open);
}

#[test]
fn the_last_line_tells_of_the_file() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("trace.twt");
    let recording = Recording::on(&netns, &file, &[]);
    netns.run(|| Traffic::closed_by(End::Client, 500).run());
    let before = recording.status();
    let done = recording.finish();
    let (summary, told) = (done.summary(), Told::of(&file));
    assert!(done.last_line.ends_with(" bytes"), "{}", done.last_line);
    assert_eq!(summary.events, told.ends[0].events);
    assert!(summary.events >= 5_000 - summary.missed.unwrap_or(0), "ten for each connection");
    assert_eq!(summary.ring_full, Some(0));
    assert_eq!(summary.missed, at(&told.snapshot(), "loss.missed").as_u64());
    assert_eq!(summary.bytes, file.metadata().expect("the file is there").len());
    assert!(before.seconds <= summary.seconds && before.bytes <= summary.bytes, "{before:?}");
}

#[test]
fn the_whole_host_is_recorded_with_every_namespace() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("trace.twt");
    let mut command = record(&["-o"]);
    let recording = Recording::launch(command.arg(&file));
    netns.run(|| Traffic::closed_by(End::Client, 200).run());
    let done = recording.finish();
    let recorded = done.forgiving(report_is_end(&file));
    let row = closer(&recorded, std::process::id(), netns.inode(), "client");
    let closed = row.expect("we are among all who closed")["active_closes"].as_u64();
    assert!(closed.is_some_and(|it| it.abs_diff(200) <= missed(&recorded)), "{row:#?}");
}

#[test]
fn what_nobody_traces_is_polled_and_recorded_all_the_same() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("trace.twt");
    let mut command = record_to(&netns, &file, &["--probes", "none", "--duration", "2.5"]);
    let recording = Recording::spawn(&mut command);
    netns.run(|| Traffic::closed_by(End::Client, 100).run());
    let done = recording.ended();
    assert_eq!((done.code, &done.complaints[..]), (Some(0), &[][..]));
    assert_eq!(done.summary().ring_full, None, "what is not counted is not 0");
    let recorded = report_is_end(&file);
    assert_eq!(number(&recorded, "time_wait.now"), 100);
    assert_eq!(recorded["closes"], Value::Null);
}

#[test]
fn either_signal_ends_it_cleanly() {
    for signal in [Signal::INT, Signal::TERM] {
        let (netns, place) = (PrivateNetns::new(), Place::new());
        let file = place.file("trace.twt");
        let recording = Recording::on(&netns, &file, &[]);
        netns.run(|| Traffic::closed_by(End::Server, 100).run());
        let done = recording.stop(signal);
        assert_eq!((done.code, &done.complaints[..]), (Some(0), &[][..]), "{signal:?}");
        let recorded = done.forgiving(report_is_end(&file));
        Exact::new(&recorded, netns.inode()).object("closes", &[("active", 100), ("passive", 100)]);
    }
}

#[test]
fn it_ends_after_the_time_that_was_asked_for() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("trace.twt");
    let done = Recording::spawn(&mut record_to(&netns, &file, &["--duration", "1500ms"])).ended();
    assert_eq!((done.code, &done.complaints[..]), (Some(0), &[][..]));
    assert!(done.summary().seconds >= 1.5, "{}", done.last_line);
    report_is_end(&file);
}

#[test]
fn it_ends_with_the_event_that_was_asked_for() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("trace.twt");
    let recording = Recording::on(&netns, &file, &["--max-events", "400"]);
    // Twelve or so of each: ten changes of state, a port, a mini-socket.
    netns.run(|| Traffic::closed_by(End::Client, 20).run());
    let before = recording.status().events;
    assert!(before < 400, "{before} events of 20 connections");
    netns.run(|| Traffic::closed_by(End::Client, 40).run());
    let done = recording.ended();
    assert_eq!((done.code, &done.complaints[..]), (Some(0), &[][..]));
    assert!(done.summary().events >= 400, "{}", done.last_line);
    report_is_end(&file);
}

#[test]
fn it_ends_when_a_connect_finds_no_port() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("trace.twt");
    let recording = Recording::on(&netns, &file, &["--until-exhausted"]);
    netns.run(|| {
        Traffic::closed_by(End::Client, 20).run();
        no_port_left(&netns, &Family::V4.listen());
    });
    let done = recording.ended();
    assert_eq!((done.code, &done.complaints[..]), (Some(0), &[][..]));
    let recorded = done.forgiving(report_is_end(&file));
    assert_eq!(number(&recorded, "connects.no_port"), 1);
    assert_eq!(number(&recorded, "port_search.connect.failed.EADDRNOTAVAIL"), 1);
}

#[test]
fn it_lasts_as_long_as_a_command_and_exits_as_that_does() {
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)] {
        let (netns, place) = (PrivateNetns::new(), Place::new());
        let file = place.file("trace.twt");
        let command = ["--", "sh", "-c", script];
        let done = Recording::spawn(&mut record_to(&netns, &file, &command)).ended();
        assert_eq!((done.code, &done.complaints[..]), (Some(code), &[][..]), "{script}");
        report_is_end(&file);
    }
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("trace.twt");
    let done = Recording::spawn(&mut record_to(&netns, &file, &["--", "no-such-command"])).ended();
    assert_eq!(done.code, Some(127));
    assert_eq!(done.complaints, ["twtrace: cannot run no-such-command: there is no such command"]);
    assert_eq!(place.names(), [""; 0], "nothing was begun");
}

#[test]
fn what_a_command_does_is_recorded() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("trace.twt");
    // Nobody listens there: each connect is refused.
    let script = "for i in 1 2 3; do (: </dev/tcp/127.0.0.1/1) 2>/dev/null; done; exit 0";
    let mut command = record_to(&netns, &file, &["--", "bash", "-c", script]);
    let child = netns.run(|| Recording::spawn(&mut command));
    let done = child.ended();
    assert_eq!((done.code, &done.complaints[..]), (Some(0), &[][..]));
    let recorded = done.forgiving(report_is_end(&file));
    Exact::new(&recorded, netns.inode()).object("connects", &[("refused", 3)]);
}

#[test]
fn a_recording_goes_through_a_pipe() {
    let netns = PrivateNetns::new();
    let mut command = record_to(&netns, "-".as_ref(), &[]);
    let mut recording = Recording::launch(command.stdout(Stdio::piped()));
    let output = recording.stdout();
    let report = std::thread::spawn(move || {
        let mut command = Command::new(program());
        command.args(["report", "--json", "-"]).stdin(output).stderr(Stdio::piped());
        command.stdout(Stdio::piped()).output().expect("running report")
    });
    netns.run(|| Traffic::closed_by(End::Client, 100).run());
    let done = recording.finish();
    let reported = report.join().expect("report ends with its input");
    let said = String::from_utf8_lossy(&reported.stderr).into_owned();
    assert_eq!((reported.status.code(), said.as_str()), (Some(0), ""));
    let reported = serde_json::from_slice(&reported.stdout).expect("one Snapshot");
    let reported = done.forgiving(reported);
    Exact::new(&reported, netns.inode()).object("closes", &[("active", 100), ("passive", 100)]);
}

#[test]
fn a_replay_shows_every_tick_as_fast_as_is_wanted() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("trace.twt");
    let recording = Recording::on(&netns, &file, &[]);
    netns.run(|| Traffic::closed_by(End::Client, 200).run());
    recording.wait_seconds(3.0);
    recording.finish();
    let ticks = Told::of(&file).ticks();
    let replay = |speed| {
        let start = Instant::now();
        let run = reading(
            &["top", "--batch", "--json", "--top", "50", "--speed", speed, "--replay"],
            &[&file],
        );
        assert_eq!((run.code, &run.stderr[..]), (Some(0), ""), "--speed {speed}");
        (run.snapshots(), start.elapsed())
    };
    let (at_once, _) = replay("max");
    assert_eq!(at_once.len(), ticks.len(), "a Snapshot each tick");
    assert_eq!(at_once.last(), Some(&report(&[&file])), "the last is what report tells");
    let (slowly, took) = replay("10");
    assert_eq!(slowly, at_once);
    let lasted = Duration::from_nanos(ticks[ticks.len() - 1] - ticks[0]);
    // The wall clock may be set a little meanwhile; the ticks came by another.
    assert!(took >= lasted.mul_f64(0.09), "{took:?} of {lasted:?}");
}

#[test]
fn a_stretch_of_a_recording_is_reported_by_itself() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("trace.twt");
    let recording = Recording::on(&netns, &file, &[]);
    netns.run(|| Traffic::closed_by(End::Client, 30).run());
    recording.wait_seconds(1.2);
    let between = recording.status().seconds;
    recording.wait_seconds(1.2);
    netns.run(|| Traffic::closed_by(End::Client, 50).run());
    recording.finish();
    let closes = |args: &[&str]| {
        let run: Run = reading(&[&["report", "--json"], args].concat(), &[&file]);
        assert_eq!((run.code, &run.stderr[..]), (Some(0), ""), "{args:?}");
        number(&run.snapshots()[0], "closes.active")
    };
    let whole = closes(&[]);
    let between = format!("{between}s");
    let [before, after] = [["--until", &between], ["--since", &between]].map(|args| closes(&args));
    assert_eq!(before + after, whole, "each close is in one of them");
    assert!(before >= 30 - (80 - whole) && after >= 50 - (80 - whole), "{before} and {after}");
}
