//! How many sockets are in each state.

use twtrace_common::{STATES, TcpState};

/// Full sockets by state, now. Half-open requests and mini-sockets are not
/// among them: they have no transitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Population([u64; STATES]);

impl Population {
    /// Sockets in `state`.
    pub fn count(&self, state: TcpState) -> u64 {
        self.0[state as usize]
    }

    pub(super) fn enter(&mut self, state: TcpState) {
        self.0[state as usize] += 1;
    }

    pub(super) fn enter_maybe(&mut self, state: Option<TcpState>) {
        if let Some(state) = state {
            self.enter(state);
        }
    }

    /// Takes out a socket that was counted in `state`; `None` for one that
    /// never was counted.
    pub(super) fn leave(&mut self, state: Option<TcpState>) {
        if let Some(state) = state {
            let count = &mut self.0[state as usize];
            *count = count.saturating_sub(1);
        }
    }
}
