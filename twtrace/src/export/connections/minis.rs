//! The mini-sockets that live, each with what is known of the socket that left it; by the
//! tracker's rules of which is whose.

use std::{
    collections::{HashMap, hash_map::Entry},
    num::NonZeroU64,
};

use foldhash::fast::FixedState;
use twtrace_common::End;

use super::{
    Done, carried,
    life::{Life, MiniEnd, Written},
};
use crate::{
    event::{MiniEvent, Tuple},
    frame::{CarriedCounts, CarriedMini, MiniOf, SeedMini},
    tracker::LONGEST_GOODBYE_NS,
};

type Key = (u32, Tuple);

/// See the module's documentation. One that finds no room is written as it is.
#[derive(Debug)]
pub(super) struct Minis {
    max: usize,
    alive: HashMap<u64, Life, FixedState>,
    /// Born, and waiting for their socket to say whose they are. Some have ended meanwhile.
    newborn: HashMap<Key, Life, FixedState>,
    seeds: HashMap<Key, Life, FixedState>,
    seeded_until_ns: u64,
    /// Those whose memory is another's since then: their end may still be told.
    vanished: HashMap<u64, (u64, Life), FixedState>,
}

impl Minis {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            alive: HashMap::default(),
            newborn: HashMap::default(),
            seeds: HashMap::default(),
            seeded_until_ns: 0,
            vanished: HashMap::default(),
        }
    }

    /// Those that were there before us.
    pub(super) fn seed(&mut self, seeds: &[SeedMini], until_ns: u64, done: &mut Done) {
        self.seeded_until_ns = until_ns;
        for seed in seeds {
            let has_room = self.has_room();
            match self.seeds.entry((seed.netns, seed.tuple)) {
                Entry::Vacant(place) if has_room => {
                    place.insert(Life::seeded_mini(seed));
                }
                Entry::Vacant(_) => done.push(Life::seeded_mini(seed), Written::Evicted),
                Entry::Occupied(_) => {}
            }
        }
    }

    /// One that was born in an earlier file.
    pub(super) fn carry(&mut self, carried: &CarriedMini, done: &mut Done) {
        let life = carried::mini(carried);
        let lost = match carried.of {
            MiniOf::Closing(tuple) => self.newborn.insert((carried.netns, tuple), life),
            MiniOf::Closed { .. } => self.alive.insert(carried.tw, life),
        };
        if let Some(lost) = lost {
            done.push(lost, Written::Lost);
        }
    }

    /// All that were there are told of.
    pub(super) fn carried_in_all(&mut self, counts: &CarriedCounts) {
        self.seeded_until_ns = counts.seeded_until_ns;
    }

    pub(super) fn born(&mut self, event: &MiniEvent, done: &mut Done) {
        let key = (event.netns, event.tuple);
        // Told twice: it was born between attaching and seeding.
        if event.time_ns <= self.seeded_until_ns {
            self.seeds.remove(&key);
        }
        if let Some(mut gone) = self.alive.remove(&event.tw) {
            gone.mini.end = Some(MiniEnd::Unseen);
            if let Some((_, gone)) = self.vanished.insert(event.tw, (event.time_ns, gone)) {
                done.push(gone, Written::Over);
            }
        }
        let born = Life::born(event);
        if !self.has_room() {
            done.push(born, Written::Evicted);
        } else if let Some(unclaimed) = self.newborn.insert(key, born) {
            let is_over = unclaimed.mini.end.is_some();
            done.push(unclaimed, if is_over { Written::Over } else { Written::Lost });
        }
    }

    /// The socket of `life` closed for good, by the ends of `tuple`: it goes on as its
    /// mini-socket, if it has one.
    pub(super) fn claim(&mut self, key: Key, life: Life, done: &mut Done) {
        match self.newborn.remove(&key) {
            None => done.push(life, Written::Over),
            Some(newborn) => self.lives(life.leaves(&newborn), done),
        }
    }

    /// Its socket has said whose it is, or will not.
    fn lives(&mut self, life: Life, done: &mut Done) {
        if life.mini.end.is_some() {
            done.push(life, Written::Over);
        } else if let Some(lost) = self.alive.insert(life.mini.tw, life) {
            done.push(lost, Written::Lost);
        }
    }

    pub(super) fn stepped(&mut self, event: &MiniEvent) {
        let key = (event.netns, event.tuple);
        let newborn = self.newborn.get_mut(&key).filter(|life| life.mini.tw == event.tw);
        let life = self.alive.get_mut(&event.tw).or(newborn).or_else(|| self.seeds.get_mut(&key));
        if let Some(life) = life {
            life.mini_stepped(event);
        }
    }

    pub(super) fn ended(&mut self, event: &MiniEvent, end: End, done: &mut Done) {
        let is_younger =
            |life: &Life| life.mini.born.is_some_and(|born| born.get() > event.time_ns);
        if self.alive.get(&event.tw).is_some_and(is_younger) {
            return self.ended_late(event, end, done);
        }
        let key = (event.netns, event.tuple);
        if let Some(mut life) = self.alive.remove(&event.tw) {
            life.mini_ended(event, end);
            done.push(life, Written::Over);
        } else if let Some(newborn) = self
            .newborn
            .get_mut(&key)
            .filter(|newborn| newborn.mini.tw == event.tw && newborn.mini.end.is_none())
        {
            newborn.mini_ended(event, end);
        } else if let Some(mut life) = self.seeds.remove(&key) {
            life.mini.tw = event.tw;
            life.mini_ended(event, end);
            done.push(life, Written::Over);
        } else {
            let seeded = event.time_ns <= self.seeded_until_ns;
            done.push(Life::stranger(event, end, seeded), Written::Over);
        }
    }

    /// The end of one that had to be gone, since another is in its memory.
    fn ended_late(&mut self, event: &MiniEvent, end: End, done: &mut Done) {
        let mut life = match self.vanished.remove(&event.tw) {
            Some((_, life)) => life,
            None => Life::stranger(event, end, false),
        };
        life.mini_ended(event, end);
        life.mini.late = true;
        done.push(life, Written::Over);
    }

    /// Gives up waiting for what should have been told long before `now_ns`.
    pub(super) fn tick(&mut self, now_ns: u64, done: &mut Done) {
        let is_late = |time_ns: u64| time_ns.saturating_add(LONGEST_GOODBYE_NS) < now_ns;
        let was_born_late = |life: &Life| is_late(life.mini.born.map_or(0, NonZeroU64::get));
        let unclaimed: Vec<Life> =
            self.newborn.extract_if(|_, life| was_born_late(life)).map(|(_, life)| life).collect();
        for life in unclaimed {
            self.lives(life, done);
        }
        for (_, (_, life)) in self.vanished.extract_if(|_, (since_ns, _)| is_late(*since_ns)) {
            done.push(life, Written::Over);
        }
    }

    /// Those whose end was not told when the recording ended.
    pub(super) fn into_rest(self) -> impl Iterator<Item = (Life, Written)> {
        let alive = self.alive.into_values().chain(self.newborn.into_values());
        let alive = alive.chain(self.seeds.into_values()).map(|life| {
            let is_over = life.mini.end.is_some();
            (life, if is_over { Written::Over } else { Written::Alive })
        });
        alive.chain(self.vanished.into_values().map(|(_, life)| (life, Written::Over)))
    }

    fn has_room(&self) -> bool {
        self.alive.len() + self.newborn.len() + self.seeds.len() < self.max
    }
}
