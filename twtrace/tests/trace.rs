//! Trace files: what is written is read, and what is damaged is named and costs nothing else.

mod common;

use common::{
    fixture::{self, Fixture},
    subset,
};
use serde_json::Value;
use twtrace::{
    frame::Frame,
    pipeline::Pipeline,
    stats::snapshot::{SCHEMA, Snapshot},
    trace::{Damage, End, FileError, FileMeta, Found, Reader, Recording, Writer},
};

fn meta_of(fixture: &Fixture) -> FileMeta {
    let (run, max_connections, rows) = fixture.run();
    FileMeta {
        tool: "twtrace test".to_owned(),
        schema: SCHEMA,
        recording: Recording { id: "0123".to_owned(), file: 0 },
        run,
        max_connections,
        rows,
        netns: None,
    }
}

fn json(snapshot: &Snapshot) -> Value {
    serde_json::to_value(snapshot).expect("a Snapshot can be written")
}

/// A pipeline that has seen `frames`, and its last Snapshot.
fn run(meta: &FileMeta, frames: &[Frame]) -> (Pipeline, Option<Value>) {
    let mut pipeline = Pipeline::new(meta.run.clone(), meta.max_connections, meta.rows);
    let mut last = None;
    for frame in frames {
        last = pipeline.apply(frame).expect("sound frames").map(|it| json(&it)).or(last);
    }
    (pipeline, last)
}

fn written(meta: &FileMeta, frames: &[Frame], snapshot: Option<Value>) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), meta).expect("memory can be written");
    frames.iter().for_each(|frame| writer.frame(frame).expect("memory can be written"));
    let events = writer.events();
    writer.end(&End { snapshot, events, goes_on: false }).expect("memory can be written")
}

/// What was read of a file.
#[derive(Debug, Default)]
struct Told {
    meta: Option<FileMeta>,
    frames: Vec<Frame>,
    end: Option<End>,
    damages: Vec<Damage>,
}

fn read(file: &[u8]) -> Result<Told, FileError> {
    let mut reader = Reader::new(file)?;
    let mut told = Told::default();
    while let Some(found) = reader.next()? {
        match found {
            Found::File(meta) => told.meta = Some(*meta),
            Found::Frame(frame) => told.frames.push(frame),
            Found::End(end) => told.end = Some(*end),
            Found::Damage(damage) => told.damages.push(damage),
            Found::Unknown(unknown) => panic!("no such frame was written: {unknown:?}"),
        }
    }
    Ok(told)
}

/// A small recording with frames of many types.
fn small() -> (FileMeta, Vec<Frame>, Vec<u8>) {
    let (_, fixture) = fixture::all().into_iter().find(|(name, _)| name.starts_with("33")).unwrap();
    let meta = meta_of(&fixture);
    let frames = fixture.frames();
    let (_, snapshot) = run(&meta, &frames);
    let file = written(&meta, &frames, snapshot);
    (meta, frames, file)
}

#[test]
fn every_fixture_replays_to_the_snapshot_of_the_live_run() {
    for (name, fixture) in fixture::all() {
        let meta = meta_of(&fixture);
        let frames = fixture.frames();
        let (_, live) = run(&meta, &frames);
        let told = read(&written(&meta, &frames, live.clone())).expect("it is sound");
        assert_eq!(told.damages, [], "{name}");
        assert_eq!(told.meta.as_ref(), Some(&meta), "{name}");
        let (_, replayed) = run(&meta, &told.frames);
        let end = told.end.and_then(|end| end.snapshot);
        assert_same(&name, &replayed.unwrap(), live.as_ref().unwrap());
        assert_same(&name, &end.unwrap(), &live.unwrap());
    }
}

/// Every fixture, cut in two at every event: the second file, with what the first one
/// carried over, gives the live run's Snapshot, and what is there now is what it is without
/// the cut.
#[test]
fn a_second_file_stands_alone_wherever_the_first_one_ends() {
    let mut cuts = 0;
    for (name, fixture) in fixture::all() {
        let meta = meta_of(&fixture);
        let (_, whole) = run(&meta, &fixture.frames());
        // Long repetitions say nothing new at every one of their events.
        let cuts_wanted = if fixture.events() > 200 { 3 } else { 40 };
        let step = fixture.events().div_ceil(cuts_wanted).max(1);
        for after in (1..=fixture.events()).step_by(step) {
            cuts += 1;
            let name = format!("{name} after {after}");
            let [first, second] = fixture.frames_in_two(&|_| true, after);
            let (pipeline, _) = run(&meta, &first);
            let Some(Frame::Tick { time_ns, .. }) = first.last() else { panic!("no tick") };
            let (next, carried) = pipeline.checkpoint(*time_ns);
            let next = FileMeta { run: next, ..meta.clone() };
            let frames = [carried, second].concat();
            let (_, live) = run(&next, &frames);
            let told = read(&written(&next, &frames, live.clone())).expect("it is sound");
            assert_eq!(told.damages, [], "{name}");
            let (_, replayed) = run(told.meta.as_ref().expect("META"), &told.frames);
            assert_same(&name, replayed.as_ref().unwrap(), live.as_ref().unwrap());
            assert_same_now(&name, &whole, &live);
        }
    }
    assert!(cuts > 300, "only {cuts} cuts");
}

/// The same, field by field.
fn assert_same(name: &str, seen: &Value, wanted: &Value) {
    let mut differences = subset::differences(wanted, seen);
    differences.extend(subset::differences(seen, wanted));
    assert!(differences.is_empty(), "{name}: {}", differences.join("\n"));
    assert_eq!(seen, wanted, "{name}: to the last digit");
}

/// What is about now, and not about what happened, does not depend on where a file began.
fn assert_same_now(name: &str, whole: &Option<Value>, second: &Option<Value>) {
    let now = |snapshot: &Option<Value>| {
        let snapshot = snapshot.as_ref().expect("there was a tick");
        let rows = |array: &str, keys: &[&str]| -> Vec<String> {
            let rows = snapshot[array].as_array().cloned().unwrap_or_default();
            let row = |row: &Value| keys.iter().map(|key| row[key].to_string()).collect::<Vec<_>>();
            // What nothing is taken towards is kept for what happened there, for a while.
            let taken = |row: &&Value| row[keys[3]] != 0;
            let mut rows: Vec<String> =
                rows.iter().filter(taken).map(|it| row(it).join(" ")).collect();
            rows.sort();
            rows
        };
        serde_json::json!({
            "states": snapshot["states"],
            "time_wait.now": snapshot["time_wait"]["now"],
            "fin_wait2.now": snapshot["fin_wait2"]["now"],
            "destinations": rows("destinations",
                &["netns", "raddr", "rport", "ports_used", "ports_time_wait", "ports_bound"]),
            "clients": rows("clients", &["netns", "raddr", "lport", "quadruplets_used", "time_wait"]),
        })
    };
    assert_same(name, &now(second), &now(whole));
}

#[test]
fn a_file_cut_at_any_byte_is_read_up_to_there() {
    let (_, frames, file) = small();
    let mut whole = 0;
    for len in 0..file.len() {
        let told = match read(&file[..len]) {
            Ok(told) => told,
            Err(FileError::Empty) if len == 0 => continue,
            // Not even enough to tell that it is a trace.
            Err(FileError::NoTrace) if len < 8 => continue,
            Err(error) => panic!("cut at {len}: {error}"),
        };
        assert!(told.end.is_none(), "cut at {len}");
        assert!(!told.damages.is_empty(), "cut at {len}: it is not said");
        assert!(told.frames.len() >= whole, "cut at {len}: less than of a shorter file");
        assert!(told.frames.len() <= frames.len(), "cut at {len}");
        whole = told.frames.len();
    }
    assert_eq!(whole, frames.len(), "only END is missing in the last");
}

#[test]
fn a_file_with_any_byte_changed_is_read_but_for_one_frame() {
    let (meta, frames, file) = small();
    let sound = frames_of(&file);
    for at in 0..file.len() {
        let mut changed = file.clone();
        let flip = 1 << (at % 8);
        changed[at] ^= flip;
        let name = format!("changed at {at} by {flip:#x}");
        let told = read(&changed).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(told.meta.as_ref(), Some(&meta), "{name}: META is there twice");
        let [damage, rest @ ..] = &told.damages[..] else { panic!("{name}: it is not said") };
        // That END is gone is said, too.
        assert!(rest.len() <= 1, "{name}: {:?}", told.damages);
        let (from, to) = (damage.offset, damage.offset + damage.len);
        assert!((from..to).contains(&(at as u64)), "{name}: {damage}");
        let read = told.frames.len() + usize::from(told.end.is_some());
        let lost = usize::from(sound.iter().any(|it| it.contains(&(at as u64))));
        assert_eq!(read + lost, frames.len() + 1, "{name}: {:?}", told.damages);
    }
}

/// Where the frames of a sound file are that hold a step of the run, or its end.
fn frames_of(file: &[u8]) -> Vec<std::ops::Range<u64>> {
    let mut reader = Reader::new(file).expect("it is sound");
    let mut found = Vec::new();
    while let Some(next) = reader.next().expect("it is sound") {
        if matches!(next, Found::Frame(_) | Found::End(_)) {
            found.push(reader.last());
        }
    }
    found
}
