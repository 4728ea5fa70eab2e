//! The running kernel: what the programs write and count, in one order.

use std::{thread, time::Duration};

use anyhow::{Context, Result};
use bytes::BytesMut;
use log::info;
use tokio::sync::mpsc;
use twtrace_common::TransitionRecord;

use super::{Pace, Source, Stop, processes::ProcessFinder, seeding};
use crate::{bpf::attach::Session, frame::Frame, host, probes::Hooks};

/// Records are handed on in batches of about this many bytes, the size of a
/// frame on disk.
const BATCH_BYTES: usize = 64 << 10;
/// The last record of a batch may begin just below the limit.
const BATCH_ROOM: usize = BATCH_BYTES + size_of::<TransitionRecord>();
/// The ring is emptied at least this often: 8 MiB take longer than this to fill
/// at 1.9 million records per second, and an idle host wakes 20 times a second.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);
/// While the seeds are read the ring is looked at this often.
const SEEDING_SLEEP: Duration = Duration::from_millis(5);

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
    /// Frames that wait for the seeds, which must come before them.
    held: Option<Vec<Frame>>,
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
            held: Some(Vec::new()),
            pace: Pace::new(interval),
            batch: BytesMut::with_capacity(BATCH_ROOM),
            processes: ProcessFinder::new(),
        }
    }

    fn run(mut self, netns: Option<u32>, netns_known: bool, stop: &Stop) -> Result<()> {
        let mut stopping = self.seed(netns, netns_known, stop)?;
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

    /// Reads the sockets that exist in a thread of its own, which may take a
    /// second on a large host, and empties the ring meanwhile. Returns whether
    /// the end was asked for before all were read: then they are left out.
    fn seed(&mut self, netns: Option<u32>, netns_known: bool, stop: &Stop) -> Result<bool> {
        let seeding = thread::Builder::new()
            .name("seeding".to_owned())
            .spawn(move || seeding::seeds(netns, netns_known))
            .context("cannot start a thread; raise the limit on tasks (ulimit -u)")?;
        let mut stopping = false;
        while !seeding.is_finished() && !stopping {
            // Held frames have no reader that could be gone.
            let _ = self.drain();
            stopping = stop.wait(None, SEEDING_SLEEP)?;
        }
        let seeds =
            if stopping { seeding::Seeds::default() } else { seeding.join().unwrap_or_default() };
        info!("attached, with {} sockets seeded", seeds.sockets.len());
        let held = self.held.take().unwrap_or_default();
        let seed = Frame::Seed {
            sockets: seeds.sockets,
            until_ns: host::monotonic_ns(),
            complete: seeds.complete,
        };
        for frame in std::iter::once(seed).chain(held) {
            if self.send(frame).is_err() {
                return Ok(true);
            }
        }
        Ok(stopping)
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
        self.batch.reserve(BATCH_ROOM);
        self.send(Frame::Records(records))?;
        self.facts(facts)
    }

    fn facts(&mut self, facts: Vec<crate::frame::ProcessFacts>) -> Result<(), Gone> {
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
            .and_then(|()| self.send(super::tick(now_ns))))
    }

    fn send(&mut self, frame: Frame) -> Result<(), Gone> {
        match &mut self.held {
            Some(held) => {
                held.push(frame);
                Ok(())
            }
            None => self.sender.blocking_send(frame).map_err(|_| Gone),
        }
    }
}
