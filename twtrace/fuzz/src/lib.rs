//! What the fuzz targets share: a pipeline for whatever they make up.

use std::{io::Read, sync::LazyLock};

use twtrace::{
    frame::{Frame, Meta},
    pipeline::Pipeline,
    stats::snapshot::Snapshot,
    trace::{FileMeta, Found, Reader},
};

/// A recording that begins well, made by `twtrace/tests/trace_corpus.rs`.
const RECORDING: &[u8] = include_bytes!("../corpus/trace/01-client-closes-first");
/// Sockets that are remembered at most, whatever a file asks for: the limit is to be met.
const MAX_CONNECTIONS: usize = 64;
/// Rows of each array that are shown at most.
const MAX_ROWS: usize = 5;
/// Steps of one run at most: what comes after them is like what came before.
const MAX_FRAMES: usize = 4_096;

/// What some recording is.
pub fn some_meta() -> FileMeta {
    static META: LazyLock<FileMeta> = LazyLock::new(|| {
        let mut reader = Reader::new(RECORDING).expect("it is a recording");
        match reader.next() {
            Ok(Some(Found::File(meta))) => *meta,
            other => panic!("a recording begins with what it is, not with {other:?}"),
        }
    });
    META.clone()
}

/// What some recording shows at its end.
pub fn some_snapshot() -> Snapshot {
    let mut reader = Reader::new(RECORDING).expect("it is a recording");
    let mut pipeline = Pipeline::new(some_meta().run, MAX_CONNECTIONS, MAX_ROWS);
    let mut last = None;
    while let Some(found) = reader.next().expect("memory can be read") {
        if let Found::Frame(frame) = found {
            last = pipeline.apply(&frame).expect("it is sound").or(last);
        }
    }
    last.expect("a recording ends with a tick")
}

/// A pipeline that has taken in frames, and what it shows.
pub struct Run(Pipeline);

impl Run {
    /// Of the run `meta`.
    pub fn new(meta: Meta) -> Self {
        Self(Pipeline::new(meta, MAX_CONNECTIONS, MAX_ROWS))
    }

    /// Takes in a frame; shows what there is to be shown.
    pub fn take(&mut self, frame: &Frame) {
        // Records that do not decode are an error, and nothing else is.
        let Ok(shown) = self.0.apply(frame) else { return };
        if let Some(snapshot) = shown {
            serde_json::to_vec(&snapshot).expect("a Snapshot can be written");
        }
    }

    /// Goes on from here in another run, which knows what is there.
    pub fn go_on(&self, time_ns: u64) -> Self {
        let (meta, frames) = self.0.checkpoint(time_ns);
        let mut next = Self::new(meta);
        frames.iter().for_each(|frame| next.take(frame));
        next
    }
}

/// Reads a file of any kind, as `report` does, and goes on from its end.
pub fn report(file: impl Read) {
    let Ok(mut reader) = Reader::new(file) else { return };
    let mut run = Run::new(some_meta().run);
    let mut before = 0;
    for _ in 0..MAX_FRAMES {
        let Ok(Some(found)) = reader.next() else { break };
        let last = reader.last();
        assert!(last.start <= last.end, "{last:?}");
        match found {
            Found::File(meta) => run = Run::new(meta.run),
            Found::Frame(frame) => run.take(&frame),
            Found::Damage(damage) => {
                assert!(damage.offset >= before, "{damage} is told late");
                before = damage.offset;
                drop(damage.to_string());
            }
            Found::End(_) | Found::Unknown(_) => {}
        }
    }
    let (time_ns, wall_ns) = (u64::MAX, 1);
    run.take(&Frame::Tick { time_ns, wall_ns });
    run.go_on(time_ns).take(&Frame::Tick { time_ns, wall_ns });
}
