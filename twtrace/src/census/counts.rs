//! Sockets by state.

use std::collections::BTreeMap;

use twtrace_common::{STATES, TcpState};

/// How many sockets are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; STATES]);

impl Counts {
    /// One more.
    pub(super) fn count(&mut self, state: TcpState) {
        self.0[state as usize] += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
    }

    /// How many are in `state`.
    pub fn of(&self, state: TcpState) -> u64 {
        self.0[state as usize]
    }

    /// How many there are.
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    /// By the names of states, every one of them.
    pub(super) fn by_name(&self) -> BTreeMap<&'static str, u64> {
        TcpState::ALL.into_iter().map(|state| (state.name(), self.of(state))).collect()
    }
}
