//! Frames in, Snapshots out: the one way through the house, the same for live
//! runs and for recordings.

use crate::{
    decode::{self, DecodeError},
    event::Event,
    filter::Scope,
    frame::{Frame, Meta, Polled},
    stats::{Stats, snapshot::Snapshot},
    tracker::Tracker,
};

/// Decoder, tracker and statistics of one run.
#[derive(Debug)]
pub struct Pipeline {
    tracker: Tracker,
    stats: Stats,
}

impl Pipeline {
    /// A pipeline for the run `meta`, which remembers at most `max_connections`
    /// sockets and shows the `top` rows of each array.
    pub fn new(meta: Meta, max_connections: usize, top: usize) -> Self {
        Self { tracker: Tracker::new(&meta, max_connections), stats: Stats::new(meta, top) }
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
            Frame::Tick { time_ns, wall_ns } => return Ok(Some(self.tick(*time_ns, *wall_ns))),
        }
        Ok(None)
    }

    fn polled(&mut self, polled: Option<&Polled>) {
        let changes = polled.map(|look| self.tracker.polled(look)).unwrap_or_default();
        self.stats.polled(polled, &changes);
    }

    fn tick(&mut self, time_ns: u64, wall_ns: u64) -> Snapshot {
        for mini in self.tracker.tick(time_ns) {
            self.stats.claimed(&mini);
        }
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
                    self.stats.apply(&transition);
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
