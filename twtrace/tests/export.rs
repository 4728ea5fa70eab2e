//! Exports say what the Snapshot says: in every format, of every fixture, sums over rows are its
//! totals.
//!
//! Files of all of them are left below `target/tmp/dataframes`, where `tests/dataframes/sums.py`
//! reads them with what people use.

mod common;

use std::{collections::BTreeMap, fs, io, path::Path};

use bytes::Bytes;
use common::{
    exported::{self, Row, TABLES, export, export_to, read, settings},
    fixture::{self, Fixture},
    kernel::{self, FENTRY, NETNS, PaperKernel, STARTED_NS, Seen, TP_BTF, Task, at, meta, tick},
    subset,
};
use serde_json::{Value, json};
use twtrace::{
    event::{SearchEvent, Tuple},
    export::{ExportError, Exporter, Format, Rows, Settings},
    frame::{Carried, Frame, MiniOf, ProcessFacts},
    pipeline::Pipeline,
    stats::snapshot::Snapshot,
    view::json,
};
use twtrace_common::{
    Search,
    TcpState::{self, Close, Established, SynRecv, SynSent},
};

#[test]
fn every_format_has_the_same_rows() {
    for (name, fixture) in small() {
        let (meta, frames) = (fixture.run().0, fixture.frames());
        for rows in [Rows::Events, Rows::Connections] {
            let mut known: Option<Vec<Row>> = None;
            for format in TABLES {
                let (bytes, summary) = export(&meta, &frames, of(&fixture, format, rows));
                let found = read(format, rows, &bytes);
                assert_eq!(found.len() as u64, summary.rows, "{name} {format:?} {rows:?}");
                let known = known.get_or_insert_with(|| found.clone());
                assert!(*known == found, "{name} {format:?} {rows:?} differs");
            }
        }
    }
}

#[test]
fn sums_over_connections_are_the_snapshots() {
    let mut wrong = Vec::new();
    for (name, fixture) in fixture::all() {
        let rows = rows_of(&fixture, Rows::Connections);
        let sums = connection_sums(&rows);
        compare(&name, &fixture.snapshot(), &sums, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn sums_over_events_are_the_snapshots() {
    let mut wrong = Vec::new();
    for (name, fixture) in small() {
        let rows = rows_of(&fixture, Rows::Events);
        let sums = event_sums(&rows);
        compare(&name, &fixture.snapshot(), &sums, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A recording that went on in another file: what is in the second one's counts is in its
/// rows, wherever the first one ended.
#[test]
fn sums_over_a_second_file_are_its_snapshots() {
    let mut wrong = Vec::new();
    for (name, fixture) in small() {
        let step = fixture.events().div_ceil(12).max(1);
        for after in (1..=fixture.events()).step_by(step) {
            let [first, second] = fixture.frames_in_two(&|_| true, after);
            let (meta, max_connections, rows) = fixture.run();
            let mut pipeline = Pipeline::new(meta, max_connections, rows);
            apply(&mut pipeline, &first);
            let Some(Frame::Tick { time_ns, .. }) = first.last() else { panic!("no tick") };
            let (meta, carried) = pipeline.checkpoint(*time_ns);
            if carried.iter().any(is_ambiguous) {
                continue;
            }
            let frames = [carried, second].concat();
            let mut pipeline = Pipeline::new(meta.clone(), max_connections, rows);
            let snapshot = apply(&mut pipeline, &frames).expect("it ends with a tick");
            let settings = of(&fixture, Format::Jsonl, Rows::Connections);
            let (bytes, _) = export(&meta, &frames, settings);
            let rows = read(Format::Jsonl, Rows::Connections, &bytes);
            let sums = connection_sums(&rows);
            compare(&format!("{name} after {after}"), &snapshot, &sums, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Ends whose record was lost in the first file, and mini-sockets born in it whose socket says
/// so in the second: the Snapshot has those lifetimes, although it does not have their births.
fn is_ambiguous(frame: &Frame) -> bool {
    match frame {
        Frame::Carried(Carried::Counts(counts)) => !counts.untold_ends.is_empty(),
        Frame::Carried(Carried::Minis(minis)) => {
            minis.iter().any(|mini| matches!(mini.of, MiniOf::Closing(_)))
        }
        _ => false,
    }
}

fn apply(pipeline: &mut Pipeline, frames: &[Frame]) -> Option<Snapshot> {
    let mut last = None;
    for frame in frames {
        last = pipeline.apply(frame).expect("fixtures are sound").or(last);
    }
    last
}

/// `sums` are parts of the Snapshot; where records were lost, they have less.
fn compare(name: &str, snapshot: &Snapshot, sums: &Value, wrong: &mut Vec<String>) {
    let line = json::line(snapshot).expect("a Snapshot can be written");
    let seen: Value = serde_json::from_str(&line).expect("it is JSON");
    if seen["loss"]["ring_full"] != json!(0) {
        return;
    }
    let known = known_in(sums, &seen);
    let found = subset::differences(&known, &seen);
    wrong.extend(found.into_iter().map(|found| format!("{name}: {found}")));
}

/// What the Snapshot knows: a tier that cannot tell is no difference.
fn known_in(sums: &Value, seen: &Value) -> Value {
    match sums {
        Value::Object(sums) => sums
            .iter()
            .filter(|(key, _)| !seen[key.as_str()].is_null())
            .map(|(key, sums)| (key.clone(), known_in(sums, &seen[key.as_str()])))
            .collect(),
        sums => sums.clone(),
    }
}

/// Those that are not there for the sake of their size.
fn small() -> impl Iterator<Item = (String, Fixture)> {
    fixture::all().into_iter().filter(|(_, fixture)| fixture.events() <= 20_000)
}

fn of(fixture: &Fixture, format: Format, rows: Rows) -> Settings {
    Settings { format, rows, max_connections: fixture.run().1 }
}

fn rows_of(fixture: &Fixture, rows: Rows) -> Vec<Row> {
    let (meta, frames) = (fixture.run().0, fixture.frames());
    let (bytes, _) = export(&meta, &frames, of(fixture, Format::Jsonl, rows));
    read(Format::Jsonl, rows, &bytes)
}

fn named(name: &str) -> Fixture {
    let found = fixture::all().into_iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("there is no fixture {name}")).1
}

fn count(rows: &[Row], is: impl Fn(&Row) -> bool) -> u64 {
    rows.iter().filter(|row| is(row)).count() as u64
}

fn equal<'a>(column: &'a str, word: &'a str) -> impl Fn(&Row) -> bool + 'a {
    move |row| row[column] == word
}

fn is_known(column: &str) -> impl Fn(&Row) -> bool + '_ {
    move |row| !row[column].is_null()
}

/// What sums over connections have to be, in the form of the Snapshot.
fn connection_sums(rows: &[Row]) -> Value {
    let closes = |word| count(rows, equal("first_fin", word));
    let connects = |word| count(rows, equal("connect", word));
    let born_in = |word| count(rows, |row| is_known("tw_born")(row) && row["tw_substate"] == word);
    let reset = closes("reset_local") + closes("reset_remote") + closes("reset_unexplained");
    json!({
        "closes": {
            "active": closes("active"), "passive": closes("passive"),
            "simultaneous": closes("simultaneous"), "reset": reset,
            "reset_local": closes("reset_local"), "reset_remote": closes("reset_remote"),
        },
        "connects": {
            "ok": connects("ok"), "refused": connects("refused"),
            "timed_out": connects("timed_out"), "no_port": connects("no_port"),
            "other": connects("other"),
        },
        "time_wait": {
            "born": count(rows, is_known("tw_born")),
            "ended": ends(rows, "tw_end"),
            "lifetime_s": distribution(rows, "lifetime_s"),
            "time_wait_s": distribution(rows, "time_wait_s"),
        },
        "fin_wait2": {"born": born_in("FIN_WAIT2")},
        "port_search": {"connect": {
            "count": count(rows, |row| row["searched"] == true),
            "latency_ns": distribution(rows, "search_latency_ns"),
        }},
    })
}

/// The same of events, as far as they say it one by one.
fn event_sums(rows: &[Row]) -> Value {
    let outcome = |word| count(rows, equal("outcome", word));
    let kind = |word| count(rows, equal("kind", word));
    let is_birth = |row: &Row| row["kind"] == "birth" && row["substate"] == "FIN_WAIT2";
    let mut pairs: BTreeMap<String, u64> = BTreeMap::new();
    for row in rows.iter().filter(|row| row["kind"] == "transition") {
        let state = |column| row[column].as_str().expect("it has two states");
        *pairs.entry(format!("{}>{}", state("old_state"), state("new_state"))).or_default() += 1;
    }
    json!({
        "closes": {
            "passive": outcome("close_passive"), "simultaneous": outcome("close_simultaneous"),
            "reset_local": outcome("reset_local"), "reset_remote": outcome("reset_remote"),
        },
        "connects": {
            "ok": outcome("connect_ok"), "refused": outcome("connect_refused"),
            "timed_out": outcome("connect_timed_out"), "no_port": outcome("connect_no_port"),
            "other": outcome("connect_other"),
        },
        "transitions": {"by_pair": pairs},
        "time_wait": {"born": kind("birth"), "ended": ends(rows, "end")},
        "fin_wait2": {"born": count(rows, is_birth)},
    })
}

/// Ends by cause; `unseen` where rows tell it.
fn ends(rows: &[Row], column: &str) -> Value {
    let by = |word| count(rows, equal(column, word));
    let mut ended = json!({
        "expired": by("expired"), "fin_wait2_timeout": by("fin_wait2_timeout"),
        "reused": by("reused") + by("reused_bound"), "reused_bound": by("reused_bound"),
        "replaced": by("replaced"), "reset": by("reset"), "rejected": by("rejected"),
        "aborted": by("aborted"), "purged": by("purged"), "other": by("other"),
    });
    if column == "tw_end" {
        ended["unseen"] = json!(by("unseen"));
    }
    ended
}

/// Count, smallest and greatest; the Snapshot's are cut to the microsecond.
fn distribution(rows: &[Row], column: &str) -> Value {
    let mut values: Vec<f64> = rows.iter().filter_map(|row| row[column].as_f64()).collect();
    values.sort_by(f64::total_cmp);
    json!({"count": values.len(), "min": values.first(), "max": values.last()})
}

/// What closers have, connections sum to by process and role.
#[test]
fn closers_are_sums_over_connections() {
    for (name, fixture) in small() {
        let snapshot = fixture.snapshot();
        let closers = snapshot.closers.expect("fixtures are traced");
        if closers.iter().any(|row| row.other) || snapshot.loss.is_some_and(|l| l.evicted > 0) {
            continue;
        }
        let rows = rows_of(&fixture, Rows::Connections);
        for closer in closers {
            let comm = closer.comm.as_deref().map_or(Value::Null, |comm| json!(comm));
            let start = closer.start_time.as_deref().map(|start| start.trim_end_matches('Z'));
            let is_its = |row: &&Row| {
                row["closer_pid"] == json!(closer.pid)
                    && row["closer_comm"] == comm
                    && row["netns"] == json!(closer.netns)
                    && row["role"] == json!(closer.role)
                    && start.is_none_or(|start| {
                        row["closer_start_time"].as_str().is_some_and(|s| s.starts_with(start))
                    })
            };
            let its: Vec<Row> = rows.iter().filter(is_its).cloned().collect();
            let active = count(&its, equal("first_fin", "active"));
            assert_eq!(active, closer.active_closes, "{name} {comm}");
            let resets = count(&its, equal("first_fin", "reset_local"));
            assert_eq!(Some(resets), closer.resets.or(Some(resets)), "{name} {comm}");
        }
    }
}

#[test]
fn a_connection_is_one_row_for_each_of_its_ends() {
    let rows = rows_of(&named("01-client-closes-first"), Rows::Connections);
    let start = 1_767_225_600_000_000_000;
    let client = rows.iter().find(|row| row["role"] == "client").expect("there is a client");
    let expected = json!({
        "opened": exported::time(start), "established": exported::time(start),
        "first_fin": "active", "first_fin_time": exported::time(start + 10_000_000),
        "closed": exported::time(start + 11_000_000), "duration_s": 0.011,
        "written": "alive", "seeded": false, "netns": NETNS,
        "sk": "0xffff888000000000", "tw": "0xffff888100000000",
        "laddr": "127.0.0.1", "lport": 40_000, "raddr": "127.0.0.2", "rport": 80,
        "state": "CLOSE", "connect": "ok", "error": 0, "error_name": null,
        "searched": true, "search_latency_ns": 4_000, "search_tried": null,
        "owner_pid": 100, "owner_comm": "curl", "closer_pid": 100, "closer_comm": "curl",
        // The host was suspended for an hour since it was started.
        "closer_start_time": "2025-12-31T22:43:21.000000000Z",
        "tw_born": exported::time(start + 11_000_000), "tw_substate": "TIME_WAIT",
        "tw_time_wait": exported::time(start + 11_000_000), "tw_refused": false,
        "tw_ended": null, "tw_end": null, "lifetime_s": null,
    });
    let found = subset::differences(&expected, &Value::Object(client.clone()));
    assert!(found.is_empty(), "{}", found.join("\n"));
    let server = rows.iter().find(|row| row["role"] == "server").expect("there is a server");
    let expected = json!({
        "first_fin": "passive", "closed": exported::time(start + 11_000_000),
        "written": "over", "connect": null, "searched": false, "owner_pid": null,
        "closer_pid": 200, "closer_comm": "nginx", "tw": null, "tw_born": null,
        "tw_refused": null, "laddr": "127.0.0.2", "lport": 80,
    });
    let found = subset::differences(&expected, &Value::Object(server.clone()));
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_eq!(rows.len(), 2);
}

#[test]
fn ends_that_come_early_or_late_find_their_connection() {
    let early = rows_of(&named("41-end-before-the-claim"), Rows::Connections);
    assert_eq!(early.len(), 1);
    let expected = json!({"closer_pid": 100, "tw_end": "reset", "lifetime_s": 0.0005});
    assert_eq!(subset::differences(&expected, &json!(early[0])), Vec::<String>::new());

    let late = rows_of(&named("58-late-other"), Rows::Connections);
    assert_eq!(late.len(), 2);
    let first = late.iter().find(|row| row["lport"] == 40_000).expect("it is there");
    let expected = json!({"tw_end": "other", "lifetime_s": null, "written": "over"});
    assert_eq!(subset::differences(&expected, &json!(first)), Vec::<String>::new());

    let seeded = rows_of(&named("37-seeded-mini-ends"), Rows::Connections);
    for row in seeded.iter().filter(|row| row["seeded"] == true) {
        assert_eq!((&row["opened"], &row["tw_born"]), (&Value::Null, &Value::Null));
    }
    assert!(seeded.iter().any(|row| row["seeded"] == true));
}

/// An address that another socket got: what had it must be gone.
#[test]
fn a_socket_whose_address_is_anothers_is_lost() {
    let mut kernel = PaperKernel::new(TP_BTF);
    for port in [1, 2] {
        step(&mut kernel, (Close, SynSent), port, None);
        step(&mut kernel, (SynSent, Established), port, None);
    }
    let frames = [kernel.records(), tick(9.0)];
    let (bytes, _) = export(&meta(TP_BTF), &frames, settings(Format::Jsonl, Rows::Connections));
    let rows = read(Format::Jsonl, Rows::Connections, &bytes);
    let told: Vec<_> = rows.iter().map(|row| (&row["lport"], &row["written"])).collect();
    assert_eq!(told, [(&json!(1), &json!("lost")), (&json!(2), &json!("alive"))]);
}

#[test]
fn what_finds_no_room_is_written_as_it_is() {
    let mut kernel = PaperKernel::new(TP_BTF);
    for port in 1..=10 {
        let sk = u64::from(port) << 12;
        transition(&mut kernel, sk, (SynRecv, Established), port, None);
    }
    let frames = [kernel.records(), tick(9.0)];
    let settings = Settings { max_connections: 3, ..settings(Format::Jsonl, Rows::Connections) };
    let (bytes, summary) = export(&meta(TP_BTF), &frames, settings);
    let rows = read(Format::Jsonl, Rows::Connections, &bytes);
    assert_eq!((rows.len(), summary.evicted), (10, 7));
    assert_eq!(count(&rows, equal("written", "evicted")), 7);
}

#[test]
fn names_that_attack_their_reader_are_text() {
    let names: [&[u8]; 7] =
        [b"=cmd|' /C calc'!A", b"+1+1", b"-2", b"@SUM(A1)", b"a\"b,c", b"\x1b[2J\n", b"\xff\xfe"];
    let mut kernel = PaperKernel::new(TP_BTF);
    let mut places = Vec::new();
    for (at, name) in names.into_iter().enumerate() {
        let task = Task::new(100 + at as u32, 1, &name[..name.len().min(16)]);
        step(&mut kernel, (Close, SynSent), 1 + at as u16, Some(task));
        let cgroup = Some("/a,\"b\"\n=1/\u{1F980}".to_owned());
        places.push(ProcessFacts { key: task.key, cgroup, container: Some("=1".to_owned()) });
    }
    let frames = [kernel.records(), Frame::Processes(places), tick(9.0)];
    for rows in [Rows::Events, Rows::Connections] {
        let tables = TABLES.map(|format| {
            let (bytes, _) = export(&meta(TP_BTF), &frames, settings(format, rows));
            (read(format, rows, &bytes), bytes)
        });
        let comm = if rows == Rows::Events { "comm" } else { "owner_comm" };
        let seen = |row: &Row| row[comm].as_str().map(str::to_owned);
        let seen: Vec<String> = tables[0].0.iter().filter_map(seen).collect();
        assert!(seen.contains(&"=cmd|' /C calc'!".to_owned()), "{seen:?}");
        assert!(seen.contains(&"\u{fffd}[2J\u{fffd}".to_owned()), "{seen:?}");
        for (table, _) in &tables {
            assert_eq!(table, &tables[0].0);
        }
        let csv = exported::csv(std::str::from_utf8(&tables[2].1).expect("it is text"));
        for field in csv.iter().flatten().flatten() {
            assert!(!field.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']), "{field}");
        }
    }
    let (timeline, _) = export(&meta(TP_BTF), &frames, settings(Format::Perfetto, Rows::Events));
    let timeline: Value = serde_json::from_slice(&timeline).expect("it is JSON");
    assert!(timeline["traceEvents"].as_array().is_some_and(|entries| !entries.is_empty()));
}

#[test]
fn an_empty_recording_is_a_valid_file() {
    for rows in [Rows::Events, Rows::Connections] {
        for format in TABLES {
            let (bytes, summary) = export(&meta(TP_BTF), &[], settings(format, rows));
            assert_eq!(read(format, rows, &bytes), Vec::<Row>::new(), "{format:?}");
            assert_eq!(summary.rows, 0);
        }
    }
    let (bytes, _) = export(&meta(TP_BTF), &[], settings(Format::Perfetto, Rows::Events));
    let timeline: Value = serde_json::from_slice(&bytes).expect("it is JSON");
    assert_eq!(timeline["traceEvents"], json!([]));
}

/// The wall clock is known at ticks; a host that was suspended has no other way to tell.
#[test]
fn times_are_told_by_ticks() {
    let records = |kernel: &mut PaperKernel, port| {
        step(kernel, (Close, SynSent), port, None);
        kernel.records()
    };
    let mut kernel = PaperKernel::new(TP_BTF);
    let first = records(&mut kernel, 1);
    let Frame::Tick { time_ns, wall_ns } = tick(0.0) else { panic!("it is a tick") };
    // An hour of sleep between the first tick and the second.
    let later = Frame::Tick { time_ns: time_ns + 1, wall_ns: wall_ns + 3_600_000_000_001 };
    let frames = [first, tick(0.0), later, records(&mut kernel, 2)];
    let (bytes, _) = export(&meta(TP_BTF), &frames, settings(Format::Jsonl, Rows::Events));
    let rows = read(Format::Jsonl, Rows::Events, &bytes);
    assert_eq!(rows[0]["time"], "2026-01-01T00:00:01.000000000Z");
    assert_eq!(rows[1]["time"], "2026-01-01T01:00:02.000000000Z");

    // Without a tick: as if the host had never slept. This one did, for an hour.
    let frames = [records(&mut kernel, 3)];
    let (bytes, _) = export(&meta(TP_BTF), &frames, settings(Format::Jsonl, Rows::Events));
    let rows = read(Format::Jsonl, Rows::Events, &bytes);
    assert_eq!(rows[0]["time"], "2025-12-31T23:00:03.000000000Z");
}

#[test]
fn damage_is_told_and_the_rest_is_written() {
    let mut kernel = PaperKernel::new(TP_BTF);
    step(&mut kernel, (Close, SynSent), 1, None);
    let Frame::Records(sound) = kernel.records() else { panic!("they are records") };
    let damaged = Frame::Records(Bytes::from([&sound[..], &[99; 80], &sound[..]].concat()));
    for format in [Format::Jsonl, Format::Parquet, Format::Perfetto] {
        for ticks_first in [false, true] {
            let mut bytes = Vec::new();
            let settings = settings(format, Rows::Events);
            let mut exporter =
                Exporter::new(&meta(TP_BTF), settings, &mut bytes).expect("memory takes it");
            if ticks_first {
                exporter.frame(&tick(0.0)).expect("a tick is sound");
            }
            let told = exporter.frame(&damaged);
            let later = exporter.frame(&Frame::Records(sound.clone()));
            let finished = exporter.finish();
            let results = [told, later, finished.map(|_| ())];
            let damage =
                |result: &&Result<(), ExportError>| matches!(result, Err(ExportError::Decode(_)));
            assert_eq!(results.iter().filter(damage).count(), 1, "{results:?}");
            assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
            if format == Format::Perfetto {
                serde_json::from_slice::<Value>(&bytes).expect("it is complete");
            } else {
                assert_eq!(read(format, Rows::Events, &bytes).len(), 2);
            }
        }
    }
}

/// A reader that went away is told as such, so that the command can end in peace.
#[test]
fn a_reader_that_is_gone_is_told() {
    struct Gone;
    impl io::Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    let mut kernel = PaperKernel::new(TP_BTF);
    step(&mut kernel, (Close, SynSent), 1, None);
    let frames = [kernel.records(), tick(1.0)];
    for format in TABLES.into_iter().chain([Format::Perfetto]) {
        let told = export_to(&meta(TP_BTF), &frames, settings(format, Rows::Events), Gone);
        let is_gone = matches!(
            &told,
            Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe
        );
        assert!(is_gone, "{format:?}: {told:?}");
    }
}

#[test]
fn timelines_are_sound() {
    for (name, fixture) in small() {
        let (meta, frames) = (fixture.run().0, fixture.frames());
        let (bytes, summary) = export(&meta, &frames, of(&fixture, Format::Perfetto, Rows::Events));
        let timeline: Value = serde_json::from_slice(&bytes).expect("it is JSON");
        let entries = timeline["traceEvents"].as_array().expect("it has entries");
        assert_eq!(entries.len() as u64, summary.rows);
        assert_nested(&name, entries);
        assert_lanes_are_free(&name, entries);
        let snapshot = fixture.snapshot();
        let now = snapshot.time_wait.and_then(|time_wait| time_wait.now);
        let counter = entries.iter().rev().find(|entry| entry["name"] == "time_wait");
        assert_eq!(counter.and_then(|entry| entry["args"]["now"].as_u64()), now, "{name}");
    }
}

#[test]
fn a_timeline_tells_what_ended_a_time_wait() {
    let entries = timeline(&named("06-port-reused"));
    // The server's end comes first: it leaves no mini-socket.
    let phases: Vec<_> = entries
        .iter()
        .filter(|entry| entry["ph"] == "b" && entry["id"] == "0x2")
        .map(|entry| entry["name"].as_str().expect("it has a name"))
        .collect();
    assert_eq!(phases, ["127.0.0.2 80", "established", "closing", "TIME_WAIT: reused"]);
    let is_name = |entry: &&Value| entry["name"] == "process_name" && entry["pid"] == 100;
    let names: Vec<_> = entries.iter().filter(is_name).collect();
    assert_eq!(names.len(), 1, "each process is introduced once");
    assert_eq!(names[0]["args"]["name"], "curl");
}

/// Two threads of one process search at the same time.
#[test]
fn searches_at_one_time_have_lanes() {
    let mut kernel = PaperKernel::new(FENTRY);
    let task = Task::new(100, 1, b"curl");
    for (end_ns, latency_ns) in [(5_000, 4_000), (6_000, 3_000), (9_000, 2_000)] {
        let search = SearchEvent {
            sk: end_ns,
            error: 99,
            ..kernel::bound(NETNS, Search::Connect, latency_ns, task.key)
        };
        kernel.search(STARTED_NS + end_ns, 0, &search, &task);
    }
    let frames = [kernel.records(), tick(1.0)];
    let (bytes, _) = export(&meta(FENTRY), &frames, settings(Format::Perfetto, Rows::Connections));
    let entries = traced(&bytes);
    assert_lanes_are_free("lanes", &entries);
    let slices: Vec<_> = entries.iter().filter(|entry| entry["ph"] == "X").collect();
    let told: Vec<_> = slices.iter().map(|slice| (&slice["ts"], &slice["dur"])).collect();
    let expected = [(json!(1.0), json!(4.0)), (json!(3.0), json!(3.0)), (json!(7.0), json!(2.0))];
    assert_eq!(told, expected.iter().map(|(ts, dur)| (ts, dur)).collect::<Vec<_>>());
    assert_eq!(slices[0]["args"]["error"], "EADDRNOTAVAIL");
    assert_ne!(slices[0]["tid"], slices[1]["tid"]);
    assert_eq!(slices[0]["tid"], slices[2]["tid"], "it is free again");
}

fn timeline(fixture: &Fixture) -> Vec<Value> {
    let (meta, frames) = (fixture.run().0, fixture.frames());
    traced(&export(&meta, &frames, of(fixture, Format::Perfetto, Rows::Events)).0)
}

fn traced(bytes: &[u8]) -> Vec<Value> {
    let timeline: Value = serde_json::from_slice(bytes).expect("it is JSON");
    timeline["traceEvents"].as_array().expect("it has entries").clone()
}

/// Slices of one connection end in the reverse order of their beginnings.
fn assert_nested(name: &str, entries: &[Value]) {
    let mut open: BTreeMap<&str, Vec<(String, f64)>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry["cat"] == "connection") {
        let at = entry["ts"].as_f64().expect("it has a time");
        let slices = open.entry(entry["id"].as_str().expect("it has an id")).or_default();
        let slice = entry["name"].as_str().expect("it has a name").to_owned();
        if entry["ph"] == "b" {
            assert!(slices.last().is_none_or(|(_, since)| *since <= at), "{name} {entry}");
            slices.push((slice, at));
        } else {
            let (begun, since) = slices.pop().expect("it has begun");
            assert_eq!(begun, slice, "{name}");
            assert!(since <= at, "{name} {entry}");
        }
    }
    assert!(open.values().all(Vec::is_empty), "{name}: {open:?}");
}

/// Slices of one lane do not overlap.
fn assert_lanes_are_free(name: &str, entries: &[Value]) {
    let mut busy: BTreeMap<u64, f64> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry["ph"] == "X") {
        let number = |key: &str| entry[key].as_f64().expect("it is a number");
        let until = busy.entry(entry["tid"].as_u64().expect("it has a lane")).or_insert(0.0);
        assert!(*until <= number("ts"), "{name} {entry}");
        *until = number("ts") + number("dur");
    }
}

/// Every column is described, as the source has it. `UPDATE_GOLDEN=1` rewrites the tables.
#[test]
fn every_column_is_in_the_documentation() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/export.md");
    let text = fs::read_to_string(&path).expect("docs/export.md is there");
    let mut wanted = text.clone();
    for rows in [Rows::Events, Rows::Connections] {
        let begin = format!("<!-- columns of {} -->\n", rows.name());
        let start = wanted.find(&begin).expect("the table has its place") + begin.len();
        let end = start + wanted[start..].find("<!-- end -->").expect("and an end");
        wanted.replace_range(start..end, &documented(rows));
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &wanted).expect("docs can be written");
    } else {
        assert!(wanted == text, "docs/export.md is old: UPDATE_GOLDEN=1 rewrites its tables");
    }
}

fn documented(rows: Rows) -> String {
    let mut table =
        "| column | type | unit | meaning | null when |\n|---|---|---|---|---|\n".to_owned();
    for column in rows.columns() {
        let cells = [column.kind.name(), column.unit, column.meaning, column.null];
        assert!(cells.iter().all(|cell| !cell.contains('|')), "{}", column.name);
        table += &format!("| `{}` | {} |\n", column.name, cells.join(" | "));
    }
    table
}

#[test]
fn columns_are_well_named() {
    for rows in [Rows::Events, Rows::Connections] {
        let mut names: Vec<&str> = rows.columns().iter().map(|column| column.name).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before, "a name is there twice");
        let is_plain = |name: &&str| {
            name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        assert!(names.iter().all(is_plain), "{names:?}");
    }
}

/// What `tests/dataframes/sums.py` reads; of the large one what is made in batches.
#[test]
fn files_for_dataframes() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dataframes");
    for (name, fixture) in fixture::all() {
        let snapshot = fixture.snapshot();
        if snapshot.loss.as_ref().is_none_or(|loss| loss.ring_full > 0) {
            continue;
        }
        let folder = root.join(name);
        fs::create_dir_all(&folder).expect("there is room");
        let report = json::line(&snapshot).expect("a Snapshot can be written");
        fs::write(folder.join("report.json"), report).expect("there is room");
        let formats = if fixture.events() > 20_000 { &TABLES[..2] } else { &TABLES };
        let (meta, frames) = (fixture.run().0, fixture.frames());
        for rows in [Rows::Events, Rows::Connections] {
            for format in formats {
                let (bytes, _) = export(&meta, &frames, of(&fixture, *format, rows));
                let file = format!("{}.{}", rows.name(), exported::extension(*format));
                fs::write(folder.join(file), bytes).expect("there is room");
            }
        }
        if fixture.events() <= 20_000 {
            let (bytes, _) = export(&meta, &frames, of(&fixture, Format::Perfetto, Rows::Events));
            fs::write(folder.join("timeline.json"), bytes).expect("there is room");
        }
    }
}

/// A transition of the only socket there is, `port` seconds after the start.
fn step(kernel: &mut PaperKernel, pair: (TcpState, TcpState), port: u16, task: Option<Task>) {
    transition(kernel, 0xffff_8880_0000_0000, pair, port, task);
}

fn transition(
    kernel: &mut PaperKernel,
    sk: u64,
    (old, new): (TcpState, TcpState),
    port: u16,
    current: Option<Task>,
) {
    kernel.transition(&Seen {
        time_ns: at(f64::from(port)),
        sk,
        netns: NETNS,
        old,
        new,
        tuple: Tuple { lport: port, ..fixture::tuple("10.0.0.1:0", "10.0.0.2:80") },
        locked: current.is_some(),
        error: 0,
        shutdown: 0,
        own_range: None,
        current,
        ring_full: false,
    });
}
