//! Totals that the kernel side keeps, whether or not a record found room.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{ENDS, OUTCOMES, SEARCHES, STATES, TcpState};

/// The number of slots for pairs of states.
pub const PAIRS: usize = STATES * STATES;

/// The substates of a timewait mini-socket.
pub const SUBSTATES: usize = 2;

/// Totals of one network namespace on one CPU, since the program was loaded.
///
/// They count transitions, not records: a full ring does not touch them. A
/// program that did not run (`missed`) did not count either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Counters {
    /// Transitions by [`pair_index`].
    pub pairs: [u64; PAIRS],
    /// Transitions by [`crate::Outcome`].
    pub outcomes: [u64; OUTCOMES],
    /// Timewait mini-sockets born, by [`substate_index`].
    pub births: [u64; SUBSTATES],
    /// Timewait mini-sockets ended, by [`crate::End`].
    pub ends: [u64; ENDS],
    /// Port searches and checks as seen from outside, by [`crate::Search`].
    pub searches: [u64; SEARCHES],
    /// Port searches and checks as the functions that do them were called.
    pub probed_searches: [u64; SEARCHES],
    /// Of these, those that got no port.
    pub failed_searches: [u64; SEARCHES],
    /// Ends of mini-sockets in substate FIN_WAIT2.
    pub ends_in_fin_wait2: u64,
    /// Mini-sockets that went from FIN_WAIT2 to TIME_WAIT; function probes alone tell.
    pub steps: u64,
    /// Timers of mini-sockets that were set back; function probes alone tell.
    pub rearmed: u64,
    /// Mini-sockets that the kernel was to make and did not; function probes alone tell.
    pub refused: u64,
    /// Records that found no room in the ring buffer.
    pub ring_full: u64,
}

impl Counters {
    /// All zero.
    pub const ZERO: Self = Self {
        pairs: [0; PAIRS],
        outcomes: [0; OUTCOMES],
        births: [0; SUBSTATES],
        ends: [0; ENDS],
        searches: [0; SEARCHES],
        probed_searches: [0; SEARCHES],
        failed_searches: [0; SEARCHES],
        ends_in_fin_wait2: 0,
        steps: 0,
        rearmed: 0,
        refused: 0,
        ring_full: 0,
    };
}

/// [`Counters`] as the words a BPF map holds.
pub const COUNTER_WORDS: usize = PAIRS + OUTCOMES + SUBSTATES + ENDS + 3 * SEARCHES + 5;
const _: () = assert!(size_of::<Counters>() == COUNTER_WORDS * size_of::<u64>());

/// The slot of a transition from `old` to `new` in [`Counters::pairs`].
#[inline(always)]
pub const fn pair_index(old: TcpState, new: TcpState) -> usize {
    old as usize * STATES + new as usize
}

/// The slot of a mini-socket's substate in [`Counters::births`]: 0 for
/// FIN_WAIT2, 1 for TIME_WAIT.
#[inline(always)]
pub const fn substate_index(substate: TcpState) -> usize {
    if matches!(substate, TcpState::FinWait2) { 0 } else { 1 }
}

/// The states of slot `index`; `None` for slots that no transition uses.
pub const fn pair_states(index: usize) -> Option<(TcpState, TcpState)> {
    if index >= PAIRS {
        return None;
    }
    match (TcpState::from_raw((index / STATES) as u8), TcpState::from_raw((index % STATES) as u8)) {
        (Some(old), Some(new)) => Some((old, new)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_round_trip() {
        let mut seen = 0;
        for index in 0..PAIRS + 3 {
            if let Some((old, new)) = pair_states(index) {
                assert_eq!(pair_index(old, new), index);
                seen += 1;
            }
        }
        assert_eq!(seen, 11 * 11);
    }
}
