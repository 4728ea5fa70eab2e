//! An export takes no more memory for a long recording than for a short one.

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    io,
};

use common::{
    exported::{TABLES, settings},
    fixture,
    kernel::{Fate, NETNS, PaperKernel, Seen, TP_BTF, Task, at, meta, tick},
};
use twtrace::{
    event::{MiniEvent, Tuple},
    export::{Exporter, Format, Rows},
    frame::Frame,
};
use twtrace_common::{
    End,
    TcpState::{self, Close, Established, FinWait1, FinWait2, SynSent, TimeWait},
};

/// Connections opened in each round, of which each ends in the next round.
const OPEN: usize = 1_000;
/// Records of each of them, besides that of its process.
const RECORDS: usize = 7;
/// What may be kept: a row group, a batch of rows, the connections that are open.
const MAX_BYTES: i64 = 64 << 20;
/// Of this a batch of rows, as far as it is filled.
const MAX_BATCH_BYTES: i64 = 12 << 20;
/// Of a timeline, the last minute of each destination, of which the short one sees seconds: a
/// small part of what the rows would take.
const MAX_SECONDS_BYTES: i64 = 1 << 20;

#[test]
fn a_million_events_fit_in_a_row_group_and_a_batch() {
    for (format, events) in [(Format::Parquet, 1_000_000), (Format::Arrow, 250_000)] {
        let grown = exported(format, Rows::Events, events);
        assert!(grown < MAX_BYTES, "{format:?}: {grown} bytes");
    }
}

#[test]
fn connections_that_are_over_are_forgotten() {
    for format in TABLES.into_iter().chain([Format::Perfetto]) {
        let short = exported(format, Rows::Connections, 50_000);
        let long = exported(format, Rows::Connections, 200_000);
        let fills = match format {
            Format::Parquet | Format::Arrow => MAX_BATCH_BYTES,
            Format::Perfetto => MAX_SECONDS_BYTES,
            Format::Csv | Format::Jsonl => 0,
        };
        assert!(long < short + short / 4 + fills, "{format:?}: {short}, then {long} bytes");
    }
}

/// Exports so many events; returns by how much memory had grown at most.
fn exported(format: Format, rows: Rows, events: usize) -> i64 {
    let mut kernel = PaperKernel::new(TP_BTF);
    let mut exporter = Exporter::new(&meta(TP_BTF), settings(format, rows), io::sink())
        .expect("nothing is written");
    exporter.frame(&tick(0.0)).expect("nothing is written");
    let before = start();
    for round in 0..events / OPEN / RECORDS {
        let frame = records(&mut kernel, round);
        exporter.frame(&frame).expect("nothing is written");
        exporter.frame(&tick(round as f64)).expect("nothing is written");
    }
    let written = exporter.finish().expect("nothing is written").rows;
    assert!(written as usize * RECORDS * 11 / 10 >= events || format == Format::Perfetto);
    PEAK.with(Cell::get) - before
}

/// A round of connections; each socket is another's later.
fn records(kernel: &mut PaperKernel, round: usize) -> Frame {
    let task = Task::new(1_000 + (round % 50) as u32, 1, b"client");
    for number in 0..OPEN {
        let sk = (number as u64) << 12;
        let tuple = Tuple {
            lport: 1_024 + (number as u16),
            ..fixture::tuple("10.0.0.1:0", &format!("10.1.0.{}:80", number % 256))
        };
        let step = |kernel: &mut PaperKernel, old, new| {
            transition(kernel, round, sk, (old, new), tuple, task);
        };
        step(kernel, Close, SynSent);
        step(kernel, SynSent, Established);
        step(kernel, Established, FinWait1);
        step(kernel, FinWait1, FinWait2);
        let mini = MiniEvent {
            time_ns: at(round as f64 + 0.5),
            tw: sk + 1,
            netns: NETNS,
            substate: TimeWait,
            tuple,
            timestamps: None,
        };
        kernel.birth(&mini, Fate::Written);
        step(kernel, FinWait2, Close);
        kernel.end(&mini, End::Expired, Fate::Written);
    }
    kernel.records()
}

fn transition(
    kernel: &mut PaperKernel,
    round: usize,
    sk: u64,
    (old, new): (TcpState, TcpState),
    tuple: Tuple,
    task: Task,
) {
    kernel.transition(&Seen {
        time_ns: at(round as f64 + 0.1),
        sk,
        netns: NETNS,
        old,
        new,
        tuple,
        locked: true,
        error: 0,
        shutdown: 3,
        own_range: None,
        current: Some(task),
        ring_full: false,
    });
}

thread_local! {
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

/// Measures from now on; returns the bytes in use.
fn start() -> i64 {
    let live = LIVE.with(Cell::get);
    PEAK.with(|peak| peak.set(live));
    live
}

fn count(bytes: i64) {
    let live = LIVE.with(|live| {
        live.set(live.get() + bytes);
        live.get()
    });
    PEAK.with(|peak| peak.set(peak.get().max(live)));
}

/// The system's allocator, with what is in use counted.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all memory is the system allocator's; counting neither allocates nor unwinds, since the
// counters are plain numbers that need no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: by the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: by the caller's promise; all memory came from there.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: by the caller's promise; all memory came from there.
        unsafe { System.realloc(memory, layout, size) }
    }
}
