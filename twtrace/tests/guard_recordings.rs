//! The recordings that `cargo xtask guard` lets the program read. It asks for them by
//! `TWTRACE_GUARD`, a folder; without it they are only looked at.

mod common;

use std::{env, fs, path::Path};

use common::{
    kernel::{TP_BTF, meta},
    stream::{EVENTS, Stream},
};
use twtrace::{
    frame::Frame,
    pipeline::Pipeline,
    stats::snapshot::SCHEMA,
    trace::{End, FileMeta, Found, Reader, Recording, Writer},
};

/// How long they are, in seconds; what a second costs is the difference.
const SHORT: u32 = 10;
const LONG: u32 = 40;
/// Connections between two ticks.
const A_SECOND: u32 = 500;
/// Sockets, and rows, as they are by default.
const MAX_CONNECTIONS: usize = 1_048_576;
const ROWS: usize = 50;

fn frames(seconds: u32) -> Vec<Frame> {
    let mut stream = Stream::new(A_SECOND);
    let mut frames: Vec<Frame> = (0..seconds).flat_map(|_| stream.second()).collect();
    frames.extend(stream.end());
    frames
}

/// A recording, and its events.
fn recording(frames: &[Frame]) -> (Vec<u8>, u64) {
    let meta = FileMeta {
        tool: "twtrace guard".to_owned(),
        schema: SCHEMA,
        recording: Recording { id: "guard".to_owned(), file: 0 },
        run: meta(TP_BTF),
        max_connections: MAX_CONNECTIONS,
        rows: ROWS,
        netns: None,
    };
    let mut writer = Writer::new(Vec::new(), &meta).expect("memory can be written");
    frames.iter().for_each(|frame| writer.frame(frame).expect("memory can be written"));
    let events = writer.events();
    let end = End { snapshot: None, events, goes_on: false };
    (writer.end(&end).expect("memory can be written"), events)
}

fn write(folder: &Path, name: &str, seconds: u32) {
    let (file, events) = recording(&frames(seconds));
    fs::write(folder.join(format!("{name}.twt")), file).expect("the folder can be written");
    fs::write(folder.join(format!("{name}.events")), events.to_string())
        .expect("the folder can be written");
}

#[test]
fn the_recordings_are_always_the_same() {
    assert_eq!(recording(&frames(2)), recording(&frames(2)));
    if let Some(folder) = env::var_os("TWTRACE_GUARD") {
        write(Path::new(&folder), "short", SHORT);
        write(Path::new(&folder), "long", LONG);
    }
}

#[test]
fn nothing_in_them_is_lost_or_unexplained() {
    let (file, events) = recording(&frames(SHORT));
    let connections = u64::from(SHORT * A_SECOND);
    // Ten processes introduce themselves.
    assert_eq!(events, connections * EVENTS + 10);
    let mut reader = Reader::new(&file[..]).expect("it is a recording");
    let mut pipeline = Pipeline::new(meta(TP_BTF), MAX_CONNECTIONS, ROWS);
    let mut last = None;
    while let Some(found) = reader.next().expect("memory can be read") {
        assert!(!matches!(found, Found::Damage(_)), "{found:?}");
        if let Found::Frame(frame) = found {
            last = pipeline.apply(&frame).expect("it is sound").or(last);
        }
    }
    let snapshot = last.expect("there are ticks");
    let loss = snapshot.loss.expect("something was traced");
    assert_eq!((loss.unmatched, loss.evicted), (0, 0));
    let time_wait = snapshot.time_wait.expect("mini-sockets were followed");
    assert_eq!((time_wait.born, time_wait.now), (Some(connections), Some(0)));
}
