//! A recording of every released version of the format stays readable: `tests/traces/`.
//!
//! Each has the Snapshot that was taken when it was written; newer versions of twtrace may
//! know more, and must know the same. `UPDATE_GOLDEN=1` writes that of the present version.

mod common;

use std::{env, fs, path::Path};

use common::{fixture, subset};
use serde_json::Value;
use twtrace::{
    frame::{Frame, Sysctls},
    pipeline::Pipeline,
    stats::snapshot::SCHEMA,
    trace::{End, FileMeta, Found, Reader, Recording, Writer, layout::VERSION},
};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces")
}

#[test]
fn every_version_is_read_as_it_was_written() {
    if env::var_os("UPDATE_GOLDEN").is_some() {
        let (major, minor) = VERSION;
        let file = folder().join(format!("{major}.{minor}.twt"));
        fs::write(file, present()).expect("writing a trace");
    }
    let mut names = Vec::new();
    for file in fs::read_dir(folder()).expect("there are traces") {
        let path = file.expect("the folder can be listed").path();
        let name = path.display().to_string();
        let trace = fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (end, seen) = replayed(&name, &trace);
        let found = subset::differences(&end, &seen);
        assert!(found.is_empty(), "{name}: {}", found.join("\n"));
        names.push(path.file_name().expect("it has a name").to_string_lossy().into_owned());
    }
    let (major, minor) = VERSION;
    assert!(names.contains(&format!("{major}.{minor}.twt")), "only {names:?}: UPDATE_GOLDEN=1");
}

/// The Snapshot in END, and that of the replay.
fn replayed(name: &str, trace: &[u8]) -> (Value, Value) {
    let mut reader = Reader::new(trace).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (mut pipeline, mut seen, mut end) = (None, None, None);
    while let Some(found) = reader.next().expect("memory can be read") {
        match found {
            Found::File(meta) => {
                pipeline = Some(Pipeline::new(meta.run, meta.max_connections, meta.rows));
            }
            Found::Frame(frame) => {
                let pipeline = pipeline.as_mut().expect("META comes first");
                let snapshot = pipeline.apply(&frame).expect("sound records");
                seen = snapshot.map(|it| serde_json::to_value(&it).expect("JSON")).or(seen);
            }
            Found::End(told) => end = told.snapshot,
            other => panic!("{name}: {other:?}"),
        }
    }
    (end.expect("END has a Snapshot"), seen.expect("there is a tick"))
}

/// A recording that goes on from another, with sockets, mini-sockets and destinations that
/// were there, settings, and a loss.
fn present() -> Vec<u8> {
    let fixtures = fixture::all();
    let (_, fixture) =
        fixtures.iter().find(|(name, _)| name.starts_with("33")).expect("it is there");
    let (run, max_connections, rows) = fixture.run();
    let [first, second] = fixture.frames_in_two(&|_| true, fixture.events() / 2);
    let mut pipeline = Pipeline::new(run, max_connections, rows);
    for frame in &first {
        pipeline.apply(frame).expect("sound records");
    }
    let Some(Frame::Tick { time_ns, .. }) = first.last() else { panic!("no tick") };
    let (run, mut frames) = pipeline.checkpoint(*time_ns);
    let values = [("net.ipv4.tcp_tw_reuse".to_owned(), "2".to_owned())].into();
    frames.push(Frame::Sysctls(vec![Sysctls { netns: common::kernel::NETNS, values }]));
    frames.push(Frame::Lost { records: 1 });
    frames.extend(second);
    let mut pipeline = Pipeline::new(run.clone(), max_connections, rows);
    let mut last = None;
    for frame in &frames {
        last = pipeline.apply(frame).expect("sound records").or(last);
    }
    let meta = FileMeta {
        tool: "twtrace 0.1.0".to_owned(),
        schema: SCHEMA,
        recording: Recording { id: "kept".to_owned(), file: 1 },
        run,
        max_connections,
        rows,
        netns: None,
    };
    let mut writer = Writer::new(Vec::new(), &meta).expect("memory can be written");
    frames.iter().for_each(|frame| writer.frame(frame).expect("memory can be written"));
    let end = End::new(last.as_ref(), false).expect("a Snapshot can be written");
    writer.end(&End { events: 7, ..end }).expect("memory can be written")
}
