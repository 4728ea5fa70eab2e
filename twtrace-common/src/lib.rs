//! The contract between twtrace's BPF programs and its user space: records,
//! counters, globals, and the rules both sides must apply alike.
//!
//! Everything here is `repr(C)` without implicit padding, so that a record is
//! the same bytes in the kernel, in the ring buffer and in a trace file.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod counters;
mod end;
mod ends;
mod offsets;
mod outcome;
mod record;
mod sample;
mod search;
mod state;

pub use counters::{
    COUNTER_WORDS, Counters, PAIRS, SUBSTATES, pair_index, pair_states, substate_index,
};
pub use end::{CALLERS, Caller, ENDS, End, Kills};
pub use ends::{PORT_WORDS, PortBits, asked_ends, port_bit};
pub use offsets::Offsets;
pub use outcome::{Change, OUTCOMES, Outcome};
pub use record::{
    COMM_LEN, ConnectRecord, ProcessKey, ProcessRecord, RecordKind, SampleRecord, SearchRecord,
    TimeWaitRecord, TransitionRecord, process_flags, search_flags, time_wait_flags,
    transition_flags,
};
pub use sample::{Doing, SAMPLED_CODES, SampledCode};
pub use search::{SEARCHES, Search};
pub use state::{STATES, TcpState};

/// The slot of the counters shared by namespaces that found none of their own.
pub const OTHER_SLOT: u32 = 0;
