//! What ends a timewait mini-socket.

use zerocopy::{Immutable, IntoBytes};

use crate::TcpState;

/// What ended a mini-socket. Each variant is one slot of [`crate::Counters::ends`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum End {
    /// Its timer, in substate TIME_WAIT.
    Expired = 0,
    /// Its timer, in substate FIN_WAIT2: the peer never closed.
    FinWait2Timeout = 1,
    /// An outgoing connect took its tuple, by a port of the kernel's choice.
    Reused = 2,
    /// An outgoing connect took its tuple, bound to that port.
    ReusedBound = 3,
    /// A new connection came in for its tuple.
    Replaced = 4,
    /// The peer sent RST.
    Reset = 5,
    /// The peer sent what a closed socket cannot take, and we answered with RST.
    Rejected = 6,
    /// `ss -K`, or BPF.
    Aborted = 7,
    /// Its network namespace went.
    Purged = 8,
    /// Something else: TPROXY, or a caller that could not be told.
    Other = 9,
}

/// The number of ends.
pub const ENDS: usize = 10;

impl End {
    /// All ends, in slot order.
    pub const ALL: [Self; ENDS] = [
        Self::Expired,
        Self::FinWait2Timeout,
        Self::Reused,
        Self::ReusedBound,
        Self::Replaced,
        Self::Reset,
        Self::Rejected,
        Self::Aborted,
        Self::Purged,
        Self::Other,
    ];

    /// The end in slot `raw`; `None` if there is none.
    pub const fn from_raw(raw: u8) -> Option<Self> {
        if (raw as usize) < ENDS { Some(Self::ALL[raw as usize]) } else { None }
    }

    /// The key in the Snapshot.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::FinWait2Timeout => "fin_wait2_timeout",
            Self::Reused => "reused",
            Self::ReusedBound => "reused_bound",
            Self::Replaced => "replaced",
            Self::Reset => "reset",
            Self::Rejected => "rejected",
            Self::Aborted => "aborted",
            Self::Purged => "purged",
            Self::Other => "other",
        }
    }

    /// The end of a mini-socket whose timer fired in `substate`.
    #[inline(always)]
    pub const fn by_timer(substate: TcpState) -> Self {
        if matches!(substate, TcpState::FinWait2) { Self::FinWait2Timeout } else { Self::Expired }
    }
}

/// What it means that a kernel function stops a mini-socket's timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(u64)]
pub enum Kills {
    /// Unused slot.
    Nothing = 0,
    /// The timer is started again at once: nothing ended.
    Rearm = 1,
    /// [`End::Reused`].
    ConnectSearch = 2,
    /// [`End::ReusedBound`].
    ConnectBound = 3,
    /// [`End::Replaced`] or, out of FIN_WAIT2, [`End::Rejected`].
    Segment = 4,
    /// [`End::Reset`].
    Reset = 5,
    /// [`End::Aborted`].
    Abort = 6,
    /// [`End::Purged`].
    Purge = 7,
}

impl Kills {
    /// What ended a mini-socket in `substate`; `None` if nothing did.
    #[inline(always)]
    pub const fn end(self, substate: TcpState) -> Option<End> {
        Some(match self {
            Self::Nothing => End::Other,
            Self::Rearm => return None,
            Self::ConnectSearch => End::Reused,
            Self::ConnectBound => End::ReusedBound,
            // Only a FIN_WAIT2 mini-socket answers with RST, and only a
            // TIME_WAIT gives way to a SYN.
            Self::Segment if matches!(substate, TcpState::FinWait2) => End::Rejected,
            Self::Segment => End::Replaced,
            Self::Reset => End::Reset,
            Self::Abort => End::Aborted,
            Self::Purge => End::Purged,
        })
    }
}

/// The code of one kernel function that stops a mini-socket's timer: a return
/// address in `start..end` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub struct Caller {
    /// Its first byte.
    pub start: u64,
    /// The first byte behind it.
    pub end: u64,
    /// What it does.
    pub kills: Kills,
}

impl Caller {
    /// A slot that no address is in.
    pub const UNUSED: Self = Self { start: 0, end: 0, kills: Kills::Nothing };
}

/// Slots for callers: a compiler may split one function into several parts.
pub const CALLERS: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_dense_and_in_order() {
        for (slot, end) in End::ALL.iter().enumerate() {
            assert_eq!(*end as usize, slot);
            assert_eq!(End::from_raw(slot as u8), Some(*end));
        }
        assert_eq!(End::from_raw(ENDS as u8), None);
    }

    #[test]
    fn a_segment_does_different_things_to_the_two_substates() {
        assert_eq!(Kills::Segment.end(TcpState::TimeWait), Some(End::Replaced));
        assert_eq!(Kills::Segment.end(TcpState::FinWait2), Some(End::Rejected));
        assert_eq!(Kills::Rearm.end(TcpState::FinWait2), None);
        assert_eq!(Kills::Nothing.end(TcpState::TimeWait), Some(End::Other));
    }
}
