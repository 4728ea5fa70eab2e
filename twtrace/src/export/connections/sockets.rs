//! The sockets that live, by the tracker's rules of who is who.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use hashlink::LruCache;
use twtrace_common::TcpState;

use super::{
    Done, carried,
    life::{Life, Written},
};
use crate::{
    event::{TransitionEvent, Tuple},
    frame::{CarriedSocket, SeedSocket},
};

/// Sockets by their kernel address, and seeded ones, of which none is known, by their ends.
/// When there are too many, the one that has been quiet longest is written as it is.
#[derive(Debug)]
pub(super) struct Sockets {
    max: usize,
    known: LruCache<u64, Life, FixedState>,
    seeds: HashMap<(Option<u32>, Tuple), Life, FixedState>,
}

impl Sockets {
    pub(super) fn new(max: usize) -> Self {
        let known = LruCache::with_hasher(usize::MAX, FixedState::default());
        Self { max, known, seeds: HashMap::default() }
    }

    /// A socket that was there before us. Listeners are no connections.
    pub(super) fn seed(&mut self, seed: &SeedSocket, done: &mut Done) {
        if seed.state == TcpState::Listen {
            return;
        }
        let key = (seed.netns, seed.tuple);
        if self.known.len() + self.seeds.len() < self.max || self.seeds.contains_key(&key) {
            self.seeds.insert(key, Life::seeded(seed));
        } else {
            done.push(Life::seeded(seed), Written::Evicted);
        }
    }

    /// A socket that was met in an earlier file.
    pub(super) fn carry(&mut self, carried: &CarriedSocket, done: &mut Done) {
        if let Some(life) = carried::socket(carried) {
            self.put(life, done);
        }
    }

    /// The socket of `event`, as it was before.
    pub(super) fn take(&mut self, event: &TransitionEvent, done: &mut Done) -> Life {
        let known = self.known.remove(&event.sk);
        // One that is known or begins here was told twice: it began between attaching and
        // seeding.
        let seed = self.seeds.remove(&(event.netns, event.tuple));
        let begins = begins(event, known.as_ref());
        match (known, seed) {
            (Some(life), _) if !begins => life,
            (stale, _) if begins => {
                if let Some(stale) = stale {
                    done.push(stale, Written::Lost);
                }
                Life::opened(event)
            }
            (_, Some(life)) => life,
            _ => Life::met(event),
        }
    }

    pub(super) fn put(&mut self, life: Life, done: &mut Done) {
        let room = self.max.saturating_sub(self.seeds.len()).max(1);
        if self.known.len() >= room
            && let Some((_, quiet)) = self.known.remove_lru()
        {
            done.push(quiet, Written::Evicted);
        }
        self.known.insert(life.sk, life);
    }

    /// The socket at `sk`, to change it.
    pub(super) fn get_mut(&mut self, sk: u64) -> Option<&mut Life> {
        self.known.peek_mut(&sk)
    }

    /// Those that live when the recording ends.
    pub(super) fn into_alive(self) -> impl Iterator<Item = Life> {
        self.known.into_iter().map(|(_, life)| life).chain(self.seeds.into_values())
    }
}

/// Whether this is the first record that a socket can have; the tracker's rule.
fn begins(event: &TransitionEvent, known: Option<&Life>) -> bool {
    match event.change.old {
        TcpState::Close => true,
        TcpState::SynRecv => known.is_none_or(|life| life.state != Some(TcpState::SynRecv)),
        _ => false,
    }
}
