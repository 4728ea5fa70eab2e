//! Frames in, Snapshots out: the one way through the house, the same for live
//! runs and for recordings.

use crate::{
    decode::{self, DecodeError},
    event::Event,
    frame::{Frame, Meta},
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
        Self { tracker: Tracker::new(max_connections), stats: Stats::new(meta, top) }
    }

    /// Takes in one frame; a tick gives a Snapshot.
    ///
    /// # Errors
    /// A batch of records that does not decode; what came before the damage counts.
    pub fn apply(&mut self, frame: &Frame) -> Result<Option<Snapshot>, DecodeError> {
        match frame {
            Frame::Seed { sockets, until_ns, complete } => {
                self.tracker.seed(sockets, *until_ns);
                self.stats.seeded(*complete);
            }
            Frame::Records(batch) => self.records(batch)?,
            Frame::Processes(facts) => {
                facts.iter().for_each(|facts| self.stats.process_facts(facts));
            }
            Frame::Totals(totals) => self.stats.totals(totals),
            Frame::Population(population) => self.stats.polled(population.as_ref()),
            Frame::Tick { time_ns, wall_ns } => {
                let (sockets, losses) = (self.tracker.population(), self.tracker.losses());
                return Ok(Some(self.stats.snapshot(*time_ns, *wall_ns, sockets, losses)));
            }
        }
        Ok(None)
    }

    fn records(&mut self, batch: &[u8]) -> Result<(), DecodeError> {
        for event in decode::events(batch) {
            match event? {
                Event::Transition(event) => {
                    if let Some(transition) = self.tracker.apply(&event) {
                        self.stats.apply(&transition);
                    }
                }
                Event::Process(event) => self.stats.process(&event),
            }
        }
        Ok(())
    }
}
