//! Connections: each socket from its first transition to the end of the mini-socket that it
//! left, as one row.
//!
//! What a transition means, and whom to credit, the [`Tracker`] says, as it does for the
//! Snapshot: so sums over rows are its totals, as far as records were not lost.

mod carried;
pub(super) mod life;
mod minis;
pub(super) mod row;
mod sockets;

use twtrace_common::{Search, TcpState};

use self::{
    life::{Life, Written},
    minis::Minis,
    sockets::Sockets,
};
use crate::{
    event::{Event, SearchEvent, TransitionEvent},
    frame::{Carried, Frame, Meta},
    tracker::{Goodbye, PortSearch, Tracker},
};

/// Rows to be written, and why.
#[derive(Debug, Default)]
pub(super) struct Done {
    lives: Vec<(Life, Written)>,
    evicted: u64,
}

impl Done {
    fn push(&mut self, life: Life, why: Written) {
        self.evicted += u64::from(why == Written::Evicted);
        self.lives.push((life, why));
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Connections {
    tracker: Tracker,
    sockets: Sockets,
    minis: Minis,
    done: Done,
}

impl Connections {
    /// None yet; at most `max` sockets are remembered, and as many mini-sockets.
    pub(super) fn new(meta: &Meta, max: usize) -> Self {
        let max = max.max(1);
        Self {
            tracker: Tracker::new(meta, max),
            sockets: Sockets::new(max),
            minis: Minis::new(max),
            done: Done::default(),
        }
    }

    /// What is no record.
    pub(super) fn frame(&mut self, frame: &Frame) {
        match frame {
            Frame::Seed { sockets, minis, until_ns, .. } => {
                self.tracker.seed(sockets, *until_ns);
                self.tracker.seed_minis(minis, *until_ns);
                sockets.iter().for_each(|seed| self.sockets.seed(seed, &mut self.done));
                self.minis.seed(minis, *until_ns, &mut self.done);
            }
            Frame::Carried(carried) => self.carry(carried),
            Frame::Tick { time_ns, .. } => {
                self.tracker.tick(*time_ns);
                self.minis.tick(*time_ns, &mut self.done);
            }
            _ => {}
        }
    }

    /// A part of what was there when the recording went on in this file.
    fn carry(&mut self, carried: &Carried) {
        let done = &mut self.done;
        match carried {
            Carried::Destinations(_) | Carried::Openers(_) => {}
            Carried::Sockets(list) => list.iter().for_each(|it| self.sockets.carry(it, done)),
            Carried::Minis(list) => list.iter().for_each(|it| self.minis.carry(it, done)),
            Carried::Seeds { time_ns, sockets, minis } => {
                sockets.iter().for_each(|seed| self.sockets.seed(seed, done));
                self.minis.seed(minis, *time_ns, done);
            }
            Carried::Counts(counts) => self.minis.carried_in_all(counts),
        }
        self.tracker.carry(carried);
    }

    /// One record; returns the search for a port that is over with it.
    pub(super) fn event(&mut self, event: &Event) -> Option<PortSearch> {
        match event {
            Event::Transition(event) => return self.transition(event),
            Event::Birth(event) => {
                self.tracker.born(event);
                self.minis.born(event, &mut self.done);
            }
            Event::Step(event) => {
                self.tracker.stepped(event);
                self.minis.stepped(event);
            }
            Event::Refused(event) => self.tracker.refused(event),
            Event::End(event, end) => {
                self.tracker.ended(event, *end);
                self.minis.ended(event, *end, &mut self.done);
            }
            Event::Connect(event) => {
                let search = self.tracker.connect_found(event);
                if let (Some(search), Some(life)) = (&search, self.sockets.get_mut(event.sk)) {
                    life.note_search(search);
                }
                return search;
            }
            Event::Search(event) => return Some(self.searched(event)),
            Event::Sample(_) | Event::Process(_) => {}
        }
        None
    }

    fn transition(&mut self, event: &TransitionEvent) -> Option<PortSearch> {
        let meant = self.tracker.apply(event)?;
        let mut life = self.sockets.take(event, &mut self.done);
        let (old, new) = (event.change.old, event.change.new);
        // Listeners are no connections.
        if old != TcpState::Listen && new != TcpState::Listen {
            life.follow(event, &meant);
            if new == TcpState::Close {
                self.closed(event, life, meant.goodbye);
            } else {
                self.sockets.put(life, &mut self.done);
            }
        }
        meant.search
    }

    fn closed(&mut self, event: &TransitionEvent, mut life: Life, goodbye: Option<Goodbye>) {
        let done = &mut self.done;
        match (goodbye, event.netns) {
            (Some(Goodbye::Refused(_)), _) => {
                life.mini.refused = Some(true);
                done.push(life, Written::Over);
            }
            // Where nothing was left, it may have ended before its socket said so.
            (Some(_), Some(netns)) => self.minis.claim((netns, event.tuple), life, done),
            _ => done.push(life, Written::Over),
        }
    }

    fn searched(&mut self, event: &SearchEvent) -> PortSearch {
        if event.search == Search::Connect
            && let Some(life) = self.sockets.get_mut(event.sk)
        {
            life.note_search_event(event);
        }
        PortSearch::from(event)
    }

    /// Those that are over, or have to make room.
    pub(super) fn done(&mut self) -> impl Iterator<Item = (Life, Written)> {
        self.done.lives.drain(..)
    }

    /// How many of them wait.
    pub(super) fn done_count(&self) -> usize {
        self.done.lives.len()
    }

    /// How many had to make room.
    pub(super) fn evicted(&self) -> u64 {
        self.done.evicted
    }

    /// Those that live when the recording ends.
    pub(super) fn into_rest(self) -> impl Iterator<Item = (Life, Written)> {
        let sockets = self.sockets.into_alive().map(|life| (life, Written::Alive));
        self.done.lives.into_iter().chain(sockets).chain(self.minis.into_rest())
    }
}
