//! Frames in, frames out.

use std::collections::BTreeMap;

use bytes::Bytes;
use thiserror::Error;
use twtrace_common::TcpState;

use super::{
    Filter, Scope,
    listeners::{Listeners, Place},
    records::{Passed, Records},
    recount::{self, Recount},
};
use crate::{
    frame::{
        Carried, CarriedCounts, CloseWaits, Frame, KernelCounters, Meta, Polled, PolledMini,
        PortFacts, SeedMini, SeedSocket, Sysctls, Totals,
    },
    probes::Capability,
};

/// Why a filter cannot be applied to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CannotTell {
    /// Nothing tells whose a socket is.
    #[error(
        "sock_diag names no process: --pid, --comm and --cgroup need hooks; \
         `twtrace check` says why none attached"
    )]
    Process,
    /// Nothing tells in which namespace a socket is.
    #[error(
        "the hook of this run tells no network namespace, for want of kernel BTF: \
         leave out --netns"
    )]
    Netns,
}

/// A filter at work. See the [module](super).
#[derive(Debug)]
pub struct FilterStage {
    filter: Filter,
    scope: Scope,
    scope_is_news: bool,
    records: Records,
    /// Records whose processes may be placed by the next frame.
    pending: Option<Bytes>,
    /// Until when, and whether all sockets from before us were told.
    seeded: (u64, bool),
}

impl FilterStage {
    /// Applies `filter` to the run `meta`; remembers at most `max_connections` sockets.
    ///
    /// # Errors
    /// The run tells too little.
    pub fn new(filter: Filter, meta: &Meta, max_connections: usize) -> Result<Self, CannotTell> {
        let hooks = meta.hooks;
        if filter.asks_for_process() && !hooks.traces() {
            return Err(CannotTell::Process);
        }
        if filter.netns.is_some() && hooks.traces() && !hooks.fields_known {
            return Err(CannotTell::Netns);
        }
        let scope = Scope::new(&filter);
        let recount = Recount::new(hooks.probes_functions(Capability::PortSearch));
        let limit = max_connections.max(1);
        Ok(Self {
            records: Records::new(filter.clone(), limit, !scope.loses_samples, recount),
            filter,
            scope,
            scope_is_news: true,
            pending: None,
            seeded: (0, true),
        })
    }

    /// What the run is behind this filter.
    pub fn meta(&self, meta: Meta) -> Meta {
        Meta { home_netns: self.filter.netns.or(meta.home_netns), ..meta }
    }

    /// What the filter leaves known.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What the pipeline has to know before the frames that [`Self::apply`] has just
    /// returned, if it has changed.
    pub fn news(&mut self) -> Option<Scope> {
        if let Some(places) = self.records.listeners.news() {
            self.scope.other_listeners = places;
            self.scope_is_news = true;
        }
        std::mem::take(&mut self.scope_is_news).then(|| self.scope.clone())
    }

    /// What passes of one frame, and of what was kept of earlier ones.
    pub fn apply(&mut self, frame: &Frame) -> Vec<Frame> {
        if self.filter.is_empty() {
            return vec![frame.clone()];
        }
        let mut passed = Passed::default();
        if let Frame::Processes(facts) = frame {
            // Told of who is in the records before this.
            facts.iter().for_each(|facts| self.records.place(facts, &mut passed));
        }
        if let Some(pending) = self.pending.take() {
            self.records.batch(&pending, &mut passed);
        }
        if let Frame::Records(batch) = frame {
            if self.filter.cgroup.is_some() {
                self.pending = Some(batch.clone());
            } else {
                self.records.batch(batch, &mut passed);
            }
        }
        let own = match frame {
            Frame::Carried(carried) => self.carried(carried, &mut passed).map(Frame::Carried),
            other => self.frame(other),
        };
        let mut frames = self.told(passed);
        frames.extend(own);
        frames
    }

    /// The frames of what passed.
    fn told(&self, passed: Passed) -> Vec<Frame> {
        let Passed { destinations, sockets, openers, seeds, records } = passed;
        let (until_ns, complete) = self.seeded;
        let seed = |sockets| Frame::Seed { sockets, minis: Vec::new(), until_ns, complete };
        [
            some(destinations).map(|it| Frame::Carried(Carried::Destinations(it))),
            some(sockets).map(|it| Frame::Carried(Carried::Sockets(it))),
            some(openers).map(|it| Frame::Carried(Carried::Openers(it))),
            some(seeds).map(seed),
            some(records).map(|it| Frame::Records(Bytes::from(it))),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// What passes of what was there when another file ended; `passed` comes before it.
    fn carried(&mut self, carried: &Carried, passed: &mut Passed) -> Option<Carried> {
        Some(match carried {
            Carried::Destinations(all) => {
                self.records.carry_destinations(all);
                return None;
            }
            Carried::Sockets(all) => {
                self.records.carry_sockets(all, passed);
                return None;
            }
            Carried::Openers(all) => {
                self.records.carry_openers(all);
                return None;
            }
            Carried::Minis(all) => Carried::Minis(self.records.carry_minis(all, passed)),
            Carried::Seeds { time_ns, sockets, minis } => {
                let (sockets, minis) = (self.seeds(sockets), self.seed_minis(minis));
                self.records.carry_seeds(&sockets, &minis, passed);
                Carried::Seeds { time_ns: *time_ns, sockets, minis }
            }
            Carried::Counts(counts) => Carried::Counts(self.carried_counts(counts)),
        })
    }

    fn carried_counts(&mut self, counts: &CarriedCounts) -> CarriedCounts {
        let counts = self.records.carry_counts(counts, self.scope.recounted);
        self.seeded = (counts.seeded_until_ns, counts.complete);
        counts
    }

    /// What passes of a frame that holds no records.
    fn frame(&mut self, frame: &Frame) -> Option<Frame> {
        Some(match frame {
            Frame::Records(_) => return None,
            Frame::Seed { sockets, minis, until_ns, complete } => {
                self.seeded = (*until_ns, *complete);
                Frame::Seed {
                    sockets: self.seeds(sockets),
                    minis: self.seed_minis(minis),
                    until_ns: *until_ns,
                    complete: *complete,
                }
            }
            Frame::Totals(totals) => Frame::Totals(self.totals(totals)),
            Frame::Kernel(counters) => Frame::Kernel(self.kernel(counters)),
            Frame::Ports(facts) => Frame::Ports(self.ports(facts)),
            Frame::Polled(polled) => Frame::Polled(self.polled(polled.as_ref())),
            Frame::CloseWaits(looked) => {
                Frame::CloseWaits(looked.as_ref().map(|looked| self.close_waits(looked)))
            }
            Frame::Sysctls(sysctls) => Frame::Sysctls(self.sysctls(sysctls)),
            other => other.clone(),
        })
    }

    /// The seeds that pass; one of which that is not known yet is kept.
    fn seeds(&mut self, sockets: &[SeedSocket]) -> Vec<SeedSocket> {
        let mut passed = Vec::new();
        for seed in sockets {
            let ends = self.filter.wants(seed.netns, &seed.tuple);
            if ends == Some(true) && !self.filter.asks_for_process() {
                passed.push(*seed);
                continue;
            }
            let place = self.listens(seed);
            // A listener that is not wanted may be told twice, too.
            if ends != Some(false) || place.is_some() {
                self.records.seeds.keep(*seed);
            }
            place.into_iter().for_each(|place| self.records.listeners.add(place));
        }
        passed
    }

    /// Where a socket that is left out listens, if that matters to those that are not.
    fn listens(&self, seed: &SeedSocket) -> Option<Place> {
        Listeners::place(seed).filter(|(netns, _)| self.filter.wants_netns(Some(*netns)))
    }

    /// Whose mini-sockets are from before us nothing will ever tell.
    fn seed_minis(&self, minis: &[SeedMini]) -> Vec<SeedMini> {
        let wanted = |mini: &&SeedMini| {
            !self.filter.asks_for_process()
                && self.filter.wants(Some(mini.netns), &mini.tuple) == Some(true)
        };
        minis.iter().filter(wanted).copied().collect()
    }

    fn totals(&mut self, totals: &Totals) -> Totals {
        let counted = match self.filter.netns {
            Some(netns) if !self.scope.recounted => recount::of_netns(netns, totals),
            _ => None,
        };
        counted.unwrap_or_else(|| {
            self.scope_is_news |= !self.scope.recounted;
            self.scope.recounted = true;
            self.records.recount.totals(totals)
        })
    }

    fn kernel(&self, counters: &[KernelCounters]) -> Vec<KernelCounters> {
        let wanted = |read: &&KernelCounters| self.filter.wants_netns(Some(read.netns));
        counters.iter().filter(wanted).cloned().collect()
    }

    fn ports(&self, facts: &[PortFacts]) -> Vec<PortFacts> {
        let wanted = |facts: &&PortFacts| self.filter.wants_netns(Some(facts.netns));
        facts.iter().filter(wanted).cloned().collect()
    }

    fn sysctls(&self, sysctls: &[Sysctls]) -> Vec<Sysctls> {
        let wanted = |sysctls: &&Sysctls| self.filter.wants_netns(Some(sysctls.netns));
        sysctls.iter().filter(wanted).cloned().collect()
    }

    /// One that does not pass, or no longer since another process holds it, is gone for
    /// those behind; that of one which they never met says nothing.
    fn close_waits(&mut self, looked: &CloseWaits) -> CloseWaits {
        let (appeared, others): (Vec<_>, Vec<_>) =
            looked.appeared.iter().copied().partition(|socket| {
                self.filter.wants(Some(socket.netns), &socket.tuple) == Some(true)
                    && self.records.wants_holder(socket.holder)
            });
        let others = others.iter().map(|socket| socket.cookie);
        let gone = looked.gone.iter().copied().chain(others).collect();
        CloseWaits { appeared, gone, ..*looked }
    }

    /// Where it is asked whose the sockets are, a look says nothing.
    fn polled(&mut self, polled: Option<&Polled>) -> Option<Polled> {
        let look = polled.filter(|_| !self.filter.asks_for_process())?;
        let (sockets, others): (Vec<_>, Vec<_>) = look
            .sockets
            .iter()
            .partition(|seed| self.filter.wants(seed.netns, &seed.tuple) == Some(true));
        let places: Vec<_> = others.iter().filter_map(|seed| self.listens(seed)).collect();
        self.records.listeners.replace(places.into_iter());
        let wanted =
            |mini: &&PolledMini| self.filter.wants(Some(mini.netns), &mini.tuple) == Some(true);
        let minis: Vec<_> = look.minis.iter().filter(wanted).copied().collect();
        let states = sockets
            .iter()
            .map(|socket: &SeedSocket| socket.state)
            .chain(minis.iter().map(|mini| mini.substate));
        let of_netns = |all: &[u32]| {
            all.iter().copied().filter(|netns| self.filter.wants_netns(Some(*netns))).collect()
        };
        Some(Polled {
            states: by_state(states),
            minis,
            looked_at: of_netns(&look.looked_at),
            failed: of_netns(&look.failed),
            sockets,
            ..look.clone()
        })
    }
}

/// A list, if there is anything in it.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn by_state(states: impl Iterator<Item = TcpState>) -> Vec<(TcpState, u64)> {
    let mut counts = BTreeMap::new();
    for state in states {
        *counts.entry(state).or_default() += 1;
    }
    counts.into_iter().collect()
}
