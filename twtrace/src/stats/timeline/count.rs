//! What is counted over time.

use crate::stats::snapshot::{Closes, Ended, Loss, Snapshot};

/// A cumulative count of the Snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Sockets that became ESTABLISHED.
    Opens,
    /// `closes.active`.
    ActiveCloses,
    /// `transitions.total`.
    Transitions,
    /// `connects.no_port`.
    NoPort,
    /// `time_wait.born`.
    Born,
    /// `time_wait.ended.expired`, and so on.
    Expired,
    /// Timer, in substate FIN_WAIT2.
    FinWait2Timeout,
    /// Taken by an outgoing connect.
    Reused,
    /// Made room for an incoming connection.
    Replaced,
    /// RST received.
    Reset,
    /// Answered with RST.
    Rejected,
    /// `ss -K`, BPF.
    Aborted,
    /// The network namespace went.
    Purged,
    /// TPROXY, or a cause that could not be told.
    Other,
    /// No longer there, and nobody saw the end.
    Unseen,
    /// `loss.ring_full`, and so on.
    RingFull,
    /// Times a program did not run.
    Missed,
    /// Transitions of sockets that should have been known.
    Unmatched,
    /// Sockets forgotten because the table was full.
    Evicted,
}

/// How many there are.
const COUNTS: usize = Count::ALL.len();

impl Count {
    /// All of them, in order.
    pub const ALL: [Self; 19] = [
        Self::Opens,
        Self::ActiveCloses,
        Self::Transitions,
        Self::NoPort,
        Self::Born,
        Self::Expired,
        Self::FinWait2Timeout,
        Self::Reused,
        Self::Replaced,
        Self::Reset,
        Self::Rejected,
        Self::Aborted,
        Self::Purged,
        Self::Other,
        Self::Unseen,
        Self::RingFull,
        Self::Missed,
        Self::Unmatched,
        Self::Evicted,
    ];
    /// What ends mini-sockets.
    pub const ENDS: [Self; 10] = [
        Self::Expired,
        Self::FinWait2Timeout,
        Self::Reused,
        Self::Replaced,
        Self::Reset,
        Self::Rejected,
        Self::Aborted,
        Self::Purged,
        Self::Other,
        Self::Unseen,
    ];
    /// What gets lost.
    pub const LOSSES: [Self; 4] = [Self::RingFull, Self::Missed, Self::Unmatched, Self::Evicted];

    /// Its key in the Snapshot, below `time_wait.ended` or `loss`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opens => "opens",
            Self::ActiveCloses => "active_closes",
            Self::Transitions => "transitions",
            Self::NoPort => "no_port",
            Self::Born => "born",
            Self::Expired => "expired",
            Self::FinWait2Timeout => "fin_wait2_timeout",
            Self::Reused => "reused",
            Self::Replaced => "replaced",
            Self::Reset => "reset",
            Self::Rejected => "rejected",
            Self::Aborted => "aborted",
            Self::Purged => "purged",
            Self::Other => "other",
            Self::Unseen => "unseen",
            Self::RingFull => "ring_full",
            Self::Missed => "missed",
            Self::Unmatched => "unmatched",
            Self::Evicted => "evicted",
        }
    }

    /// Its value in `snapshot`; `None` if it is not known.
    pub fn of(self, snapshot: &Snapshot) -> Option<u64> {
        let ended = |cause: fn(&Ended) -> Option<u64>| cause(&snapshot.time_wait.as_ref()?.ended);
        let loss = |name: fn(&Loss) -> Option<u64>| name(snapshot.loss.as_ref()?);
        let closes = |kind: fn(&Closes) -> u64| snapshot.closes.as_ref().map(kind);
        match self {
            Self::Opens => opens(snapshot),
            Self::ActiveCloses => closes(|closes| closes.active),
            Self::Transitions => Some(snapshot.transitions.as_ref()?.total),
            Self::NoPort => snapshot.connects.as_ref()?.no_port,
            Self::Born => snapshot.time_wait.as_ref()?.born,
            Self::Expired => ended(|ended| ended.expired),
            Self::FinWait2Timeout => ended(|ended| ended.fin_wait2_timeout),
            Self::Reused => ended(|ended| ended.reused),
            Self::Replaced => ended(|ended| ended.replaced),
            Self::Reset => ended(|ended| ended.reset),
            Self::Rejected => ended(|ended| ended.rejected),
            Self::Aborted => ended(|ended| ended.aborted),
            Self::Purged => ended(|ended| ended.purged),
            Self::Other => ended(|ended| ended.other),
            Self::Unseen => ended(|ended| ended.unseen),
            Self::RingFull => loss(|loss| Some(loss.ring_full)),
            Self::Missed => loss(|loss| loss.missed),
            Self::Unmatched => loss(|loss| Some(loss.unmatched)),
            Self::Evicted => loss(|loss| Some(loss.evicted)),
        }
    }
}

/// Sockets that became ESTABLISHED, by connect or by accept.
fn opens(snapshot: &Snapshot) -> Option<u64> {
    let pairs = &snapshot.transitions.as_ref()?.by_pair;
    let into = pairs.iter().filter(|(pair, _)| pair.ends_with(">ESTABLISHED"));
    Some(into.map(|(_, count)| count).sum())
}

/// A number for each [`Count`], where it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts([Option<u64>; COUNTS]);

impl Counts {
    /// Before anything happened.
    pub(super) const ZERO: Self = Self([Some(0); COUNTS]);

    pub(super) fn of(snapshot: &Snapshot) -> Self {
        Self(Count::ALL.map(|count| count.of(snapshot)))
    }

    /// The one of `count`.
    pub fn get(&self, count: Count) -> Option<u64> {
        self.0[count as usize]
    }

    /// What was added to `before`. `closes.active` may fall by one: that is no growth.
    pub(super) fn since(&self, before: &Self) -> Self {
        self.with(before, u64::saturating_sub)
    }

    /// Both together: unknown where either is.
    pub(super) fn plus(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    fn with(&self, other: &Self, combined: fn(u64, u64) -> u64) -> Self {
        let mut result = *self;
        for (ours, theirs) in result.0.iter_mut().zip(other.0) {
            *ours = ours.zip(theirs).map(|(ours, theirs)| combined(ours, theirs));
        }
        result
    }
}
