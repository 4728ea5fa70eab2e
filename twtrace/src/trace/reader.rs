//! Frames out of a file, whatever the file holds.

use std::{
    fmt,
    io::{self, Read},
    ops::Range,
};

use bytes::Bytes;
use thiserror::Error;
use zerocopy::FromBytes;
use zstd::bulk::Decompressor;

use super::{
    Malformed,
    content::{Assembler, Content, End, FileMeta},
    events,
    layout::{
        FILE_HEADER, FILE_MAGIC, FRAME_HEADER, FRAME_MAGIC, FileHeader, FrameHeader, FrameType,
        MAX_COMPRESSED, VERSION, frame_flags,
    },
};
use crate::frame::Frame;

/// Why a file cannot be read at all, or not any further.
#[derive(Debug, Error)]
pub enum FileError {
    /// It is empty.
    #[error("is empty")]
    Empty,
    /// It does not begin as trace files do.
    #[error("is no twtrace recording")]
    NoTrace,
    /// A later version of twtrace wrote it.
    #[error("has format version {major}.{minor}, and this twtrace reads up to {}.x: use a newer twtrace", VERSION.0)]
    Newer {
        /// Its version.
        major: u16,
        /// The part of it that would not matter.
        minor: u16,
    },
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// A part of a file that is not sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it begins.
    pub offset: u64,
    /// How many bytes it has; 0 where something is missing.
    pub len: u64,
    /// The frame that is damaged, if that can be told.
    pub frame: Option<DamagedFrame>,
    /// What is wrong with it.
    pub why: String,
}

/// What is known of a frame that is damaged, or missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedFrame {
    /// Its type; `None` for one that this version does not know.
    pub frame_type: Option<FrameType>,
    /// Its number in the file.
    pub sequence: u64,
    /// How many records, or rows, it had.
    pub count: u32,
}

impl Damage {
    /// Records that got lost, as far as that can be told.
    pub fn records(&self) -> u64 {
        let events = self.frame.filter(|frame| frame.frame_type == Some(FrameType::Events));
        events.map_or(0, |frame| u64::from(frame.count))
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, len, frame, why } = self;
        write!(f, "offset {offset}, {len} bytes: {why}")?;
        match frame {
            Some(DamagedFrame { frame_type: Some(known), sequence, count }) => {
                let rows = if *known == FrameType::Events { "events" } else { "entries" };
                write!(f, "; lost: frame {sequence}, {} with {count} {rows}", known.name())
            }
            Some(DamagedFrame { frame_type: None, sequence, .. }) => {
                write!(f, "; lost: frame {sequence}, of an unknown type")
            }
            None => Ok(()),
        }
    }
}

/// What comes next in a file.
#[derive(Clone, Debug)]
pub enum Found {
    /// A file begins: the first, or one that follows it in the same file.
    File(Box<FileMeta>),
    /// A step of the run.
    Frame(Frame),
    /// A file ends as it should.
    End(Box<End>),
    /// A part that is not sound.
    Damage(Damage),
    /// A frame of a type that this version does not know.
    Unknown(UnknownFrame),
}

/// A sound frame of a type that a later version added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownFrame {
    /// Its type.
    pub frame_type: u16,
    /// Its flags.
    pub flags: u16,
    /// When what it tells began.
    pub time_ns: u64,
    /// How many rows it has.
    pub count: u32,
    /// Its payload, expanded.
    pub payload: Vec<u8>,
}

/// Reads a file, front to back. Its memory does not depend on the file.
pub struct Reader<R> {
    input: R,
    /// What was read and not used yet: `buffer[used..filled]`.
    buffer: Vec<u8>,
    used: usize,
    filled: usize,
    /// Where `buffer[used]` is in the file.
    offset: u64,
    input_ended: bool,
    raw: Vec<u8>,
    decompressor: Decompressor<'static>,
    assembler: Assembler,
    /// The number that the next frame should have.
    expected: u64,
    /// The numbers of the frames that were missing last.
    skipped: Range<u64>,
    /// What the file under way is, once that was found.
    meta: Option<FileMeta>,
    stage: Stage,
    /// Where the frame is that was found last.
    last: Range<u64>,
}

/// How far the file under way has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was read yet.
    New,
    /// Its header was.
    Open,
    /// END was, or it was said that it is missing.
    Over,
}

/// Input is read in pieces of about this size.
const PIECE: usize = 256 << 10;

impl<R: Read> Reader<R> {
    /// Of a file from its beginning.
    ///
    /// # Errors
    /// It cannot be read, or is no trace file of a version that can be.
    pub fn new(input: R) -> Result<Self, FileError> {
        let mut reader = Self {
            input,
            buffer: vec![0; PIECE],
            used: 0,
            filled: 0,
            offset: 0,
            input_ended: false,
            raw: Vec::new(),
            decompressor: Decompressor::new()?,
            assembler: Assembler::default(),
            expected: 0,
            skipped: 0..0,
            meta: None,
            stage: Stage::New,
            last: 0..0,
        };
        // No more than is needed: whoever writes into a pipe may take its time.
        reader.fill(FILE_MAGIC.len())?;
        if reader.ahead().is_empty() {
            return Err(FileError::Empty);
        }
        if !reader.ahead().starts_with(&FILE_MAGIC) {
            // Its first bytes may be damaged, or gone.
            reader.fill(PIECE)?;
            let ahead = reader.ahead();
            let is_trace = (0..ahead.len()).any(|at| begins(&ahead[at..]));
            if !is_trace {
                return Err(FileError::NoTrace);
            }
            reader.stage = Stage::Open;
        }
        Ok(reader)
    }

    /// Where the last frame that was found is in the file.
    pub fn last(&self) -> Range<u64> {
        self.last.clone()
    }

    /// What comes next; `None` at the end.
    ///
    /// # Errors
    /// It cannot be read any further.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator of results goes on after an error, and this must not"
    )]
    pub fn next(&mut self) -> Result<Option<Found>, FileError> {
        loop {
            self.fill(FRAME_HEADER)?;
            let ahead = self.ahead();
            if ahead.is_empty() {
                return Ok(self.unfinished().map(Found::Damage));
            }
            if ahead.starts_with(&FILE_MAGIC) {
                match self.file()? {
                    Some(damage) => return Ok(Some(Found::Damage(damage))),
                    None => continue,
                }
            }
            if let Some(found) = self.frame()? {
                return Ok(Some(found));
            }
        }
    }

    /// A file begins.
    fn file(&mut self) -> Result<Option<Damage>, FileError> {
        let header = FileHeader::read_from_prefix(self.ahead());
        let sound = header.ok().map(|(header, _)| header).filter(FileHeader::is_sound);
        let Some(header) = sound else {
            // If a file begins here, its META says so.
            if self.stage == Stage::New {
                self.stage = Stage::Open;
            }
            return Ok(Some(self.skip("the header of the file is damaged")?));
        };
        // One that ends without END says so before the next begins.
        if let Some(unfinished) = self.unfinished() {
            return Ok(Some(unfinished));
        }
        let (major, minor) = (header.major.get(), header.minor.get());
        if major > VERSION.0 {
            return Err(FileError::Newer { major, minor });
        }
        self.begin();
        self.advance(FILE_HEADER);
        Ok(None)
    }

    fn begin(&mut self) {
        self.stage = Stage::Open;
        self.expected = 0;
        self.skipped = 0..0;
        self.meta = None;
        self.assembler.forget();
    }

    /// Says once that the file under way has no END.
    fn unfinished(&mut self) -> Option<Damage> {
        let was_open = std::mem::replace(&mut self.stage, Stage::Over) == Stage::Open;
        was_open.then(|| Damage {
            offset: self.offset,
            len: 0,
            frame: None,
            why: "the recording ends without END: it was cut short, and has no last Snapshot"
                .to_owned(),
        })
    }

    /// The frame ahead; `None` for one that is passed over.
    fn frame(&mut self) -> Result<Option<Found>, FileError> {
        let Some(header) = self.header() else {
            let is_cut = self.input_ended && self.ahead().len() < FRAME_HEADER;
            let why = if is_cut { "the last frame is cut off" } else { "no frame begins here" };
            return self.skip(why).map(|damage| Some(Found::Damage(damage)));
        };
        let compressed = header.compressed.get() as usize;
        self.fill(FRAME_HEADER + compressed)?;
        // Of a frame that is not sound the number is.
        let is_meta = header.frame_type.get() == FrameType::Meta as u16;
        if !is_meta && let Some(missing) = self.missing(&header) {
            return Ok(Some(Found::Damage(missing)));
        }
        let Some(payload) = self.ahead().get(FRAME_HEADER..FRAME_HEADER + compressed) else {
            let len = self.extent(self.ahead().len());
            let damage = self.damaged(&header, len, "the frame is cut off");
            return Ok(Some(Found::Damage(damage)));
        };
        let len = FRAME_HEADER + compressed;
        if !header.covers(payload) {
            let len = self.extent(len);
            return Ok(Some(Found::Damage(self.damaged(&header, len, "its checksum is wrong"))));
        }
        if !is_meta && header.sequence.get() < self.expected {
            return Ok(Some(Found::Damage(self.told_before(&header, len))));
        }
        let content = self.content(&header, compressed);
        match content {
            Ok(Some(Content::Meta(meta))) => Ok(self.file_of(meta, &header, len)),
            Ok(content) => {
                self.pass(&header, len);
                Ok(content.and_then(|content| self.found(content)))
            }
            Err(malformed) => {
                let damage = self.damaged(&header, len, &malformed.to_string());
                Ok(Some(Found::Damage(damage)))
            }
        }
    }

    fn header(&self) -> Option<FrameHeader> {
        frame_header(self.ahead())
    }

    /// How far a damaged frame of `len` bytes really goes: another may begin within, where
    /// a part is missing, or a file was cut off and another put behind it.
    fn extent(&self, len: usize) -> usize {
        let mut at = 0;
        let ahead = self.ahead();
        while at < len {
            at += next_candidate(&ahead[at..]);
            if ahead.get(at..).is_some_and(begins) {
                return at.min(len);
            }
        }
        len
    }

    fn content(
        &mut self,
        header: &FrameHeader,
        compressed: usize,
    ) -> Result<Option<Content>, Malformed> {
        let payload = &self.buffer[self.used + FRAME_HEADER..self.used + FRAME_HEADER + compressed];
        let raw_len = header.raw.get() as usize;
        self.raw.clear();
        self.raw.reserve(raw_len);
        let expanded = self.decompressor.decompress_to_buffer(payload, &mut self.raw);
        if expanded.map_err(|_| Malformed::Compression)? != raw_len {
            return Err(Malformed::Compression);
        }
        let Some(frame_type) = FrameType::from_raw(header.frame_type.get()) else {
            return Ok(Some(Content::Unknown(self.unknown(header))));
        };
        let count = header.count.get() as usize;
        if frame_type == FrameType::Events {
            self.assembler.forget();
            let records: Bytes = events::records(&self.raw, header.time_ns.get(), count)?;
            return Ok(Some(Content::Frame(Frame::Records(records))));
        }
        let more = header.flags.get() & frame_flags::MORE != 0;
        self.assembler.content(frame_type, count, more, &self.raw)
    }

    fn unknown(&self, header: &FrameHeader) -> UnknownFrame {
        UnknownFrame {
            frame_type: header.frame_type.get(),
            flags: header.flags.get(),
            time_ns: header.time_ns.get(),
            count: header.count.get(),
            payload: self.raw.clone(),
        }
    }

    /// META, of which each file has two. Where it tells of another file, that begins here,
    /// and its header is damaged or gone.
    fn file_of(&mut self, meta: Box<FileMeta>, header: &FrameHeader, len: usize) -> Option<Found> {
        if self.meta.as_ref() == Some(&*meta) {
            self.pass(header, len);
            return None;
        }
        if self.meta.is_some() {
            if let Some(unfinished) = self.unfinished() {
                return Some(Found::Damage(unfinished));
            }
            self.begin();
        }
        if let Some(missing) = self.missing(header) {
            return Some(Found::Damage(missing));
        }
        self.meta = Some((*meta).clone());
        self.pass(header, len);
        Some(Found::File(meta))
    }

    fn found(&mut self, content: Content) -> Option<Found> {
        match content {
            // See above.
            Content::Meta(_) => None,
            Content::Frame(frame) => Some(Found::Frame(frame)),
            Content::Unknown(unknown) => Some(Found::Unknown(unknown)),
            Content::End(end) => {
                self.stage = Stage::Over;
                Some(Found::End(end))
            }
        }
    }

    /// The frame ahead, of `len` bytes, is behind a later one.
    fn told_before(&mut self, header: &FrameHeader, len: usize) -> Damage {
        let sequence = header.sequence.get();
        if self.skipped.contains(&sequence) {
            return self.damaged(header, len, "it comes after later ones");
        }
        let offset = self.offset;
        self.assembler.forget();
        self.pass(header, len);
        // It was read where it belongs: nothing is lost.
        let why = format!("frame {sequence} comes again");
        Damage { offset, len: len as u64, frame: None, why }
    }

    /// Frames that should have come before this one; they are counted as told then.
    fn missing(&mut self, header: &FrameHeader) -> Option<Damage> {
        let missing = self.expected..header.sequence.get();
        if missing.is_empty() {
            return None;
        }
        self.assembler.forget();
        self.expected = missing.end;
        self.skipped = missing.clone();
        Some(Damage {
            offset: self.offset,
            len: 0,
            frame: None,
            why: format!("frames {} to {} are missing", missing.start, missing.end - 1),
        })
    }

    /// The frame ahead, of `len` bytes, cannot be used.
    fn damaged(&mut self, header: &FrameHeader, len: usize, why: &str) -> Damage {
        let damage = Damage {
            offset: self.offset,
            len: len as u64,
            frame: Some(DamagedFrame {
                frame_type: FrameType::from_raw(header.frame_type.get()),
                sequence: header.sequence.get(),
                count: header.count.get(),
            }),
            why: why.to_owned(),
        };
        self.assembler.forget();
        self.pass(header, len);
        damage
    }

    fn pass(&mut self, header: &FrameHeader, len: usize) {
        self.last = self.offset..self.offset + len as u64;
        self.expected = self.expected.max(header.sequence.get().saturating_add(1));
        self.advance(len);
    }

    /// Goes on to where the next frame, or file, begins.
    fn skip(&mut self, why: &str) -> Result<Damage, FileError> {
        let offset = self.offset;
        self.advance(1);
        self.assembler.forget();
        loop {
            self.fill(FRAME_HEADER)?;
            if self.ahead().is_empty() || begins(self.ahead()) {
                let len = self.offset - offset;
                return Ok(Damage { offset, len, frame: None, why: why.to_owned() });
            }
            let step = next_candidate(self.ahead());
            self.advance(step);
        }
    }

    fn ahead(&self) -> &[u8] {
        &self.buffer[self.used..self.filled]
    }

    fn advance(&mut self, len: usize) {
        let len = len.min(self.filled - self.used);
        self.used += len;
        self.offset += len as u64;
    }

    /// Reads until `len` bytes are ahead, or the input ends.
    fn fill(&mut self, len: usize) -> Result<(), FileError> {
        debug_assert!(len <= FRAME_HEADER + MAX_COMPRESSED as usize);
        if self.ahead().len() >= len || self.input_ended {
            return Ok(());
        }
        self.buffer.copy_within(self.used..self.filled, 0);
        (self.used, self.filled) = (0, self.filled - self.used);
        if self.buffer.len() < len {
            let mut longer = vec![0; len + PIECE];
            longer[..self.filled].copy_from_slice(&self.buffer[..self.filled]);
            self.buffer = longer;
        }
        while self.filled < len && !self.input_ended {
            match self.input.read(&mut self.buffer[self.filled..]) {
                Ok(read) => {
                    self.filled += read;
                    self.input_ended = read == 0;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn frame_header(ahead: &[u8]) -> Option<FrameHeader> {
    let (header, _) = FrameHeader::read_from_prefix(ahead).ok()?;
    header.is_sound().then_some(header)
}

/// Whether a frame, or a file, begins at the bytes `ahead`. It need not be whole: then it
/// is told as damaged by itself.
fn begins(ahead: &[u8]) -> bool {
    if ahead.starts_with(&FILE_MAGIC) {
        let header = FileHeader::read_from_prefix(ahead);
        return header.is_ok_and(|(header, _)| header.is_sound());
    }
    frame_header(ahead).is_some()
}

/// How far it is to where a frame or a file may begin, at least 1.
fn next_candidate(ahead: &[u8]) -> usize {
    // What both begin with; of the rest of a magic the input may be short.
    let first = FRAME_MAGIC[0];
    let rest = ahead.get(1..).unwrap_or_default();
    rest.iter().position(|byte| *byte == first).map_or(ahead.len().max(1), |at| at + 1)
}
