//! What frames of a file hold, as payloads and back. EVENTS has a file of its own.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use twtrace_common::TcpState;

use super::{
    Malformed,
    columns::{Cursor, put_varint},
    documents::{self, HostDocument, ProcessDocument, TotalsDocument},
    layout::{FrameType, MAX_DOCUMENT, MAX_DOCUMENTS_TOGETHER, MAX_ROWS_TOGETHER},
    reader::UnknownFrame,
    rows,
};
use crate::{
    frame::{
        Carried, CarriedCounts, CloseWaiting, CloseWaits, Frame, Meta, Polled, PolledMini,
        ProcessFacts, SeedMini, SeedSocket, Sysctls, Totals,
    },
    stats::snapshot::Snapshot,
};

/// What one file is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMeta {
    /// The program that wrote it, and its version.
    pub tool: String,
    /// The version of the Snapshot in END.
    pub schema: u32,
    /// Which recording, and which of its files.
    pub recording: Recording,
    /// The run.
    pub run: Meta,
    /// How many sockets were remembered at most.
    pub max_connections: usize,
    /// How many rows the arrays of the Snapshot in END have.
    pub rows: usize,
    /// The only network namespace that was traced; `None` for all.
    pub netns: Option<u32>,
}

/// Which recording a file belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// What no other recording is called.
    pub id: String,
    /// The number of the file, from 0.
    pub file: u64,
}

/// How a file ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// The last Snapshot; `None` if there was none.
    pub snapshot: Option<Value>,
    /// Records in the file.
    pub events: u64,
    /// Whether the recording goes on in the next file.
    pub goes_on: bool,
}

impl End {
    /// After the last Snapshot; whoever writes it knows how many records there were.
    ///
    /// # Errors
    /// None that a Snapshot can cause.
    pub fn new(snapshot: Option<&Snapshot>, goes_on: bool) -> anyhow::Result<Self> {
        let snapshot = snapshot.map(serde_json::to_value).transpose()?;
        Ok(Self { snapshot, events: 0, goes_on })
    }
}

/// LOSS.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct LossDocument {
    records: u64,
}

/// What a frame of a file holds.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// META.
    Meta(Box<FileMeta>),
    /// A step of the run.
    Frame(Frame),
    /// END.
    End(Box<End>),
    /// Of a type that this version does not know.
    Unknown(UnknownFrame),
}

/// A payload, and what its header says of it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) frame_type: FrameType,
    pub(super) more: bool,
    pub(super) time_ns: u64,
    pub(super) count: usize,
    pub(super) payload: Vec<u8>,
}

impl Part {
    fn new(frame_type: FrameType, count: usize, payload: Vec<u8>) -> Self {
        Self { frame_type, more: false, time_ns: 0, count, payload }
    }
}

/// Rows in one frame: of JSON, and of sockets. What they are compressed to is below 64 KiB.
const DOCUMENTS: usize = 64;
const ROWS: usize = 2_048;
/// Rows of JSON are divided further where they are longer than this.
const LONG_DOCUMENT: usize = MAX_DOCUMENT as usize / 2;

pub(super) fn meta(meta: &FileMeta) -> Part {
    Part::new(FrameType::Meta, 1, documents::write(meta))
}

pub(super) fn end(end: &End) -> Part {
    Part::new(FrameType::End, 1, documents::write(end))
}

/// The parts of a frame other than [`Frame::Records`], which has none.
pub(super) fn parts(frame: &Frame) -> Vec<Part> {
    match frame {
        Frame::Records(_) => Vec::new(),
        Frame::Seed { sockets, minis, until_ns, complete } => {
            seeds(Section::Seed { complete: *complete }, *until_ns, sockets, minis)
        }
        Frame::Processes(facts) => in_parts(FrameType::Dict, facts, |rows| {
            let rows: Vec<_> = rows.iter().map(ProcessDocument::from).collect();
            documents::write(&rows)
        }),
        Frame::Totals(Totals { by_netns, missed }) => {
            in_parts(FrameType::Counters, by_netns, |rows| {
                documents::write(&TotalsDocument::new(*missed, rows))
            })
        }
        Frame::Kernel(counters) => in_parts(FrameType::Host, counters, |rows| {
            documents::write(&HostDocument::Kernel(rows.to_vec()))
        }),
        Frame::Ports(facts) => in_parts(FrameType::Host, facts, |rows| {
            documents::write(&HostDocument::Ports(rows.to_vec()))
        }),
        Frame::Sysctls(sysctls) => {
            in_parts(FrameType::Sysctl, sysctls, |rows| documents::write(&rows))
        }
        Frame::Polled(look) => looks(look.as_ref()),
        Frame::CloseWaits(looked) => close_waits(looked.as_ref()),
        Frame::Lost { records } => {
            let document = documents::write(&LossDocument { records: *records });
            vec![Part::new(FrameType::Loss, 1, document)]
        }
        Frame::Carried(carried) => carried_parts(carried),
        Frame::Tick { time_ns, wall_ns } => {
            let payload = [time_ns.to_le_bytes(), wall_ns.to_le_bytes()].concat();
            vec![Part { time_ns: *time_ns, ..Part::new(FrameType::Tick, 1, payload) }]
        }
    }
}

/// Documents over as many frames as they need, at least one.
fn in_parts<T>(frame_type: FrameType, rows: &[T], document: impl Fn(&[T]) -> Vec<u8>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut put = |rows: &[T]| {
        divided(rows, &document, &mut |rows, payload| {
            parts.push(Part::new(frame_type, rows.len(), payload));
        });
    };
    rows.chunks(DOCUMENTS).for_each(&mut put);
    if rows.is_empty() {
        put(rows);
    }
    all_but_the_last_go_on(parts)
}

/// A document of all rows, or documents of parts of them, none of which is long unless it
/// is of a single row.
fn divided<T>(
    rows: &[T],
    document: &impl Fn(&[T]) -> Vec<u8>,
    put: &mut impl FnMut(&[T], Vec<u8>),
) {
    let payload = document(rows);
    if payload.len() <= LONG_DOCUMENT || rows.len() < 2 {
        return put(rows, payload);
    }
    let (first, second) = rows.split_at(rows.len() / 2);
    divided(first, document, put);
    divided(second, document, put);
}

fn all_but_the_last_go_on(mut parts: Vec<Part>) -> Vec<Part> {
    if let Some((_, others)) = parts.split_last_mut() {
        others.iter_mut().for_each(|part| part.more = true);
    }
    parts
}

/// The first byte of SEED: what follows.
#[derive(Clone, Copy, Debug)]
enum Section {
    Seed { complete: bool },
    Destinations,
    Sockets,
    Minis,
    CarriedSeeds,
    Counts,
    Openers,
}

impl Section {
    fn number(self) -> u8 {
        match self {
            Self::Seed { complete: false } => 0,
            Self::Seed { complete: true } => 1,
            Self::Destinations => 2,
            Self::Sockets => 3,
            Self::Minis => 4,
            Self::CarriedSeeds => 5,
            Self::Counts => 6,
            Self::Openers => 7,
        }
    }

    fn from_number(number: u8) -> Result<Self, Malformed> {
        Ok(match number {
            0 => Self::Seed { complete: false },
            1 => Self::Seed { complete: true },
            2 => Self::Destinations,
            3 => Self::Sockets,
            4 => Self::Minis,
            5 => Self::CarriedSeeds,
            6 => Self::Counts,
            7 => Self::Openers,
            _ => return Err(Malformed::Unknown("a kind of seeds")),
        })
    }
}

/// Sockets before mini-sockets, and of the sockets those that listen before others: they
/// tell which of the others were accepted. Each part can be taken in by itself.
fn seeds(section: Section, time_ns: u64, sockets: &[SeedSocket], minis: &[SeedMini]) -> Vec<Part> {
    let part = |sockets: &[SeedSocket], minis: &[SeedMini]| {
        let mut payload = vec![section.number()];
        put_varint(&mut payload, time_ns);
        rows::put::<_, { rows::SEED_SOCKET }>(&mut payload, sockets);
        rows::put::<_, { rows::SEED_MINI }>(&mut payload, minis);
        Part::new(FrameType::Seed, sockets.len() + minis.len(), payload)
    };
    let (listeners, others): (Vec<_>, Vec<_>) =
        sockets.iter().copied().partition(|seed| seed.state == TcpState::Listen);
    let sockets = [listeners, others].concat();
    let parts = sockets.chunks(ROWS).map(|sockets| part(sockets, &[]));
    let mut parts: Vec<Part> =
        parts.chain(minis.chunks(ROWS).map(|minis| part(&[], minis))).collect();
    if parts.is_empty() {
        parts.push(part(&[], &[]));
    }
    parts
}

fn carried_parts(carried: &Carried) -> Vec<Part> {
    fn each<R: rows::Row, const N: usize>(section: Section, all: &[R]) -> Vec<Part> {
        let part = |some: &[R]| {
            let mut payload = vec![section.number()];
            rows::put::<R, N>(&mut payload, some);
            Part::new(FrameType::Seed, some.len(), payload)
        };
        all.chunks(ROWS).map(part).collect()
    }
    match carried {
        Carried::Destinations(all) => each::<_, { rows::DESTINATION }>(Section::Destinations, all),
        Carried::Sockets(all) => each::<_, { rows::SOCKET }>(Section::Sockets, all),
        Carried::Openers(all) => each::<_, { rows::OPENER }>(Section::Openers, all),
        Carried::Minis(all) => each::<_, { rows::MINI }>(Section::Minis, all),
        Carried::Seeds { time_ns, sockets, minis } => {
            seeds(Section::CarriedSeeds, *time_ns, sockets, minis)
        }
        Carried::Counts(counts) => {
            let payload = [vec![Section::Counts.number()], documents::write(counts)].concat();
            vec![Part::new(FrameType::Seed, 1, payload)]
        }
    }
}

fn looks(look: Option<&Polled>) -> Vec<Part> {
    let Some(look) = look else {
        return vec![Part::new(FrameType::Look, 0, vec![0])];
    };
    let mut head = vec![1];
    put_varint(&mut head, look.time_ns);
    put_varint(&mut head, look.until_ns);
    head.push(look.complete.into());
    put_varint(&mut head, look.states.len() as u64);
    for (state, count) in &look.states {
        head.push(*state as u8);
        put_varint(&mut head, *count);
    }
    for namespaces in [&look.looked_at, &look.failed] {
        put_varint(&mut head, namespaces.len() as u64);
        namespaces.iter().for_each(|netns| put_varint(&mut head, u64::from(*netns)));
    }
    let rows = |sockets: &[SeedSocket], minis: &[PolledMini]| {
        let mut payload = vec![2];
        rows::put::<_, { rows::SEED_SOCKET }>(&mut payload, sockets);
        rows::put::<_, { rows::POLLED_MINI }>(&mut payload, minis);
        Part::new(FrameType::Look, sockets.len() + minis.len(), payload)
    };
    let sockets = look.sockets.chunks(ROWS).map(|sockets| rows(sockets, &[]));
    let minis = look.minis.chunks(ROWS).map(|minis| rows(&[], minis));
    let head = Part { time_ns: look.time_ns, ..Part::new(FrameType::Look, 0, head) };
    all_but_the_last_go_on(std::iter::once(head).chain(sockets).chain(minis).collect())
}

fn close_waits(looked: Option<&CloseWaits>) -> Vec<Part> {
    let Some(CloseWaits { time_ns, complete, appeared, gone }) = looked else {
        return vec![Part::new(FrameType::CloseWait, 0, vec![0])];
    };
    let mut head = vec![1];
    put_varint(&mut head, *time_ns);
    head.push((*complete).into());
    let rows = |appeared: &[CloseWaiting], gone: &[u64]| {
        let mut payload = vec![2];
        rows::put::<_, { rows::CLOSE_WAITING }>(&mut payload, appeared);
        rows::put::<_, { rows::COOKIE }>(&mut payload, gone);
        Part::new(FrameType::CloseWait, appeared.len() + gone.len(), payload)
    };
    let appeared = appeared.chunks(ROWS).map(|appeared| rows(appeared, &[]));
    let gone = gone.chunks(ROWS).map(|gone| rows(&[], gone));
    let head = Part { time_ns: *time_ns, ..Part::new(FrameType::CloseWait, 0, head) };
    all_but_the_last_go_on(std::iter::once(head).chain(appeared).chain(gone).collect())
}

/// Payloads to content; keeps what goes on over several frames.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    partial: Option<Frame>,
    /// How long the payloads were that it came from.
    bytes: usize,
}

impl Assembler {
    /// Forgets what was to go on: the next frame is another, or got lost.
    pub(super) fn forget(&mut self) {
        self.partial = None;
        self.bytes = 0;
    }

    /// The content of a frame that is none of EVENTS, of which there must be `count` rows;
    /// `None` if it goes on in the next.
    pub(super) fn content(
        &mut self,
        frame_type: FrameType,
        count: usize,
        more: bool,
        payload: &[u8],
    ) -> Result<Option<Content>, Malformed> {
        let frame = match frame_type {
            FrameType::Meta => return Ok(Some(Content::Meta(documents::read(payload)?))),
            FrameType::End => return Ok(Some(Content::End(documents::read(payload)?))),
            FrameType::Events => return Err(Malformed::Unknown("records")),
            FrameType::Seed => seed(payload)?,
            FrameType::Tick => tick(payload)?,
            FrameType::Loss => {
                let LossDocument { records } = documents::read(payload)?;
                Frame::Lost { records }
            }
            FrameType::Dict => {
                let rows: Vec<ProcessDocument> = documents::read(payload)?;
                Frame::Processes(rows.into_iter().map(ProcessFacts::from).collect())
            }
            FrameType::Sysctl => Frame::Sysctls(documents::read::<Vec<Sysctls>>(payload)?),
            FrameType::Counters => {
                let mut totals = Totals::default();
                documents::read::<TotalsDocument>(payload)?.add_to(&mut totals)?;
                Frame::Totals(totals)
            }
            FrameType::Host => match documents::read(payload)? {
                HostDocument::Kernel(rows) => Frame::Kernel(rows),
                HostDocument::Ports(rows) => Frame::Ports(rows),
            },
            FrameType::Look => look(payload, self.partial.is_some())?,
            FrameType::CloseWait => looked_at_close_waits(payload, self.partial.is_some())?,
        };
        if rows_of(&frame) != count {
            return Err(Malformed::Count);
        }
        self.bytes += payload.len();
        if self.bytes > most_together(frame_type) {
            return Err(Malformed::Unknown("more rows than there can be"));
        }
        let frame = match self.partial.take() {
            Some(before) => joined(before, frame)?,
            None => frame,
        };
        if more {
            self.partial = Some(frame);
            return Ok(None);
        }
        self.bytes = 0;
        Ok(Some(Content::Frame(frame)))
    }
}

/// How long payloads that go on may be, all together.
fn most_together(frame_type: FrameType) -> usize {
    let rows = matches!(frame_type, FrameType::Look | FrameType::Seed | FrameType::CloseWait);
    (if rows { MAX_ROWS_TOGETHER } else { MAX_DOCUMENTS_TOGETHER }) as usize
}

/// The count in the header of a part.
fn rows_of(part: &Frame) -> usize {
    match part {
        Frame::Seed { sockets, minis, .. } => sockets.len() + minis.len(),
        Frame::Processes(rows) => rows.len(),
        Frame::Totals(totals) => totals.by_netns.len(),
        Frame::Kernel(rows) => rows.len(),
        Frame::Ports(rows) => rows.len(),
        Frame::Sysctls(rows) => rows.len(),
        Frame::Polled(look) => look.as_ref().map_or(0, |it| it.sockets.len() + it.minis.len()),
        Frame::CloseWaits(looked) => {
            looked.as_ref().map_or(0, |it| it.appeared.len() + it.gone.len())
        }
        Frame::Carried(Carried::Destinations(rows)) => rows.len(),
        Frame::Carried(Carried::Sockets(rows)) => rows.len(),
        Frame::Carried(Carried::Openers(rows)) => rows.len(),
        Frame::Carried(Carried::Minis(rows)) => rows.len(),
        Frame::Carried(Carried::Seeds { sockets, minis, .. }) => sockets.len() + minis.len(),
        Frame::Carried(Carried::Counts(_)) | Frame::Lost { .. } | Frame::Tick { .. } => 1,
        Frame::Records(_) => 0,
    }
}

/// What was told before, and what goes on.
fn joined(before: Frame, after: Frame) -> Result<Frame, Malformed> {
    fn extended<T>(mut before: Vec<T>, after: Vec<T>) -> Vec<T> {
        before.extend(after);
        before
    }
    Ok(match (before, after) {
        (Frame::Processes(before), Frame::Processes(after)) => {
            Frame::Processes(extended(before, after))
        }
        (Frame::Sysctls(before), Frame::Sysctls(after)) => Frame::Sysctls(extended(before, after)),
        (Frame::Kernel(before), Frame::Kernel(after)) => Frame::Kernel(extended(before, after)),
        (Frame::Ports(before), Frame::Ports(after)) => Frame::Ports(extended(before, after)),
        (Frame::Totals(before), Frame::Totals(after)) => Frame::Totals(Totals {
            by_netns: extended(before.by_netns, after.by_netns),
            missed: after.missed,
        }),
        (Frame::Polled(Some(before)), Frame::Polled(Some(after))) => Frame::Polled(Some(Polled {
            sockets: extended(before.sockets, after.sockets),
            minis: extended(before.minis, after.minis),
            ..before
        })),
        (Frame::CloseWaits(Some(before)), Frame::CloseWaits(Some(after))) => {
            Frame::CloseWaits(Some(CloseWaits {
                appeared: extended(before.appeared, after.appeared),
                gone: extended(before.gone, after.gone),
                ..before
            }))
        }
        _ => return Err(Malformed::Unknown("something else that goes on")),
    })
}

fn tick(payload: &[u8]) -> Result<Frame, Malformed> {
    let mut cursor = Cursor::new(payload);
    let time_ns = u64::from_le_bytes(cursor.array()?);
    let wall_ns = u64::from_le_bytes(cursor.array()?);
    cursor.finish()?;
    Ok(Frame::Tick { time_ns, wall_ns })
}

fn seed(payload: &[u8]) -> Result<Frame, Malformed> {
    let mut cursor = Cursor::new(payload);
    let section = Section::from_number(cursor.byte()?)?;
    let carried = match section {
        Section::Seed { complete } => {
            let (until_ns, sockets, minis) = seed_rows(&mut cursor)?;
            cursor.finish()?;
            return Ok(Frame::Seed { sockets, minis, until_ns, complete });
        }
        Section::Destinations => {
            Carried::Destinations(rows::read::<_, { rows::DESTINATION }>(&mut cursor)?)
        }
        Section::Sockets => Carried::Sockets(rows::read::<_, { rows::SOCKET }>(&mut cursor)?),
        Section::Openers => Carried::Openers(rows::read::<_, { rows::OPENER }>(&mut cursor)?),
        Section::Minis => Carried::Minis(rows::read::<_, { rows::MINI }>(&mut cursor)?),
        Section::CarriedSeeds => {
            let (time_ns, sockets, minis) = seed_rows(&mut cursor)?;
            Carried::Seeds { time_ns, sockets, minis }
        }
        Section::Counts => {
            let counts: CarriedCounts = documents::read(payload.get(1..).unwrap_or_default())?;
            return Ok(Frame::Carried(Carried::Counts(counts)));
        }
    };
    cursor.finish()?;
    Ok(Frame::Carried(carried))
}

fn seed_rows(cursor: &mut Cursor<'_>) -> Result<(u64, Vec<SeedSocket>, Vec<SeedMini>), Malformed> {
    let time_ns = cursor.varint()?;
    let sockets = rows::read::<_, { rows::SEED_SOCKET }>(cursor)?;
    let minis = rows::read::<_, { rows::SEED_MINI }>(cursor)?;
    Ok((time_ns, sockets, minis))
}

fn look(payload: &[u8], goes_on: bool) -> Result<Frame, Malformed> {
    let mut cursor = Cursor::new(payload);
    let look = match (cursor.byte()?, goes_on) {
        (0, false) => None,
        (1, false) => Some(look_head(&mut cursor)?),
        (2, true) => Some(Polled {
            sockets: rows::read::<_, { rows::SEED_SOCKET }>(&mut cursor)?,
            minis: rows::read::<_, { rows::POLLED_MINI }>(&mut cursor)?,
            ..Polled::default()
        }),
        _ => return Err(Malformed::Unknown("a part of a look")),
    };
    cursor.finish()?;
    Ok(Frame::Polled(look))
}

fn looked_at_close_waits(payload: &[u8], goes_on: bool) -> Result<Frame, Malformed> {
    let mut cursor = Cursor::new(payload);
    let looked = match (cursor.byte()?, goes_on) {
        (0, false) => None,
        (1, false) => Some(CloseWaits {
            time_ns: cursor.varint()?,
            complete: cursor.byte()? != 0,
            ..CloseWaits::default()
        }),
        (2, true) => Some(CloseWaits {
            appeared: rows::read::<_, { rows::CLOSE_WAITING }>(&mut cursor)?,
            gone: rows::read::<_, { rows::COOKIE }>(&mut cursor)?,
            ..CloseWaits::default()
        }),
        _ => return Err(Malformed::Unknown("a part of a look at CLOSE_WAIT")),
    };
    cursor.finish()?;
    Ok(Frame::CloseWaits(looked))
}

fn look_head(cursor: &mut Cursor<'_>) -> Result<Polled, Malformed> {
    let (time_ns, until_ns) = (cursor.varint()?, cursor.varint()?);
    let complete = cursor.byte()? != 0;
    let mut states = Vec::new();
    for _ in 0..cursor.varint()? {
        let state = TcpState::from_raw(cursor.byte()?).ok_or(Malformed::Unknown("a state"))?;
        states.push((state, cursor.varint()?));
    }
    let (looked_at, failed) = (namespaces(cursor)?, namespaces(cursor)?);
    Ok(Polled { time_ns, until_ns, complete, states, looked_at, failed, ..Polled::default() })
}

/// Each takes a byte at least: no count can ask for more memory than the payload has.
fn namespaces(cursor: &mut Cursor<'_>) -> Result<Vec<u32>, Malformed> {
    let mut namespaces = Vec::new();
    for _ in 0..cursor.varint()? {
        let netns = u32::try_from(cursor.varint()?);
        namespaces.push(netns.map_err(|_| Malformed::Unknown("a namespace"))?);
    }
    Ok(namespaces)
}
