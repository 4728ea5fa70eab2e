//! The payload of EVENTS: raw records in columns.
//!
//! Records of one socket tell its addresses again and again, those of one process its
//! number: a dictionary of each keeps them once per frame.

use bytes::{BufMut, Bytes, BytesMut};
use twtrace_common::{
    ConnectRecord, ProcessRecord, RecordKind, SampleRecord, SearchRecord, TimeWaitRecord,
    TransitionRecord,
};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

use super::{
    Malformed,
    columns::{Cursor, Dictionary, References, put_column, put_varint, unzigzag, zigzag},
};
use crate::decode;

/// A socket or mini-socket and its ends, as one record told them.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Identity {
    address: U64,
    netns: U32,
    lport: U16,
    rport: U16,
    laddr: [u8; 16],
    raddr: [u8; 16],
}

/// What a transition tells besides who, when and where.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Change {
    old_state: u8,
    new_state: u8,
    flags: u8,
    shutdown: u8,
    error: U16,
    own_range: [U16; 2],
}

/// What a record of a mini-socket tells besides.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Life {
    end: u8,
    substate: u8,
    flags: U32,
}

/// What a search tells besides.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Sought {
    search: u8,
    flags: u8,
    error: U16,
    netns: U32,
    rport: U16,
    raddr: [u8; 16],
}

/// A process.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Process {
    start_time_ns: U64,
    tgid: U32,
}

/// A process's introduction, besides who it is.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Introduction {
    flags: u8,
    cgroup_id: U64,
    comm: [u8; twtrace_common::COMM_LEN],
}

const IDENTITY: usize = size_of::<Identity>();
const CHANGE: usize = size_of::<Change>();
const LIFE: usize = size_of::<Life>();
const SOUGHT: usize = size_of::<Sought>();
const PROCESS: usize = size_of::<Process>();
const INTRODUCTION: usize = size_of::<Introduction>();
const _: () = assert!(IDENTITY == 48 && CHANGE == 10 && LIFE == 6 && SOUGHT == 26);
const _: () = assert!(PROCESS == 12 && INTRODUCTION == 25);

/// Puts records into columns, one frame after the other, and keeps its memory.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    kinds: Vec<u8>,
    times: Vec<u8>,
    identities: Dictionary<IDENTITY>,
    changes: Dictionary<CHANGE>,
    lives: Dictionary<LIFE>,
    sought: Dictionary<SOUGHT>,
    processes: Dictionary<PROCESS>,
    introductions: Dictionary<INTRODUCTION>,
    /// Numbers of single records: local ports, latencies, ports tried, kinds of samples.
    numbers: Vec<u8>,
    previous_ns: u64,
}

/// When the first record of `batch` that has a time was written; `None` if none has.
pub(super) fn first_time_ns(batch: &[u8]) -> Option<u64> {
    decode::events(batch).flatten().find_map(|event| event.time_ns())
}

impl Encoder {
    /// The payload of the `records`, the times of which count from `first_ns`.
    pub(super) fn payload<'a>(
        &mut self,
        records: impl Iterator<Item = &'a [u8]>,
        first_ns: u64,
        out: &mut Vec<u8>,
    ) {
        self.previous_ns = first_ns;
        records.for_each(|record| self.put(record));
        put_column(out, &self.kinds);
        put_column(out, &self.times);
        self.identities.finish(out);
        self.changes.finish(out);
        self.lives.finish(out);
        self.sought.finish(out);
        self.processes.finish(out);
        self.introductions.finish(out);
        put_column(out, &self.numbers);
        self.kinds.clear();
        self.times.clear();
        self.numbers.clear();
    }

    fn put(&mut self, record: &[u8]) {
        let Some(&kind) = record.first() else { return };
        self.kinds.push(kind);
        match decode::kind_of(kind) {
            Some(RecordKind::Transition) => read(record).map(|it| self.transition(&it)),
            Some(RecordKind::Birth | RecordKind::End | RecordKind::Step | RecordKind::Refused) => {
                read(record).map(|it| self.time_wait(&it))
            }
            Some(RecordKind::Connect) => read(record).map(|it| self.connect(&it)),
            Some(RecordKind::Search) => read(record).map(|it| self.search(&it)),
            Some(RecordKind::Sample) => read(record).map(|it| self.sample(&it)),
            Some(RecordKind::Process) => read(record).map(|it| self.process(&it)),
            None => None,
        };
    }

    fn time(&mut self, time_ns: u64) {
        let since = time_ns.wrapping_sub(self.previous_ns) as i64;
        put_varint(&mut self.times, zigzag(since));
        self.previous_ns = time_ns;
    }

    fn number(&mut self, number: u64) {
        put_varint(&mut self.numbers, number);
    }

    fn who(&mut self, start_time_ns: u64, tgid: u32) {
        put(
            &mut self.processes,
            &Process { start_time_ns: start_time_ns.into(), tgid: tgid.into() },
        );
    }

    fn transition(&mut self, record: &TransitionRecord) {
        self.time(record.time_ns);
        self.who(record.start_time_ns, record.tgid);
        put(
            &mut self.identities,
            &Identity {
                address: record.sk.into(),
                netns: record.netns.into(),
                lport: record.lport.into(),
                rport: record.rport.into(),
                laddr: record.laddr,
                raddr: record.raddr,
            },
        );
        put(
            &mut self.changes,
            &Change {
                old_state: record.old_state,
                new_state: record.new_state,
                flags: record.flags,
                shutdown: record.shutdown,
                error: record.error.into(),
                own_range: record.own_range.map(U16::from),
            },
        );
    }

    fn time_wait(&mut self, record: &TimeWaitRecord) {
        self.time(record.time_ns);
        put(
            &mut self.identities,
            &Identity {
                address: record.tw.into(),
                netns: record.netns.into(),
                lport: record.lport.into(),
                rport: record.rport.into(),
                laddr: record.laddr,
                raddr: record.raddr,
            },
        );
        let TimeWaitRecord { end, substate, .. } = *record;
        put(&mut self.lives, &Life { end, substate, flags: record.flags.into() });
    }

    fn connect(&mut self, record: &ConnectRecord) {
        self.time(record.time_ns);
        put(&mut self.identities, &nameless(record.sk));
        self.number(record.lport.into());
    }

    fn search(&mut self, record: &SearchRecord) {
        self.time(record.time_ns);
        self.who(record.start_time_ns, record.tgid);
        put(&mut self.identities, &nameless(record.sk));
        put(
            &mut self.sought,
            &Sought {
                search: record.search,
                flags: record.flags,
                error: record.error.into(),
                netns: record.netns.into(),
                rport: record.rport.into(),
                raddr: record.raddr,
            },
        );
        self.number(record.lport.into());
        self.number(record.latency_ns);
        self.number(record.tried.into());
    }

    fn sample(&mut self, record: &SampleRecord) {
        self.time(record.time_ns);
        self.who(record.start_time_ns, record.tgid);
        self.number(record.connects.into());
    }

    fn process(&mut self, record: &ProcessRecord) {
        self.who(record.start_time_ns, record.tgid);
        let (flags, comm) = (record.flags, record.comm);
        let cgroup_id = record.cgroup_id.into();
        put(&mut self.introductions, &Introduction { flags, cgroup_id, comm });
    }
}

fn read<R: FromBytes>(record: &[u8]) -> Option<R> {
    R::read_from_bytes(record).ok()
}

fn put<const N: usize>(dictionary: &mut Dictionary<N>, row: &(impl IntoBytes + Immutable)) {
    if let Ok(row) = row.as_bytes().try_into() {
        dictionary.put(row);
    }
}

/// A socket that is told by its address alone.
fn nameless(sk: u64) -> Identity {
    Identity {
        address: sk.into(),
        netns: 0.into(),
        lport: 0.into(),
        rport: 0.into(),
        laddr: [0; 16],
        raddr: [0; 16],
    }
}

/// The raw records of a payload, of which there must be `count`.
///
/// # Errors
/// A payload that no encoder writes.
pub(super) fn records(payload: &[u8], first_ns: u64, count: usize) -> Result<Bytes, Malformed> {
    let mut columns = Columns::read(payload, first_ns)?;
    let mut kinds = columns.kinds;
    let mut out = BytesMut::with_capacity(count.saturating_mul(size_of::<TransitionRecord>()));
    let mut found = 0;
    while !kinds.is_empty() {
        columns.record(kinds.byte()?, &mut out)?;
        found += 1;
    }
    columns.finish()?;
    if found == count { Ok(out.freeze()) } else { Err(Malformed::Count) }
}

/// The columns of a payload.
struct Columns<'a> {
    kinds: Cursor<'a>,
    times: Cursor<'a>,
    identities: References<'a, IDENTITY>,
    changes: References<'a, CHANGE>,
    lives: References<'a, LIFE>,
    sought: References<'a, SOUGHT>,
    processes: References<'a, PROCESS>,
    introductions: References<'a, INTRODUCTION>,
    numbers: Cursor<'a>,
    previous_ns: u64,
}

impl<'a> Columns<'a> {
    fn read(payload: &'a [u8], first_ns: u64) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let columns = Self {
            kinds: cursor.column()?,
            times: cursor.column()?,
            identities: References::read(&mut cursor)?,
            changes: References::read(&mut cursor)?,
            lives: References::read(&mut cursor)?,
            sought: References::read(&mut cursor)?,
            processes: References::read(&mut cursor)?,
            introductions: References::read(&mut cursor)?,
            numbers: cursor.column()?,
            previous_ns: first_ns,
        };
        cursor.finish()?;
        Ok(columns)
    }

    fn finish(self) -> Result<(), Malformed> {
        self.times.finish()?;
        self.identities.finish()?;
        self.changes.finish()?;
        self.lives.finish()?;
        self.sought.finish()?;
        self.processes.finish()?;
        self.introductions.finish()?;
        self.numbers.finish()
    }

    fn record(&mut self, kind: u8, out: &mut BytesMut) -> Result<(), Malformed> {
        match decode::kind_of(kind).ok_or(Malformed::Unknown("a kind of record"))? {
            RecordKind::Transition => out.put_slice(self.transition(kind)?.as_bytes()),
            RecordKind::Birth | RecordKind::End | RecordKind::Step | RecordKind::Refused => {
                out.put_slice(self.time_wait(kind)?.as_bytes());
            }
            RecordKind::Connect => out.put_slice(self.connect(kind)?.as_bytes()),
            RecordKind::Search => out.put_slice(self.search(kind)?.as_bytes()),
            RecordKind::Sample => out.put_slice(self.sample(kind)?.as_bytes()),
            RecordKind::Process => out.put_slice(self.process(kind)?.as_bytes()),
        }
        Ok(())
    }

    fn time(&mut self) -> Result<u64, Malformed> {
        let since = unzigzag(self.times.varint()?);
        self.previous_ns = self.previous_ns.wrapping_add_signed(since);
        Ok(self.previous_ns)
    }

    fn number<T: TryFrom<u64>>(&mut self) -> Result<T, Malformed> {
        T::try_from(self.numbers.varint()?).map_err(|_| Malformed::Unknown("a number too large"))
    }

    fn who(&mut self) -> Result<(u64, u32), Malformed> {
        let process: Process = row(&mut self.processes)?;
        Ok((process.start_time_ns.get(), process.tgid.get()))
    }

    fn transition(&mut self, kind: u8) -> Result<TransitionRecord, Malformed> {
        let (start_time_ns, tgid) = self.who()?;
        let identity: Identity = row(&mut self.identities)?;
        let change: Change = row(&mut self.changes)?;
        Ok(TransitionRecord {
            kind,
            old_state: change.old_state,
            new_state: change.new_state,
            flags: change.flags,
            netns: identity.netns.get(),
            time_ns: self.time()?,
            sk: identity.address.get(),
            start_time_ns,
            tgid,
            lport: identity.lport.get(),
            rport: identity.rport.get(),
            error: change.error.get(),
            shutdown: change.shutdown,
            padding: 0,
            own_range: change.own_range.map(U16::get),
            laddr: identity.laddr,
            raddr: identity.raddr,
        })
    }

    fn time_wait(&mut self, kind: u8) -> Result<TimeWaitRecord, Malformed> {
        let identity: Identity = row(&mut self.identities)?;
        let life: Life = row(&mut self.lives)?;
        Ok(TimeWaitRecord {
            kind,
            end: life.end,
            substate: life.substate,
            padding: 0,
            netns: identity.netns.get(),
            time_ns: self.time()?,
            tw: identity.address.get(),
            lport: identity.lport.get(),
            rport: identity.rport.get(),
            flags: life.flags.get(),
            laddr: identity.laddr,
            raddr: identity.raddr,
        })
    }

    fn connect(&mut self, kind: u8) -> Result<ConnectRecord, Malformed> {
        let identity: Identity = row(&mut self.identities)?;
        Ok(ConnectRecord {
            kind,
            padding: [0; 5],
            lport: self.number()?,
            time_ns: self.time()?,
            sk: identity.address.get(),
        })
    }

    fn search(&mut self, kind: u8) -> Result<SearchRecord, Malformed> {
        let (start_time_ns, tgid) = self.who()?;
        let identity: Identity = row(&mut self.identities)?;
        let sought: Sought = row(&mut self.sought)?;
        let (lport, latency_ns, tried) = (self.number()?, self.number()?, self.number()?);
        Ok(SearchRecord {
            kind,
            search: sought.search,
            error: sought.error.get(),
            netns: sought.netns.get(),
            time_ns: self.time()?,
            latency_ns,
            start_time_ns,
            sk: identity.address.get(),
            tgid,
            lport,
            rport: sought.rport.get(),
            raddr: sought.raddr,
            tried,
            flags: sought.flags,
            padding: [0; 3],
        })
    }

    fn sample(&mut self, kind: u8) -> Result<SampleRecord, Malformed> {
        let (start_time_ns, tgid) = self.who()?;
        let (connects, time_ns) = (self.number()?, self.time()?);
        Ok(SampleRecord { kind, connects, padding: [0; 2], tgid, time_ns, start_time_ns })
    }

    fn process(&mut self, kind: u8) -> Result<ProcessRecord, Malformed> {
        let (start_time_ns, tgid) = self.who()?;
        let Introduction { flags, cgroup_id, comm } = row(&mut self.introductions)?;
        let cgroup_id = cgroup_id.get();
        Ok(ProcessRecord { kind, flags, padding: [0; 2], tgid, start_time_ns, cgroup_id, comm })
    }
}

fn row<R: FromBytes, const N: usize>(references: &mut References<'_, N>) -> Result<R, Malformed> {
    R::read_from_bytes(references.next()?).map_err(|_| Malformed::Short)
}
