//! Sockets that existed before the hooks attached, until their first transition.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use twtrace_common::TcpState;

use super::ports::Hold;
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
    /// What each of them keeps from others.
    hold: Hold,
    count: u32,
}

/// How a seed was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seed {
    pub(super) state: TcpState,
    pub(super) hold: Hold,
}

impl Seeds {
    pub(super) fn len(&self) -> usize {
        self.sockets
    }

    /// Whether a seed would replace one that is here.
    pub(super) fn has(&self, seed: &SeedSocket) -> bool {
        seed.state != TcpState::Listen && self.waiting.contains_key(&(seed.netns, seed.tuple))
    }

    /// What all of them keep from others.
    pub(super) fn holds(&self) -> impl Iterator<Item = Hold> {
        self.waiting.values().flat_map(|waiting| (0..waiting.count).map(|_| waiting.hold))
    }

    /// Those that were not met yet, listeners first.
    pub(super) fn unmet(&self) -> Vec<SeedSocket> {
        let each = self.waiting.iter().flat_map(|((netns, tuple), waiting)| {
            let seed = SeedSocket { netns: *netns, state: waiting.state, tuple: *tuple };
            (0..waiting.count).map(move |_| seed)
        });
        let mut unmet: Vec<_> = each.collect();
        unmet.sort_unstable_by_key(|seed| (seed.state != TcpState::Listen, seed.netns, seed.tuple));
        unmet
    }

    /// Remembers a seed; returns the one it replaces: a connected
    /// socket that the dump met twice, because it changed meanwhile.
    pub(super) fn insert(&mut self, seed: &SeedSocket, hold: Hold) -> Option<Seed> {
        let waiting = self.waiting.entry((seed.netns, seed.tuple)).or_insert(Waiting {
            state: seed.state,
            hold,
            count: 0,
        });
        if waiting.count > 0 && seed.state != TcpState::Listen {
            return Some(Seed {
                state: std::mem::replace(&mut waiting.state, seed.state),
                hold: std::mem::replace(&mut waiting.hold, hold),
            });
        }
        waiting.count += 1;
        self.sockets += 1;
        None
    }

    /// Takes the seed of the socket in `event`, if it has one.
    pub(super) fn take(&mut self, event: &TransitionEvent) -> Option<Seed> {
        if self.waiting.is_empty() {
            return None;
        }
        let key = (event.netns, event.tuple);
        let waiting = self.waiting.get_mut(&key)?;
        let seed = Seed { state: waiting.state, hold: waiting.hold };
        waiting.count -= 1;
        self.sockets -= 1;
        if waiting.count == 0 {
            self.waiting.remove(&key);
        }
        Some(seed)
    }
}
