//! Frames into a file.

use std::io::{self, Write};

use bytes::BytesMut;
use zerocopy::IntoBytes;
use zstd::bulk::Compressor;

use super::{
    UnknownFrame,
    content::{self, End, FileMeta, Part},
    events::{self, Encoder},
    layout::{
        FRAME_HEADER, FRAME_MAGIC, FileHeader, FrameHeader, FrameType, MAX_COMPRESSED, MAX_RAW,
        frame_flags,
    },
};
use crate::{decode, frame::Frame};

/// Records of one frame: enough to compress well, little enough to be lost together.
const RECORDS: usize = 4_096;
/// No frame of records is longer than this, compressed.
const LONGEST_EVENTS: usize = 64 << 10;
/// A higher level costs more than it saves: docs/decisions/0011-trace-format.md.
const LEVEL: i32 = 1;

/// Writes one file. Each frame goes out in one write as soon as it is complete: records
/// when there are enough of them, or when anything else comes, a tick for instance.
pub struct Writer<W> {
    out: W,
    compressor: Compressor<'static>,
    encoder: Encoder,
    /// Records that wait for their frame.
    waiting: BytesMut,
    waiting_count: usize,
    payload: Vec<u8>,
    /// The frame under way.
    framed: Vec<u8>,
    sequence: u64,
    written: u64,
    events: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a file with what it is.
    ///
    /// # Errors
    /// Of `out`.
    pub fn new(out: W, meta: &FileMeta) -> io::Result<Self> {
        let mut writer = Self {
            out,
            compressor: Compressor::new(LEVEL)?,
            encoder: Encoder::default(),
            waiting: BytesMut::new(),
            waiting_count: 0,
            payload: Vec::new(),
            framed: Vec::new(),
            sequence: 0,
            written: 0,
            events: 0,
        };
        let header = FileHeader::new();
        writer.put(header.as_bytes())?;
        // Twice: nothing else can be understood without.
        writer.part(&content::meta(meta))?;
        writer.part(&content::meta(meta))?;
        Ok(writer)
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Records taken in so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// What it writes to.
    pub fn get_ref(&self) -> &W {
        &self.out
    }

    /// What it wrote to, without an end.
    pub fn into_inner(self) -> W {
        self.out
    }

    /// Takes in one frame.
    ///
    /// # Errors
    /// Of the output.
    pub fn frame(&mut self, frame: &Frame) -> io::Result<()> {
        if let Frame::Records(batch) = frame {
            return self.records(batch);
        }
        self.flush()?;
        content::parts(frame).iter().try_for_each(|part| self.part(part))
    }

    /// Writes the records that wait for their frame.
    ///
    /// # Errors
    /// Of the output.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.waiting_count > 0 {
            let (records, count) = (self.waiting.split(), self.waiting_count);
            self.waiting_count = 0;
            self.write_events(&records, count)?;
            // The memory comes back.
            self.waiting = records;
            self.waiting.clear();
        }
        self.out.flush()
    }

    /// Ends the file.
    ///
    /// # Errors
    /// Of the output.
    pub fn end(mut self, end: &End) -> io::Result<W> {
        self.flush()?;
        self.part(&content::end(end))?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn records(&mut self, batch: &[u8]) -> io::Result<()> {
        for record in decode::records(batch) {
            self.waiting.extend_from_slice(record);
            self.waiting_count += 1;
            self.events += 1;
            if self.waiting_count == RECORDS {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// A frame of records; two, if they do not compress as records do.
    fn write_events(&mut self, records: &[u8], count: usize) -> io::Result<()> {
        let time_ns = events::first_time_ns(records).unwrap_or(0);
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        self.encoder.payload(decode::records(records), time_ns, &mut payload);
        let part = Part { frame_type: FrameType::Events, more: false, time_ns, count, payload };
        let too_long = self.pack(&part)? > LONGEST_EVENTS && count > 1;
        self.payload = part.payload;
        if !too_long {
            return self.put_framed();
        }
        let first: usize = decode::records(records).take(count / 2).map(<[u8]>::len).sum();
        let (first, second) = records.split_at(first);
        self.write_events(first, count / 2)?;
        self.write_events(second, count - count / 2)
    }

    /// Takes in a frame that a later version wrote, as it is.
    ///
    /// # Errors
    /// Of the output.
    pub fn unknown(&mut self, frame: &UnknownFrame) -> io::Result<()> {
        self.flush()?;
        let UnknownFrame { frame_type, flags, time_ns, count, ref payload } = *frame;
        self.pack_as(frame_type, flags, time_ns, count, payload)?;
        self.put_framed()
    }

    fn part(&mut self, part: &Part) -> io::Result<()> {
        self.pack(part)?;
        self.put_framed()
    }

    /// Makes the frame of `part`; returns the length of its payload.
    fn pack(&mut self, part: &Part) -> io::Result<usize> {
        let flags = if part.more { frame_flags::MORE } else { 0 };
        let count = u32::try_from(part.count).unwrap_or(u32::MAX);
        self.pack_as(part.frame_type as u16, flags, part.time_ns, count, &part.payload)
    }

    fn pack_as(
        &mut self,
        frame_type: u16,
        flags: u16,
        time_ns: u64,
        count: u32,
        payload: &[u8],
    ) -> io::Result<usize> {
        let packed = self.compressor.compress(payload)?;
        let lengths = (fits(packed.len(), MAX_COMPRESSED), fits(payload.len(), MAX_RAW));
        let (Some(compressed), Some(raw)) = lengths else {
            return Err(io::Error::other(format!("a frame of type {frame_type} is too long")));
        };
        let header = FrameHeader {
            magic: FRAME_MAGIC,
            frame_type: frame_type.into(),
            flags: flags.into(),
            sequence: self.sequence.into(),
            time_ns: time_ns.into(),
            count: count.into(),
            compressed: compressed.into(),
            raw: raw.into(),
            header_checksum: 0.into(),
            checksum: 0.into(),
        }
        .sealed(&packed);
        self.framed.clear();
        self.framed.reserve(FRAME_HEADER + packed.len());
        self.framed.extend_from_slice(header.as_bytes());
        self.framed.extend_from_slice(&packed);
        Ok(packed.len())
    }

    fn put_framed(&mut self) -> io::Result<()> {
        let framed = std::mem::take(&mut self.framed);
        self.put(&framed)?;
        self.framed = framed;
        self.sequence += 1;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

fn fits(len: usize, most: u32) -> Option<u32> {
    u32::try_from(len).ok().filter(|len| *len <= most)
}
