//! The running kernel: what the programs write and count, in one order.

use std::time::Duration;

use anyhow::Result;
use bytes::BytesMut;
use log::info;
use tokio::sync::mpsc;

use super::{Pace, Source, Stop, processes::ProcessFinder, seeding};
use crate::{bpf::attach::Session, frame::Frame, host, probes::Hooks};

/// Records are handed on in batches of about this many bytes, the size of a
/// frame on disk.
const BATCH_BYTES: usize = 64 << 10;
/// The ring is emptied at least this often: 8 MiB take longer than this to fill
/// at 1.9 million records per second, and an idle host wakes 20 times a second.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);

/// Starts reading what `session` delivers; a tick comes every `interval`.
///
/// # Errors
/// No thread, no file descriptor.
pub fn start(session: Session, netns: Option<u32>, interval: Duration) -> Result<Source> {
    let report = &session.transitions;
    let hooks = Hooks { transitions: report.tier, fields_known: report.hook.fields_known };
    Source::start("ring-reader", hooks, move |sender, stop| {
        Reader::new(session, sender, interval).run(netns, hooks.fields_known, &stop)
    })
}

/// Reads the ring. See the module's documentation.
struct Reader {
    session: Session,
    sender: mpsc::Sender<Frame>,
    pace: Pace,
    batch: BytesMut,
    processes: ProcessFinder,
}

/// Nobody listens any more.
struct Gone;

impl Reader {
    fn new(session: Session, sender: mpsc::Sender<Frame>, interval: Duration) -> Self {
        Self {
            session,
            sender,
            pace: Pace::new(interval),
            batch: BytesMut::with_capacity(BATCH_BYTES),
            processes: ProcessFinder::new(),
        }
    }

    fn run(mut self, netns: Option<u32>, netns_known: bool, stop: &Stop) -> Result<()> {
        let sockets = seeding::seeds(netns, netns_known);
        info!("attached, with {} sockets seeded", sockets.len());
        if self.send(Frame::Seed { sockets, until_ns: host::monotonic_ns() }).is_err() {
            return Ok(());
        }
        let mut stopping = false;
        loop {
            if self.drain().is_err() {
                return Ok(());
            }
            let now_ns = host::monotonic_ns();
            if (self.pace.is_due(now_ns) || stopping) && self.tick(now_ns)?.is_err() {
                return Ok(());
            }
            if stopping {
                return Ok(());
            }
            let sleep = self.pace.until_next(now_ns).min(LONGEST_SLEEP);
            stopping = stop.wait(self.session.ring.wakes(), sleep)?;
        }
    }

    /// Empties the ring; under a flood, until a tick is due.
    fn drain(&mut self) -> Result<(), Gone> {
        if let Some(log) = &mut self.session.log {
            log.flush();
        }
        loop {
            let empty = self.session.ring.drain(&mut self.batch, BATCH_BYTES);
            let now_ns = host::monotonic_ns();
            if !self.batch.is_empty() {
                self.hand_on(now_ns)?;
            }
            if empty || self.pace.until_next(now_ns).is_zero() {
                return Ok(());
            }
        }
    }

    fn hand_on(&mut self, now_ns: u64) -> Result<(), Gone> {
        let facts = self.processes.introduced(&self.batch, now_ns);
        let records = self.batch.split().freeze();
        // Takes back the memory of batches that the pipeline is done with.
        self.batch.reserve(BATCH_BYTES);
        self.send(Frame::Records(records))?;
        self.facts(facts)
    }

    fn facts(&self, facts: Vec<crate::frame::ProcessFacts>) -> Result<(), Gone> {
        if facts.is_empty() { Ok(()) } else { self.send(Frame::Processes(facts)) }
    }

    /// Totals are read after the ring was emptied, so that rows never sum to
    /// more than the totals above them.
    fn tick(&mut self, now_ns: u64) -> Result<Result<(), Gone>> {
        let totals = self.session.counters.read()?;
        let facts = self.processes.second_look(now_ns);
        Ok(self
            .facts(facts)
            .and_then(|()| self.send(Frame::Totals(totals)))
            .and_then(|()| self.send(Frame::Tick { time_ns: now_ns })))
    }

    fn send(&self, frame: Frame) -> Result<(), Gone> {
        self.sender.blocking_send(frame).map_err(|_| Gone)
    }
}
