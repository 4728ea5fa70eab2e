//! However much a file says that it holds, reading it takes no more memory than the format
//! allows.
//!
//! zstd's own memory is not counted here: a frame is expanded in one step into memory of
//! ours, whose length the header tells and the format bounds.

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    io::{self, Read},
};

use common::kernel;
use twtrace::{
    frame::Frame,
    stats::snapshot::SCHEMA,
    trace::{
        FileMeta, Found, Reader, Recording, Writer,
        layout::{
            FRAME_MAGIC, FrameHeader, FrameType, MAX_COMPRESSED, MAX_COUNT, MAX_RAW, frame_flags,
        },
    },
};
use zerocopy::IntoBytes;

/// What reading any file may take: a frame as it is in the file, expanded, and as what it
/// tells, of which JSON needs the most.
const MOST: usize = 256 << 20;
/// What a frame whose lengths cannot be right may take.
const LITTLE: usize = 24 << 20;

/// What a frame says of itself besides its payload.
#[derive(Clone, Copy)]
struct Says {
    frame_type: u16,
    flags: u16,
    count: u32,
    /// Of the payload as it follows; its real length if `None`.
    compressed: Option<u32>,
    /// Of the payload expanded.
    raw: u32,
}

impl Says {
    fn of(frame_type: FrameType, count: u32, raw: usize) -> Self {
        let raw = u32::try_from(raw).expect("a length");
        Self { frame_type: frame_type as u16, flags: 0, count, compressed: None, raw }
    }

    /// The frame, whose checksums are right.
    fn sealed(self, sequence: u64, packed: &[u8]) -> Vec<u8> {
        let compressed = self.compressed.unwrap_or(packed.len() as u32);
        let header = FrameHeader {
            magic: FRAME_MAGIC,
            frame_type: self.frame_type.into(),
            flags: self.flags.into(),
            sequence: sequence.into(),
            time_ns: 0.into(),
            count: self.count.into(),
            compressed: compressed.into(),
            raw: self.raw.into(),
            header_checksum: 0.into(),
            checksum: 0.into(),
        };
        [header.sealed(packed).as_bytes(), packed].concat()
    }
}

fn packed(payload: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(payload, 1).expect("memory can be compressed")
}

fn meta() -> FileMeta {
    FileMeta {
        tool: "twtrace test".to_owned(),
        schema: SCHEMA,
        recording: Recording { id: "0123".to_owned(), file: 0 },
        run: kernel::meta(kernel::TP_BTF),
        max_connections: usize::MAX,
        rows: usize::MAX,
        netns: None,
    }
}

/// The header of a file, and META.
fn beginning() -> Vec<u8> {
    Writer::new(Vec::new(), &meta()).expect("memory can be written").into_inner()
}

/// What was found in a file, and the most memory that this took at a time.
struct Took {
    frames: usize,
    why: Vec<String>,
    unknown: usize,
    memory: usize,
}

fn took(frames: &[Vec<u8>]) -> Took {
    took_by(&[beginning(), frames.concat()].concat()[..])
}

fn took_by(file: impl Read) -> Took {
    let mut took = Took { frames: 0, why: Vec::new(), unknown: 0, memory: 0 };
    let before = begin();
    let mut reader = Reader::new(file).expect("a recording");
    while let Some(found) = reader.next().expect("memory can be read") {
        match found {
            Found::Frame(_) | Found::End(_) => took.frames += 1,
            Found::Damage(damage) => took.why.push(damage.why),
            Found::Unknown(unknown) => took.unknown += unknown.payload.len(),
            Found::File(_) => {}
        }
    }
    took.memory = PEAK.get() - before;
    took
}

/// Checks that the frame is refused for this reason, and took little.
#[track_caller]
fn assert_refused(says: Says, packed: &[u8], why: &str) {
    let took = took(&[says.sealed(2, packed)]);
    assert_eq!((took.frames, took.unknown), (0, 0));
    assert!(took.why[0].contains(why), "{:?}", took.why);
    assert!(took.memory <= LITTLE, "{} bytes", took.memory);
}

#[test]
fn a_length_that_cannot_be_right_costs_nothing() {
    let events = Says::of(FrameType::Events, 1, 100);
    let nothing = packed(&[]);
    for (says, why) in [
        (Says { compressed: Some(MAX_COMPRESSED), ..events }, "the frame is cut off"),
        (Says { compressed: Some(MAX_COMPRESSED + 1), ..events }, "no frame begins here"),
        (Says { compressed: Some(u32::MAX), ..events }, "no frame begins here"),
        (Says { raw: MAX_RAW, ..events }, "cannot be decompressed"),
        (Says { raw: MAX_RAW + 1, ..events }, "no frame begins here"),
        (Says { raw: u32::MAX, ..events }, "no frame begins here"),
        (Says { count: MAX_COUNT + 1, ..events }, "no frame begins here"),
        (Says { count: u32::MAX, ..events }, "no frame begins here"),
    ] {
        assert_refused(says, &nothing, why);
    }
    // As many columns as there are, and nothing in them.
    let columns = packed(&[0; 15]);
    let says = Says::of(FrameType::Events, MAX_COUNT, 15);
    assert_refused(says, &columns, "does not hold as much as its header says");
}

#[test]
fn a_payload_that_expands_without_end_is_stopped_where_its_header_says() {
    // A gibibyte of nothing in some kilobytes.
    let mut bomb = zstd::stream::Encoder::new(Vec::new(), 1).expect("an encoder");
    io::copy(&mut io::repeat(0).take(1 << 30), &mut bomb).expect("memory can be written");
    let bomb = bomb.finish().expect("memory can be written");
    assert!(bomb.len() < MAX_COMPRESSED as usize, "{} bytes", bomb.len());
    for raw in [0, 1_000, MAX_RAW] {
        for frame_type in [FrameType::Events as u16, FrameType::End as u16, 77] {
            let says = Says { frame_type, flags: 0, count: 1, compressed: None, raw };
            assert_refused(says, &bomb, "cannot be decompressed");
        }
    }
}

#[test]
fn the_longest_payload_is_read() {
    let payload = vec![0; MAX_RAW as usize];
    let says = Says { frame_type: 77, ..Says::of(FrameType::Events, 1, payload.len()) };
    let took = took(&[says.sealed(2, &packed(&payload))]);
    assert_eq!(took.unknown, MAX_RAW as usize);
    assert!(took.memory <= LITTLE, "{} bytes", took.memory);
    // Rows of nothing but zeroes, more than one frame may have.
    for frame_type in [FrameType::Seed, FrameType::Look, FrameType::Events] {
        let says = Says::of(frame_type, MAX_COUNT, payload.len());
        let took = took_by(&[beginning(), says.sealed(2, &packed(&payload))].concat()[..]);
        assert_eq!(took.frames, 0, "{frame_type:?}: {:?}", took.why);
        assert!(took.memory <= LITTLE, "{frame_type:?}: {} bytes", took.memory);
    }
}

#[test]
fn json_takes_no_more_than_it_may() {
    let documents = [
        // An END that is one long list, or lists in lists.
        (
            FrameType::End,
            format!(r#"{{"snapshot":[{}0],"events":0,"goes_on":false}}"#, "0,".repeat(1_000_000)),
        ),
        (
            FrameType::End,
            format!(r#"{{"snapshot":{},"events":0,"goes_on":false}}"#, "[".repeat(1_000_000)),
        ),
        (FrameType::End, format!(r#"{{"snapshot":"{}","events":0}}"#, "x".repeat(3 << 20))),
        (FrameType::Meta, "9".repeat(2 << 20)),
        (FrameType::Loss, format!(r#"{{"records":{}}}"#, "9".repeat(1 << 20))),
    ];
    for (frame_type, document) in documents {
        let says = Says::of(frame_type, 1, document.len());
        let took = took(&[says.sealed(2, &packed(document.as_bytes()))]);
        assert!(took.memory <= MOST, "{frame_type:?}: {} bytes", took.memory);
    }
}

/// A file of some kilobytes that goes on and on with rows of the kind that takes the most.
#[test]
fn what_goes_on_over_many_frames_takes_no_more_than_it_may() {
    let namespace = r#"{"netns":1,"tw_sockstat":null,"counters":{"a":1}},"#;
    let rows = 30_000;
    let document = format!(r#"{{"kernel":[{}]}}"#, namespace.repeat(rows).trim_end_matches(','));
    let says = Says::of(FrameType::Host, rows as u32, document.len());
    let says = Says { flags: frame_flags::MORE, ..says };
    let packed = packed(document.as_bytes());
    let frames: Vec<_> = (0..20).map(|number| says.sealed(2 + number, &packed)).collect();
    let took = took(&frames);
    assert_eq!(took.frames, 0);
    assert!(took.why.iter().any(|why| why.contains("more rows than there can be")));
    assert!(took.memory <= MOST, "{} bytes", took.memory);
}

/// Gives what it has, and must not be asked for more.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(!self.0.is_empty(), "it would be waited for");
        self.0.read(buffer)
    }
}

#[test]
fn what_is_there_is_told_before_more_comes() {
    let mut writer = Writer::new(Vec::new(), &meta()).expect("memory can be written");
    let tick = Frame::Tick { time_ns: 1, wall_ns: 2 };
    writer.frame(&tick).expect("memory can be written");
    let file = writer.into_inner();
    let mut reader = Reader::new(Slow(&file)).expect("a recording");
    assert!(matches!(reader.next(), Ok(Some(Found::File(_)))));
    assert!(matches!(reader.next(), Ok(Some(Found::Frame(_)))));
}

#[test]
fn memory_is_counted() {
    let before = begin();
    drop(std::hint::black_box(vec![1_u8; 5 << 20]));
    assert!(PEAK.get() - before >= 5 << 20);
}

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// Begins to look for the most memory of this thread; returns what it has.
fn begin() -> usize {
    PEAK.set(NOW.get());
    NOW.get()
}

fn changed(by: isize) {
    // What another thread allocated may be freed by this one.
    NOW.set(NOW.get().saturating_add_signed(by));
    PEAK.set(PEAK.get().max(NOW.get()));
}

/// The system's allocator, counted.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all memory is the system allocator's; counting neither allocates nor unwinds, since
// the counters are plain numbers that need no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        changed(layout.size() as isize);
        // SAFETY: by the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        changed(layout.size() as isize);
        // SAFETY: by the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        changed(-(layout.size() as isize));
        // SAFETY: by the caller's promise; all memory came from there.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are there while it moves.
        changed(size as isize);
        changed(-(layout.size() as isize));
        // SAFETY: by the caller's promise; all memory came from there.
        unsafe { System.realloc(memory, layout, size) }
    }
}
