//! Frames in, Snapshots out: the one way through the house, the same for live
//! runs and for recordings.

use twtrace_common::Outcome;

use crate::{
    decode::{self, DecodeError},
    event::Event,
    filter::Scope,
    frame::{Carried, Frame, Meta, Polled},
    stats::{
        Stats,
        contacts::{Detail, Focus},
        snapshot::Snapshot,
        timeline::Timeline,
    },
    tracker::Tracker,
};

/// Decoder, tracker and statistics of one run.
#[derive(Debug)]
pub struct Pipeline {
    tracker: Tracker,
    stats: Stats,
    /// The last look at all sockets, where nothing is traced.
    last_look: Option<Polled>,
    /// Connects that found no local port.
    without_port: u64,
    /// When the last tick was, or counting began.
    ticked_ns: u64,
}

impl Pipeline {
    /// A pipeline for the run `meta`, which remembers at most `max_connections`
    /// sockets and shows the `top` rows of each array.
    pub fn new(meta: Meta, max_connections: usize, top: usize) -> Self {
        Self {
            ticked_ns: meta.started_ns,
            tracker: Tracker::new(&meta, max_connections),
            stats: Stats::new(meta, top),
            last_look: None,
            without_port: 0,
        }
    }

    /// What run it is of.
    pub fn meta(&self) -> &Meta {
        self.stats.meta()
    }

    /// Remembers what happens when, from now on, for [`Self::timeline`].
    pub fn keep_timeline(&mut self) {
        self.stats.keep_timeline();
    }

    /// What happened when, if that is remembered.
    pub fn timeline(&self) -> Option<&Timeline> {
        self.stats.timeline()
    }

    /// Remembers who closes towards whom, from now on, for [`Self::detail`].
    pub fn keep_contacts(&mut self) {
        self.stats.keep_contacts();
    }

    /// What is known of one process or one destination, if that is remembered.
    pub fn detail(&self, focus: &Focus) -> Option<Detail> {
        self.stats.detail(focus)
    }

    /// Nothing is known of what happened since the last tick until now, and why.
    pub fn gap(&mut self, until_ns: u64, why: &str) {
        self.stats.gap(self.ticked_ns, until_ns, why);
    }

    /// How many connects found no local port (EADDRNOTAVAIL), as far as records tell: known
    /// before the next tick.
    pub fn without_port(&self) -> u64 {
        self.without_port
    }

    /// The run from `time_ns` on, as another file has to begin: what it is, and the frames
    /// with which a new pipeline knows all that this one does of what is there. To be asked
    /// right after a tick, when totals and records agree.
    pub fn checkpoint(&self, time_ns: u64) -> (Meta, Vec<Frame>) {
        let meta = Meta { started_ns: time_ns, continues: true, ..self.stats.meta().clone() };
        let mut frames = vec![Frame::Ports(self.tracker.known_port_facts())];
        let (known, counts) = self.stats.checkpoint(&self.tracker);
        frames.extend(known);
        // What a look showed is seen again by the next.
        frames.extend(self.last_look.clone().map(|look| Frame::Polled(Some(look))));
        // The last of them says that this was all.
        let carried = self.tracker.carried(time_ns, counts);
        frames.extend(carried.into_iter().map(Frame::Carried));
        (meta, frames)
    }

    /// Counts anew from `time_ns` on, with all that is there. To be asked right after a tick.
    ///
    /// # Errors
    /// None that a pipeline can cause.
    pub fn restart(&mut self, time_ns: u64) -> Result<(), DecodeError> {
        let (meta, frames) = self.checkpoint(time_ns);
        let mut fresh = Self {
            tracker: Tracker::new(&meta, self.tracker.max_connections()),
            ticked_ns: time_ns,
            stats: self.stats.emptied(meta),
            last_look: None,
            without_port: 0,
        };
        fresh.filtered(self.stats.scope().clone());
        frames.iter().try_for_each(|frame| fresh.apply(frame).map(drop))?;
        *self = fresh;
        Ok(())
    }

    /// Learns what a filter in front of it leaves known.
    pub fn filtered(&mut self, scope: Scope) {
        self.tracker.other_listeners(&scope.other_listeners);
        self.stats.filtered(scope);
    }

    /// Takes in one frame; a tick gives a Snapshot.
    ///
    /// # Errors
    /// A batch of records that does not decode; what came before the damage counts.
    pub fn apply(&mut self, frame: &Frame) -> Result<Option<Snapshot>, DecodeError> {
        match frame {
            Frame::Seed { sockets, minis, until_ns, complete } => {
                self.tracker.seed(sockets, *until_ns);
                self.tracker.seed_minis(minis, *until_ns);
                self.stats.seeded(*complete);
            }
            Frame::Records(batch) => self.records(batch)?,
            Frame::Processes(facts) => {
                facts.iter().for_each(|facts| self.stats.process_facts(facts));
            }
            Frame::Totals(totals) => self.stats.totals(totals),
            Frame::Kernel(counters) => self.stats.kernel(counters),
            Frame::Ports(facts) => self.tracker.port_facts(facts),
            Frame::Polled(polled) => self.polled(polled.as_ref()),
            Frame::CloseWaits(looked) => self.stats.close_waits(looked.as_ref()),
            Frame::Lost { records } => self.stats.lost(*records),
            Frame::Carried(carried) => self.carry(carried),
            // What changed is told when it was seen, shortly before the next tick.
            Frame::Sysctls(sysctls) => self.stats.sysctls(self.ticked_ns, sysctls),
            Frame::Tick { time_ns, wall_ns } => return Ok(Some(self.tick(*time_ns, *wall_ns))),
        }
        Ok(None)
    }

    fn carry(&mut self, carried: &Carried) {
        if let Carried::Counts(counts) = carried {
            self.stats.carry(counts);
        }
        for mini in self.tracker.carry(carried) {
            self.stats.carried(&mini);
        }
    }

    fn polled(&mut self, polled: Option<&Polled>) {
        if let Some(look) = polled {
            self.last_look = Some(look.clone());
        }
        let changes = polled.map(|look| self.tracker.polled(look)).unwrap_or_default();
        self.stats.polled(polled, &changes);
    }

    fn tick(&mut self, time_ns: u64, wall_ns: u64) -> Snapshot {
        for mini in self.tracker.tick(time_ns) {
            self.stats.claimed(&mini);
        }
        self.ticked_ns = time_ns;
        self.stats.snapshot(time_ns, wall_ns, &self.tracker)
    }

    fn records(&mut self, batch: &[u8]) -> Result<(), DecodeError> {
        for event in decode::events(batch) {
            self.event(&event?);
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Transition(event) => {
                if let Some(transition) = self.tracker.apply(event) {
                    let found_none = transition.outcome == Some(Outcome::ConnectNoPort);
                    self.without_port += u64::from(found_none);
                    self.stats.apply(event, &transition);
                }
            }
            Event::Birth(event) => {
                if let Some(vanished) = self.tracker.born(event) {
                    self.stats.vanished(&vanished);
                }
            }
            Event::Step(event) => self.tracker.stepped(event),
            Event::Refused(event) => self.tracker.refused(event),
            Event::End(event, end) => {
                if let Some(ended) = self.tracker.ended(event, *end) {
                    self.stats.ended(event, *end, &ended);
                }
            }
            Event::Connect(event) => {
                if let Some(search) = self.tracker.connect_found(event) {
                    self.stats.searched(&search);
                }
            }
            Event::Search(event) => self.stats.searched(&self.tracker.searched(event)),
            Event::Sample(event) => self.stats.sampled(event),
            Event::Process(event) => self.stats.process(event),
        }
    }
}
