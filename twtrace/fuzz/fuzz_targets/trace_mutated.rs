//! A file that is sound on the outside, whatever its payloads are.
//!
//! The input is frames: type, flags, count and length of the payload in 8 bytes, then the
//! payload, which is compressed and sealed here. So what is changed gets past the checksums.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twtrace::trace::layout::{FRAME_MAGIC, FileHeader, FrameHeader};
use zerocopy::{FromBytes, IntoBytes, little_endian::U16};

fuzz_target!(|data: &[u8]| twtrace_fuzz::report(&file(data)[..]));

fn file(data: &[u8]) -> Vec<u8> {
    let mut file = FileHeader::new().as_bytes().to_vec();
    let mut rest = data;
    let mut sequence = 0;
    while let Ok(([frame_type, flags, count, len], payload)) = <[U16; 4]>::read_from_prefix(rest) {
        let (payload, after) = payload.split_at(payload.len().min(len.get().into()));
        file.extend(frame(sequence, [frame_type, flags, count], payload));
        (sequence, rest) = (sequence + 1, after);
    }
    file
}

fn frame(sequence: u64, [frame_type, flags, count]: [U16; 3], payload: &[u8]) -> Vec<u8> {
    let packed = zstd::bulk::compress(payload, 1).expect("memory can be compressed");
    let header = FrameHeader {
        magic: FRAME_MAGIC,
        frame_type,
        flags,
        sequence: sequence.into(),
        time_ns: sequence.into(),
        count: u32::from(count.get()).into(),
        compressed: (packed.len() as u32).into(),
        raw: (payload.len() as u32).into(),
        header_checksum: 0.into(),
        checksum: 0.into(),
    };
    [header.sealed(&packed).as_bytes(), &packed].concat()
}
