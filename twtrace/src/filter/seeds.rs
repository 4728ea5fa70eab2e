//! Sockets from before us of which it is not known yet whether they are wanted: nobody
//! says whose they are until a process closes them.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use twtrace_common::TcpState;

use crate::{
    event::{TransitionEvent, Tuple},
    frame::SeedSocket,
};

/// Kept by namespace and ends, as the tracker finds them; listeners may share one key.
#[derive(Debug)]
pub(super) struct KeptSeeds {
    limit: usize,
    kept: HashMap<(Option<u32>, Tuple), Vec<SeedSocket>, FixedState>,
}

impl KeptSeeds {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, kept: HashMap::default() }
    }

    /// Keeps a seed; a connected socket that the dump met twice is one.
    pub(super) fn keep(&mut self, seed: SeedSocket) {
        if self.kept.len() >= self.limit {
            return;
        }
        let same = self.kept.entry((seed.netns, seed.tuple)).or_default();
        if seed.state != TcpState::Listen {
            same.clear();
        }
        same.push(seed);
    }

    /// Takes the seed of the socket in `event`, if it has one.
    pub(super) fn take(&mut self, event: &TransitionEvent) -> Option<SeedSocket> {
        if self.kept.is_empty() {
            return None;
        }
        let key = (event.netns, event.tuple);
        let same = self.kept.get_mut(&key)?;
        let seed = same.pop();
        if same.is_empty() {
            self.kept.remove(&key);
        }
        seed
    }
}
