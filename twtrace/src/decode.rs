//! Raw records to events.
//!
//! Records come from the kernel or from a file, and a file may hold anything:
//! whatever does not parse is named, never trusted.

use thiserror::Error;
use twtrace_common::{
    Change, ProcessKey, ProcessRecord, RecordKind, TcpState, TransitionRecord, process_flags,
    transition_flags,
};
use zerocopy::FromBytes;

use crate::event::{Comm, Event, ProcessEvent, TransitionEvent, Tuple};

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
}

/// The length of a record that starts with `kind`; `None` if there is no such kind.
pub const fn record_len(kind: u8) -> Option<usize> {
    const TRANSITION: u8 = RecordKind::Transition as u8;
    const PROCESS: u8 = RecordKind::Process as u8;
    match kind {
        TRANSITION => Some(size_of::<TransitionRecord>()),
        PROCESS => Some(size_of::<ProcessRecord>()),
        _ => None,
    }
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
    if kind == RecordKind::Transition as u8 {
        let (record, _) =
            TransitionRecord::read_from_prefix(rest).map_err(|_| DecodeError::Short { offset })?;
        transition(&record).map(Event::Transition).ok_or(DecodeError::UnknownState { offset })
    } else if kind == RecordKind::Process as u8 {
        let (record, _) =
            ProcessRecord::read_from_prefix(rest).map_err(|_| DecodeError::Short { offset })?;
        Ok(Event::Process(process(&record)))
    } else {
        Err(DecodeError::UnknownKind { kind, offset })
    }
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
    })
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
