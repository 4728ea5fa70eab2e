//! Makes a long recording of a short one: `twtrace-amplify FILE OUT TIMES`.
//!
//! What happened happens so many times, one after the other. Of the short one everything must
//! be over at its end, so that the next round can begin.
//!
//! Prints the events of the long one, the bytes that the records of the short one took in the ring
//! buffer, and how long that is, in nanoseconds.

use std::fs::File;
use std::io::BufWriter;

use bytes::{Bytes, BytesMut};
use twtrace::decode;
use twtrace::frame::{Frame, Totals};
use twtrace::trace::{End, FileMeta, Found, Reader, Writer};
use twtrace_common::{Counters, RecordKind};

/// Where records other than introductions, which have none, tell their time.
const TIME: std::ops::Range<usize> = 8..16;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, out, times] = &args[..] else { panic!("FILE OUT TIMES") };
    let times: u64 = times.parse().expect("how often");
    let (meta, frames) = read(file);
    let length_ns = length(&meta, &frames);
    let out = BufWriter::new(File::create(out).expect("making the file"));
    let mut writer = Writer::new(out, &meta).expect("writing");
    for round in 0..times {
        for frame in &frames {
            if let Some(frame) = later(frame, round, length_ns, &frames) {
                writer.frame(&frame).expect("writing");
            }
        }
    }
    let events = writer.events();
    writer.end(&End { snapshot: None, events, goes_on: false }).expect("writing");
    println!("{events} {} {length_ns}", ring_bytes(&frames));
}

/// Each record has a header in the ring, and begins at a multiple of its length:
/// <https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/ringbuf.c#L414>.
fn ring_bytes(frames: &[Frame]) -> usize {
    const HEADER: usize = 8;
    let records = frames.iter().filter_map(|frame| match frame {
        Frame::Records(batch) => Some(decode::records(batch)),
        _ => None,
    });
    records.flatten().map(|record| (record.len() + HEADER).next_multiple_of(HEADER)).sum()
}

fn read(file: &str) -> (FileMeta, Vec<Frame>) {
    let mut reader = Reader::new(File::open(file).expect("opening the file")).expect("a trace");
    let (mut meta, mut frames) = (None, Vec::new());
    while let Some(found) = reader.next().expect("reading") {
        match found {
            Found::File(of) => meta = Some(*of),
            Found::Frame(frame) => frames.push(frame),
            Found::End(_) => {}
            other => panic!("not sound: {other:?}"),
        }
    }
    (meta.expect("META"), frames)
}

fn length(meta: &FileMeta, frames: &[Frame]) -> u64 {
    let ticks = frames.iter().filter_map(|frame| match frame {
        Frame::Tick { time_ns, .. } => Some(*time_ns),
        _ => None,
    });
    ticks.max().expect("a tick") - meta.run.started_ns
}

/// A frame as it is in that round; what is told once is told in the first.
fn later(frame: &Frame, round: u64, length_ns: u64, frames: &[Frame]) -> Option<Frame> {
    let by_ns = round * length_ns;
    Some(match frame {
        Frame::Records(batch) => Frame::Records(shifted(batch, by_ns)),
        Frame::Tick { time_ns, wall_ns } => {
            Frame::Tick { time_ns: time_ns + by_ns, wall_ns: wall_ns + by_ns }
        }
        Frame::Totals(totals) => Frame::Totals(more(totals, round, frames)),
        Frame::Seed { .. } | Frame::Ports(_) | Frame::Sysctls(_) if round > 0 => return None,
        other => other.clone(),
    })
}

fn shifted(batch: &Bytes, by_ns: u64) -> Bytes {
    let mut shifted = BytesMut::with_capacity(batch.len());
    for record in decode::records(batch) {
        let at = shifted.len();
        shifted.extend_from_slice(record);
        if record[0] != RecordKind::Process as u8 {
            let time = &mut shifted[at..][TIME];
            let time_ns = u64::from_ne_bytes((&*time).try_into().expect("eight bytes"));
            time.copy_from_slice(&(time_ns + by_ns).to_ne_bytes());
        }
    }
    shifted.freeze()
}

/// Totals go on from those of the rounds before.
fn more(totals: &Totals, round: u64, frames: &[Frame]) -> Totals {
    let last = frames.iter().rev().find_map(|frame| match frame {
        Frame::Totals(totals) => Some(totals),
        _ => None,
    });
    let last = last.expect("there are totals");
    let add = |(netns, counters): &(Option<u32>, Counters)| {
        let of_a_round = last.by_netns.iter().find(|(known, _)| known == netns);
        let mut sum = *counters;
        if let Some((_, more)) = of_a_round {
            let pairs = sum.pairs.iter_mut().zip(more.pairs);
            let outcomes = sum.outcomes.iter_mut().zip(more.outcomes);
            let births = sum.births.iter_mut().zip(more.births);
            let ends = sum.ends.iter_mut().zip(more.ends);
            let searches = sum.searches.iter_mut().zip(more.searches);
            let all = pairs.chain(outcomes).chain(births).chain(ends).chain(searches);
            all.for_each(|(sum, more)| *sum += more * round);
        }
        (*netns, sum)
    };
    let mut by_netns: Vec<_> = totals.by_netns.iter().map(add).collect();
    // A namespace is told of from its first transition on.
    let known = |netns| totals.by_netns.iter().any(|(known, _)| *known == netns);
    let missing = last.by_netns.iter().filter(|(netns, _)| round > 0 && !known(*netns));
    by_netns.extend(missing.map(|(netns, _)| add(&(*netns, Counters::ZERO))));
    Totals { by_netns, missed: totals.missed }
}
