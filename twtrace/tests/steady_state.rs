//! Once every table has grown to its size, nothing is allocated per event: by the pipeline none at all,
//! by whoever reads a recording for its frames alone.

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use common::{
    kernel::{Fate, PaperKernel, Seen, TP_BTF, Task, at, meta, tick},
    stream::Stream,
};
use twtrace::{
    decode,
    event::{ConnectEvent, MiniEvent, Tuple},
    frame::Frame,
    pipeline::Pipeline,
    stats::snapshot::SCHEMA,
    trace::{End, FileMeta, Found, Reader, Recording, Writer},
};
use twtrace_common::{
    End as MiniEnd,
    TcpState::{
        self, Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
    },
};

/// Connections open at the same time.
const OPEN: u16 = 500;
/// Connections opened and closed while allocations are counted.
const CONNECTIONS: usize = 20_000;
/// How long the recordings are, and when everything in them has happened once: mini-sockets live for
/// a minute.
const SECONDS: usize = 100;
const WARM_S: usize = 70;

#[test]
fn a_warm_pipeline_allocates_nothing() {
    let mut kernel = PaperKernel::new(TP_BTF);
    let rounds = CONNECTIONS / usize::from(OPEN);
    let mut pipeline = Pipeline::new(meta(TP_BTF), 100_000, 50);
    apply_all(&mut pipeline, &[round(&mut kernel), round(&mut kernel)]);
    let batches: Vec<Frame> = (0..rounds).map(|_| round(&mut kernel)).collect();

    let before = allocations();
    apply_all(&mut pipeline, &batches);
    let allocated = allocations() - before;

    assert_eq!(allocated, 0, "allocations for {CONNECTIONS} connections");
    pipeline.apply(&kernel.totals()).expect("totals are no records");
    let snapshot = pipeline.apply(&tick(1.0)).expect("so is a tick").expect("it gives a Snapshot");
    let loss = snapshot.loss.expect("something was traced");
    assert_eq!((loss.unmatched, loss.evicted), (0, 0), "the connections were followed");
    let closers = snapshot.closers.expect("something was traced");
    let wanted = u64::from(OPEN) * (rounds as u64 + 2);
    assert_eq!(closers[0].active_closes, wanted, "and credited");
    let time_wait = snapshot.time_wait.expect("mini-sockets were followed");
    assert_eq!((time_wait.born, time_wait.now), (Some(wanted), Some(0)));
    let lived = time_wait.lifetime_s.expect("they were").count;
    let credited = closers[0].lifetime_s.as_ref().expect("they were").count;
    assert_eq!((lived, credited), (wanted, wanted), "each had a closer and an end");
    let searches = snapshot.port_search.expect("port searches were, too");
    assert_eq!(searches.connect.latency_ns.count, wanted);
}

/// Two recordings of as many frames, one with four times the events in them.
#[test]
fn a_warm_reader_allocates_for_frames_and_not_for_events() {
    let [few, many] = [40, 160].map(replayed);
    assert_eq!(few.frames, many.frames);
    assert!(many.events > 3 * few.events, "{few:?}, {many:?}");
    let per_event =
        many.allocations.saturating_sub(few.allocations) as f64 / (many.events - few.events) as f64;
    assert!(per_event < 0.001, "{per_event} allocations per event: {few:?}, {many:?}");
}

/// What reading a recording took, once it was under way.
#[derive(Clone, Copy, Debug, Default)]
struct Replayed {
    frames: usize,
    events: u64,
    allocations: u64,
}

fn replayed(a_second: u32) -> Replayed {
    let file = recording(a_second);
    let mut reader = Reader::new(&file[..]).expect("it is a recording");
    let mut pipeline = Pipeline::new(meta(TP_BTF), 100_000, 50);
    let mut warm = Replayed::default();
    let mut ticks = 0;
    while let Some(found) = reader.next().expect("memory can be read") {
        let Found::Frame(frame) = found else { continue };
        if let Frame::Records(records) = &frame {
            warm.events += decode::events(records).count() as u64 * u64::from(ticks >= WARM_S);
        }
        if matches!(frame, Frame::Tick { .. }) {
            ticks += 1;
            continue;
        }
        warm.frames += 1;
        pipeline.apply(&frame).expect("it is sound");
        if ticks == WARM_S {
            warm.allocations = allocations();
        }
    }
    Replayed { allocations: allocations() - warm.allocations, ..warm }
}

fn recording(a_second: u32) -> Vec<u8> {
    let meta = FileMeta {
        tool: "twtrace test".to_owned(),
        schema: SCHEMA,
        recording: Recording { id: "0123".to_owned(), file: 0 },
        run: meta(TP_BTF),
        max_connections: 100_000,
        rows: 50,
        netns: None,
    };
    let mut writer = Writer::new(Vec::new(), &meta).expect("memory can be written");
    let mut stream = Stream::new(a_second);
    for _ in 0..SECONDS {
        for frame in stream.second() {
            writer.frame(&frame).expect("memory can be written");
        }
    }
    let end = End { snapshot: None, events: writer.events(), goes_on: false };
    writer.end(&end).expect("memory can be written")
}

#[test]
fn allocations_are_counted() {
    let before = allocations();
    drop(std::hint::black_box(vec![0_u8; 100]));
    assert!(allocations() > before);
}

fn apply_all(pipeline: &mut Pipeline, batches: &[Frame]) {
    for batch in batches {
        let snapshot = pipeline.apply(batch).expect("the batch is sound");
        assert!(snapshot.is_none(), "records give no Snapshot");
    }
}

/// Opens [`OPEN`] connections over loopback, closes them, and waits for their mini-sockets to end:
/// always the same addresses.
fn round(kernel: &mut PaperKernel) -> Frame {
    let client = Task::new(100, 1, b"client");
    let server = Task::new(200, 1, b"server");
    for port in 0..OPEN {
        step(kernel, port, true, Close, SynSent, Some(client));
        let sk = address(port, true);
        kernel.connect(&ConnectEvent { time_ns: at(0.1) + 4_000, sk, lport: port }, Fate::Written);
        step(kernel, port, false, Listen, SynRecv, None);
        step(kernel, port, true, SynSent, Established, None);
        step(kernel, port, false, SynRecv, Established, None);
    }
    for port in 0..OPEN {
        step(kernel, port, true, Established, FinWait1, Some(client));
        step(kernel, port, false, Established, CloseWait, None);
        step(kernel, port, true, FinWait1, FinWait2, None);
        step(kernel, port, false, CloseWait, LastAck, Some(server));
        kernel.birth(&mini(port, at(0.1)), Fate::Written);
        step(kernel, port, true, FinWait2, Close, None);
        step(kernel, port, false, LastAck, Close, None);
    }
    for port in 0..OPEN {
        // Not all live equally long.
        let end = if port % 5 == 0 { MiniEnd::Reused } else { MiniEnd::Expired };
        kernel.end(&mini(port, at(60.1 + f64::from(port) / 100.0)), end, Fate::Written);
    }
    kernel.records()
}

fn address(port: u16, is_client: bool) -> u64 {
    u64::from(port) * 2 + u64::from(is_client)
}

/// The tuple of one end.
fn tuple(port: u16, is_client: bool) -> Tuple {
    let ends = [([1; 16], 30_000 + port), ([2; 16], 80)];
    let [(laddr, lport), (raddr, rport)] = if is_client { ends } else { [ends[1], ends[0]] };
    Tuple { laddr, raddr, lport, rport }
}

/// What the client's socket leaves.
fn mini(port: u16, time_ns: u64) -> MiniEvent {
    MiniEvent {
        time_ns,
        tw: address(port, true),
        netns: common::kernel::NETNS,
        substate: TcpState::TimeWait,
        tuple: tuple(port, true),
        timestamps: None,
    }
}

fn step(
    kernel: &mut PaperKernel,
    port: u16,
    is_client: bool,
    old: TcpState,
    new: TcpState,
    current: Option<Task>,
) {
    let mut tuple = tuple(port, is_client);
    if new == SynSent {
        // It has none yet: connect searches for one.
        tuple.lport = 0;
    }
    kernel.transition(&Seen {
        time_ns: at(0.1),
        sk: address(port, is_client),
        netns: common::kernel::NETNS,
        old,
        new,
        tuple,
        locked: current.is_some(),
        error: 0,
        shutdown: 3,
        own_range: None,
        current,
        ring_full: false,
    });
}

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Allocations of this thread so far: the test harness has others.
fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

fn count_one() {
    ALLOCATIONS.with(|count| count.set(count.get() + 1));
}

/// The system's allocator, counted.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all memory is the system allocator's; counting neither allocates nor unwinds, since the
// counter is a plain number that needs no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_one();
        // SAFETY: by the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: by the caller's promise; all memory came from there.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_one();
        // SAFETY: by the caller's promise; all memory came from there.
        unsafe { System.realloc(memory, layout, size) }
    }
}
