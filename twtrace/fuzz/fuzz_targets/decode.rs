//! A batch of records, whatever is in it.
//!
//! The first byte says which hooks wrote it, the second how many records come between two
//! ticks; the rest is the batch.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use twtrace::{decode, frame::Frame, frame::Meta, probes::Tier};
use twtrace_fuzz::{Run, some_meta};

fuzz_target!(|data: &[u8]| {
    let &[hooks, pace, ref batch @ ..] = data else { return };
    let events = decode::events(batch).filter(Result::is_ok).count();
    assert!(events <= decode::records(batch).count());
    let mut run = Run::new(meta(hooks));
    let pace = usize::from(pace) + 1;
    let mut rest = batch;
    while !rest.is_empty() {
        let len: usize = decode::records(rest).take(pace).map(<[u8]>::len).sum();
        // What is no record goes in, too.
        let (now, later) = rest.split_at(if len == 0 { rest.len() } else { len });
        run.take(&Frame::Records(Bytes::copy_from_slice(now)));
        let time_ns = decode::events(now).flatten().filter_map(|event| event.time_ns()).max();
        run.take(&Frame::Tick { time_ns: time_ns.unwrap_or(0), wall_ns: 1 });
        rest = later;
    }
    run.go_on(u64::MAX).take(&Frame::Tick { time_ns: u64::MAX, wall_ns: 1 });
});

fn meta(bits: u8) -> Meta {
    let mut meta = some_meta().run;
    let tier = |bit: u8, tier: Tier| (bits & bit != 0).then_some(tier);
    let functions = tier(1, Tier::Fentry).unwrap_or(Tier::Tracepoint);
    meta.hooks.fields_known = bits & 2 != 0;
    meta.hooks.time_wait = tier(4, functions);
    meta.hooks.port_search = tier(8, functions);
    meta.hooks.cpu_share = tier(16, Tier::Tracepoint);
    meta.hooks.ports_tried = tier(32, functions);
    meta
}
