//! Raw records to events.
//!
//! Records come from the kernel or from a file, and a file may hold anything:
//! whatever does not parse is named, never trusted.

use thiserror::Error;
use twtrace_common::{
    Change, ConnectRecord, End, ProcessKey, ProcessRecord, RecordKind, SampleRecord, Search,
    SearchRecord, TcpState, TimeWaitRecord, TransitionRecord, process_flags, search_flags,
    time_wait_flags, transition_flags,
};
use zerocopy::FromBytes;

use crate::event::{
    Comm, ConnectEvent, Event, MiniEvent, PortRange, ProcessEvent, SampleEvent, SearchEvent,
    TransitionEvent, Tuple,
};

/// Why a batch could not be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A kind that this version does not know.
    #[error("record of unknown kind {kind} at offset {offset}")]
    UnknownKind {
        /// The kind found.
        kind: u8,
        /// Where in the batch.
        offset: usize,
    },
    /// The batch ends inside a record.
    #[error("record at offset {offset} is cut short")]
    Short {
        /// Where in the batch.
        offset: usize,
    },
    /// A state number that TCP does not have.
    #[error("record at offset {offset} names an unknown TCP state")]
    UnknownState {
        /// Where in the batch.
        offset: usize,
    },
    /// A number for a kind of search that this version does not know.
    #[error("record at offset {offset} names an unknown kind of search")]
    UnknownSearch {
        /// Where in the batch.
        offset: usize,
    },
    /// A number for the end of a mini-socket that this version does not know.
    #[error("record at offset {offset} names an unknown end")]
    UnknownEnd {
        /// Where in the batch.
        offset: usize,
    },
}

/// The kind that `byte` stands for.
pub(crate) const fn kind_of(byte: u8) -> Option<RecordKind> {
    const KINDS: [RecordKind; 9] = [
        RecordKind::Transition,
        RecordKind::Birth,
        RecordKind::End,
        RecordKind::Connect,
        RecordKind::Search,
        RecordKind::Step,
        RecordKind::Refused,
        RecordKind::Sample,
        RecordKind::Process,
    ];
    let mut index = 0;
    while index < KINDS.len() {
        if KINDS[index] as u8 == byte {
            return Some(KINDS[index]);
        }
        index += 1;
    }
    None
}

/// The length of a record that starts with `kind`; `None` if there is no such kind.
pub const fn record_len(kind: u8) -> Option<usize> {
    Some(match kind_of(kind) {
        Some(RecordKind::Transition) => size_of::<TransitionRecord>(),
        Some(RecordKind::Birth | RecordKind::Step | RecordKind::End | RecordKind::Refused) => {
            size_of::<TimeWaitRecord>()
        }
        Some(RecordKind::Connect) => size_of::<ConnectRecord>(),
        Some(RecordKind::Search) => size_of::<SearchRecord>(),
        Some(RecordKind::Sample) => size_of::<SampleRecord>(),
        Some(RecordKind::Process) => size_of::<ProcessRecord>(),
        None => return None,
    })
}

/// The records of a batch that are whole, one after the other.
pub fn records(batch: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = batch;
    std::iter::from_fn(move || {
        let (record, after) = rest.split_at_checked(record_len(*rest.first()?)?)?;
        rest = after;
        Some(record)
    })
}

/// The events of one batch of records, in order; ends at the first error.
pub fn events(batch: &[u8]) -> Events<'_> {
    Events { batch, offset: 0 }
}

/// Iterator over the events of a batch.
#[derive(Debug)]
pub struct Events<'a> {
    batch: &'a [u8],
    offset: usize,
}

impl Iterator for Events<'_> {
    type Item = Result<Event, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.batch.get(self.offset..)?;
        let &kind = rest.first()?;
        let offset = self.offset;
        let decoded = decode(kind, rest, offset);
        // After an error nothing tells where the next record starts.
        self.offset = match decoded {
            Ok(_) => offset + record_len(kind).unwrap_or(self.batch.len()),
            Err(_) => self.batch.len(),
        };
        Some(decoded)
    }
}

fn decode(kind: u8, rest: &[u8], offset: usize) -> Result<Event, DecodeError> {
    let unknown_state = DecodeError::UnknownState { offset };
    match kind_of(kind).ok_or(DecodeError::UnknownKind { kind, offset })? {
        RecordKind::Transition => {
            transition(&record(rest, offset)?).map(Event::Transition).ok_or(unknown_state)
        }
        RecordKind::Birth => mini(&record(rest, offset)?).map(Event::Birth).ok_or(unknown_state),
        RecordKind::Step => mini(&record(rest, offset)?).map(Event::Step).ok_or(unknown_state),
        RecordKind::Refused => {
            mini(&record(rest, offset)?).map(Event::Refused).ok_or(unknown_state)
        }
        RecordKind::End => {
            let record: TimeWaitRecord = record(rest, offset)?;
            let end = End::from_raw(record.end).ok_or(DecodeError::UnknownEnd { offset })?;
            mini(&record).map(|mini| Event::End(mini, end)).ok_or(unknown_state)
        }
        RecordKind::Connect => {
            let ConnectRecord { time_ns, sk, lport, .. } = record(rest, offset)?;
            Ok(Event::Connect(ConnectEvent { time_ns, sk, lport }))
        }
        RecordKind::Search => {
            let unknown_search = DecodeError::UnknownSearch { offset };
            search(&record(rest, offset)?).map(Event::Search).ok_or(unknown_search)
        }
        RecordKind::Sample => Ok(Event::Sample(sample(&record(rest, offset)?))),
        RecordKind::Process => Ok(Event::Process(process(&record(rest, offset)?))),
    }
}

/// The record that `rest` begins with.
fn record<R: FromBytes>(rest: &[u8], offset: usize) -> Result<R, DecodeError> {
    R::read_from_prefix(rest).map(|(record, _)| record).map_err(|_| DecodeError::Short { offset })
}

fn transition(record: &TransitionRecord) -> Option<TransitionEvent> {
    let has = |flag| record.flags & flag != 0;
    let fields_known = has(transition_flags::FIELDS_KNOWN);
    Some(TransitionEvent {
        time_ns: record.time_ns,
        sk: record.sk,
        netns: fields_known.then_some(record.netns),
        change: Change {
            old: TcpState::from_raw(record.old_state)?,
            new: TcpState::from_raw(record.new_state)?,
            fields_known,
            process_context: has(transition_flags::PROCESS_CONTEXT),
            error: record.error,
            shutdown: record.shutdown,
            lport: record.lport,
        },
        tuple: Tuple {
            laddr: record.laddr,
            raddr: record.raddr,
            lport: record.lport,
            rport: record.rport,
        },
        owner: has(transition_flags::OWNER).then_some(ProcessKey {
            start_time_ns: record.start_time_ns,
            tgid: record.tgid,
            padding: 0,
        }),
        own_range: own_range(record.own_range),
    })
}

/// A socket may ask for one end of its range alone; the other is 0 then.
fn own_range([low, high]: [u16; 2]) -> Option<PortRange> {
    (low != 0 || high != 0).then_some(PortRange { low, high })
}

fn mini(record: &TimeWaitRecord) -> Option<MiniEvent> {
    Some(MiniEvent {
        time_ns: record.time_ns,
        tw: record.tw,
        netns: record.netns,
        substate: TcpState::from_raw(record.substate)?,
        tuple: Tuple {
            laddr: record.laddr,
            raddr: record.raddr,
            lport: record.lport,
            rport: record.rport,
        },
        timestamps: timestamps(record.flags),
    })
}

fn timestamps(flags: u32) -> Option<bool> {
    let has = |flag| flags & flag != 0;
    has(time_wait_flags::TIMESTAMPS_KNOWN).then_some(has(time_wait_flags::TIMESTAMPS))
}

fn search(record: &SearchRecord) -> Option<SearchEvent> {
    Some(SearchEvent {
        time_ns: record.time_ns,
        sk: record.sk,
        netns: record.netns,
        search: Search::from_raw(record.search)?,
        error: record.error,
        latency_ns: record.latency_ns,
        owner: ProcessKey { start_time_ns: record.start_time_ns, tgid: record.tgid, padding: 0 },
        raddr: record.raddr,
        rport: record.rport,
        lport: record.lport,
        tried: (record.flags & search_flags::TRIED_KNOWN != 0).then_some(record.tried),
    })
}

fn sample(record: &SampleRecord) -> SampleEvent {
    SampleEvent {
        time_ns: record.time_ns,
        connects: record.connects != 0,
        owner: ProcessKey { start_time_ns: record.start_time_ns, tgid: record.tgid, padding: 0 },
    }
}

/// The event of one process record.
pub(crate) fn process(record: &ProcessRecord) -> ProcessEvent {
    ProcessEvent {
        key: ProcessKey { start_time_ns: record.start_time_ns, tgid: record.tgid, padding: 0 },
        comm: Comm::new(record.comm),
        cgroup_id: record.cgroup_id,
        kernel_thread: record.flags & process_flags::KERNEL_THREAD != 0,
    }
}
