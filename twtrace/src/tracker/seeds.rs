//! Sockets that existed before the hooks attached, until their first transition.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use twtrace_common::TcpState;

use crate::{
    event::{TransitionEvent, Tuple},
    frame::SeedSocket,
};

/// Where a socket is found by its ends. Listeners may share one key
/// (SO_REUSEPORT); connected sockets cannot.
type Key = (Option<u32>, Tuple);

/// Seeded sockets by namespace and tuple: sock_diag shows no kernel address.
#[derive(Debug, Default)]
pub(super) struct Seeds {
    waiting: HashMap<Key, Waiting, FixedState>,
    sockets: usize,
}

#[derive(Debug)]
struct Waiting {
    state: TcpState,
    count: u32,
}

impl Seeds {
    pub(super) fn len(&self) -> usize {
        self.sockets
    }

    /// Whether a seed would replace one that is here.
    pub(super) fn has(&self, seed: &SeedSocket) -> bool {
        seed.state != TcpState::Listen && self.waiting.contains_key(&(seed.netns, seed.tuple))
    }

    /// Remembers a seed; returns the state of one it replaces: a connected
    /// socket that the dump met twice, because it changed meanwhile.
    pub(super) fn insert(&mut self, seed: &SeedSocket) -> Option<TcpState> {
        let waiting = self
            .waiting
            .entry((seed.netns, seed.tuple))
            .or_insert(Waiting { state: seed.state, count: 0 });
        if waiting.count > 0 && seed.state != TcpState::Listen {
            return Some(std::mem::replace(&mut waiting.state, seed.state));
        }
        waiting.count += 1;
        self.sockets += 1;
        None
    }

    /// Takes the seed of the socket in `event`, if it has one; returns the
    /// state in which it was counted.
    pub(super) fn take(&mut self, event: &TransitionEvent) -> Option<TcpState> {
        if self.waiting.is_empty() {
            return None;
        }
        let key = (event.netns, event.tuple);
        let waiting = self.waiting.get_mut(&key)?;
        let state = waiting.state;
        waiting.count -= 1;
        self.sockets -= 1;
        if waiting.count == 0 {
            self.waiting.remove(&key);
        }
        Some(state)
    }
}
