//! What the fuzz targets begin with: small recordings, made of fixtures. `UPDATE_GOLDEN=1`
//! rewrites them.

mod common;

use std::{env, fs, path::PathBuf};

use common::fixture::{self, Fixture};
use twtrace::{
    frame::{CloseWaiting, CloseWaits, Frame},
    pipeline::Pipeline,
    stats::snapshot::SCHEMA,
    trace::{
        End, FileMeta, Found, Reader, Recording, Writer,
        layout::{FILE_HEADER, FRAME_HEADER, FrameHeader},
    },
};
use twtrace_common::ProcessKey;
use zerocopy::FromBytes;

/// Each fixture shows something that the others do not; these are enough of them.
const EVERY: usize = 4;
/// What is in git is no larger, all together.
const ROOM: u64 = 200 << 10;

fn folder(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", target].iter().collect()
}

/// Those that are not long repetitions.
fn fixtures() -> impl Iterator<Item = (String, Fixture)> {
    let short = fixture::all().into_iter().filter(|(_, fixture)| fixture.events() <= 40);
    short.step_by(EVERY)
}

fn meta(fixture: &Fixture) -> FileMeta {
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

/// The fixture in two files, so that one has what the other carried over, as one.
fn recording(fixture: &Fixture) -> Vec<u8> {
    let meta = meta(fixture);
    let [mut first, second] = fixture.frames_in_two(&|_| true, fixture.events().div_ceil(2));
    first.insert(0, close_waits());
    let mut pipeline = Pipeline::new(meta.run.clone(), meta.max_connections, meta.rows);
    first.iter().for_each(|frame| drop(pipeline.apply(frame)));
    let Some(Frame::Tick { time_ns, .. }) = first.last() else { panic!("no tick") };
    let (run, carried) = pipeline.checkpoint(*time_ns);
    let next =
        FileMeta { run, recording: Recording { id: "0123".to_owned(), file: 1 }, ..meta.clone() };
    [file(&meta, &first), file(&next, &[carried, second].concat())].concat()
}

/// What no fixture tells.
fn close_waits() -> Frame {
    let tuple = fixture::tuple("10.0.0.1:80", "10.0.0.2:40000");
    let holder = Some(ProcessKey { start_time_ns: 1, tgid: 100, padding: 0 });
    let waiting = |cookie, holder| CloseWaiting {
        cookie,
        netns: 1,
        tuple,
        seen_ns: 7,
        since_ns: 5,
        accepted: true,
        holder,
    };
    let appeared = vec![waiting(1, holder), waiting(2, None)];
    Frame::CloseWaits(Some(CloseWaits { time_ns: 7, complete: true, appeared, gone: vec![2] }))
}

fn file(meta: &FileMeta, frames: &[Frame]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), meta).expect("memory can be written");
    frames.iter().for_each(|frame| writer.frame(frame).expect("memory can be written"));
    let end = End { snapshot: None, events: writer.events(), goes_on: false };
    writer.end(&end).expect("memory can be written")
}

/// The input of `decode`: hooks, records between two ticks, records.
fn batch(fixture: &Fixture) -> Vec<u8> {
    let frames = fixture.frames();
    let batches = frames.iter().filter_map(|frame| match frame {
        Frame::Records(batch) => Some(&batch[..]),
        _ => None,
    });
    [&[0x3e, 4][..]].into_iter().chain(batches).collect::<Vec<_>>().concat()
}

/// The input of `trace_mutated`: the frames of the first file within `file`, expanded.
fn payloads(file: &[u8]) -> Vec<u8> {
    let mut input = Vec::new();
    let mut rest = &file[FILE_HEADER..];
    while let Some(header) = header(rest) {
        let (packed, after) = rest[FRAME_HEADER..].split_at(header.compressed.get() as usize);
        let raw = header.raw.get() as usize;
        let payload = zstd::bulk::decompress(packed, raw).expect("it was written so");
        let [count, len] = [header.count.get() as u16, raw as u16].map(u16::to_le_bytes);
        let (frame_type, flags) = (header.frame_type.get(), header.flags.get());
        input.extend([frame_type.to_le_bytes(), flags.to_le_bytes(), count, len].concat());
        input.extend(payload);
        // The second META tells nothing new.
        rest = after;
    }
    input
}

fn header(rest: &[u8]) -> Option<FrameHeader> {
    let header = FrameHeader::read_from_prefix(rest).ok()?.0;
    header.is_sound().then_some(header)
}

fn update() {
    for (name, fixture) in fixtures() {
        let recording = recording(&fixture);
        let inputs = [
            ("decode", batch(&fixture)),
            ("trace", recording.clone()),
            ("trace_mutated", payloads(&recording)),
        ];
        for (target, input) in inputs {
            fs::create_dir_all(folder(target)).expect("a folder");
            fs::write(folder(target).join(&name), input).expect("writing the corpus");
        }
    }
}

#[test]
fn the_corpus_is_small_and_its_recordings_are_sound() {
    if env::var_os("UPDATE_GOLDEN").is_some() {
        update();
    }
    let files = |target| {
        let listed = fs::read_dir(folder(target)).expect("UPDATE_GOLDEN=1 writes it");
        listed.map(|entry| entry.expect("an entry").path()).collect::<Vec<_>>()
    };
    let all = ["decode", "trace", "trace_mutated"].map(files);
    assert!(all.iter().all(|files| files.len() >= fixtures().count()), "{all:?}");
    let size: u64 = all.iter().flatten().map(|it| it.metadata().expect("it is there").len()).sum();
    assert!(size <= ROOM, "{size} bytes");
    for path in &all[1] {
        let file = fs::read(path).expect("it is there");
        let mut reader = Reader::new(&file[..]).expect("a recording");
        let mut files = 0;
        while let Some(found) = reader.next().expect("memory can be read") {
            files += u32::from(matches!(found, Found::File(_)));
            assert!(!matches!(found, Found::Damage(_)), "{}: {found:?}", path.display());
        }
        assert_eq!(files, 2, "{}", path.display());
    }
}
