//! The running kernel: what the programs write and count, in one order.

use std::{thread, time::Duration};

use anyhow::{Context, Result};
use bytes::BytesMut;
use log::info;
use tokio::sync::mpsc;
use twtrace_common::{Counters, TransitionRecord};

use super::{
    Interval, Reaches, Source, Stop,
    close_waits::{Expected, News, Watch},
    kernel_counters::KernelReader,
    netlink::Poller,
    pace::Pace,
    processes::ProcessFinder,
    seeding::{self, Wanted},
    settings::SettingsReader,
};
use crate::{
    bpf::attach::Session,
    frame::{Frame, KernelCounters, Meta, Totals},
    host::{self, Reach},
    probes::{Capability, Tier},
};

/// Records are handed on in batches of about this many bytes, the size of a
/// frame on disk.
const BATCH_BYTES: usize = 64 << 10;
/// The last record of a batch may begin just below the limit.
const BATCH_ROOM: usize = BATCH_BYTES + size_of::<TransitionRecord>();
/// While the seeds are read the ring is looked at this often.
const SEEDING_SLEEP: Duration = Duration::from_millis(5);

/// Starts reading what `session` delivers; a tick comes every `interval`.
///
/// # Errors
/// No thread, no file descriptor.
pub fn start(
    session: Session,
    reaches: Reaches,
    netns: Option<u32>,
    interval: Interval,
) -> Result<Source> {
    let Reaches { at_first, later } = reaches;
    let hooks = session.hooks;
    let births_counted = hooks.fields_known.then_some(session.tw_counts_births);
    let meta = Meta { sample_hz: session.sample_hz, ..super::meta(hooks, netns, births_counted) };
    // The ring fills while a helper is asked.
    let hurried = later.in_a_hurry();
    let kernel = KernelReader::new(hurried.clone(), meta.home_netns, netns);
    let settings = SettingsReader::new(hurried.clone(), meta.home_netns, netns);
    let poller = (hooks.time_wait == Some(Tier::None)).then(|| Poller::new(hurried, netns));
    let wanted = Wanted {
        netns,
        netns_known: hooks.fields_known,
        minis: hooks.tier(Capability::EndCause).is_some(),
    };
    let reach = later.clone();
    let source = Source::start("ring-reader", meta, move |sender, stop| {
        let watch = Watch::start(later, netns)?;
        Reader::new(session, kernel, settings, poller, watch, sender, interval)
            .run(at_first, wanted, &stop)
    });
    source.map(|source| source.reaching(reach))
}

/// How long the ring may be emptied when all is over.
const LONGEST_LAST_DRAIN_NS: u64 = 3_000_000_000;

/// How often is looked whether a setting has changed.
const FACTS_INTERVAL: Duration = Duration::from_secs(1);

/// How often totals are read again that changed while the kernel's own
/// counters were read; on a busy host none of the readings agrees to the unit.
const TRIES_TO_AGREE: u32 = 3;

/// Reads the ring. See the module's documentation.
struct Reader {
    session: Session,
    kernel: KernelReader,
    settings: SettingsReader,
    /// Where no hook follows mini-sockets.
    poller: Option<Poller>,
    close_waits: Watch,
    /// Where there can be sockets in CLOSE_WAIT.
    expected: Expected,
    sender: mpsc::Sender<Frame>,
    /// Frames that wait for the seeds, which must come before them.
    held: Option<Vec<Frame>>,
    pace: Pace,
    facts_pace: Pace,
    batch: BytesMut,
    processes: ProcessFinder,
}

/// Nobody listens any more.
struct Gone;

impl Reader {
    fn new(
        session: Session,
        kernel: KernelReader,
        settings: SettingsReader,
        poller: Option<Poller>,
        close_waits: Watch,
        sender: mpsc::Sender<Frame>,
        interval: Interval,
    ) -> Self {
        Self {
            session,
            kernel,
            settings,
            poller,
            close_waits,
            expected: Expected::default(),
            sender,
            held: Some(Vec::new()),
            pace: Pace::new(interval),
            facts_pace: Pace::new(Interval::new(FACTS_INTERVAL)),
            batch: BytesMut::with_capacity(BATCH_ROOM),
            processes: ProcessFinder::new(),
        }
    }

    fn run(mut self, reach: Reach, wanted: Wanted, stop: &Stop) -> Result<()> {
        self.first_counters()?;
        // They take their time, as the seeds do.
        self.ask_for_close_waits(host::monotonic_ns())?;
        let mut stopping = self.seed(reach, wanted, stop)?;
        loop {
            let drained = if stopping { self.drain_all() } else { self.drain() };
            if drained.is_err() {
                return Ok(());
            }
            let now_ns = host::monotonic_ns();
            if self.close_waits()?.is_err() {
                return Ok(());
            }
            self.ask_for_close_waits(now_ns)?;
            if (self.facts_pace.is_due(now_ns) || stopping) && self.settings(now_ns)?.is_err() {
                return Ok(());
            }
            if (self.pace.is_due(now_ns) || stopping) && self.tick(now_ns)?.is_err() {
                return Ok(());
            }
            if stopping {
                return Ok(());
            }
            let sleep = self.pace.until_next(now_ns).min(self.session.ring.longest_sleep());
            stopping = stop.wait(sleep)?;
        }
    }

    /// Reads the sockets that exist in a thread of its own, which may take a
    /// second on a large host, and empties the ring meanwhile. Returns whether
    /// the end was asked for before all were read: then they are left out.
    fn seed(&mut self, reach: Reach, wanted: Wanted, stop: &Stop) -> Result<bool> {
        let seeding = thread::Builder::new()
            .name("seeding".to_owned())
            .spawn(move || seeding::seeds(&reach, wanted))
            .context("cannot start a thread; raise the limit on tasks (ulimit -u)")?;
        let mut stopping = false;
        while !seeding.is_finished() && !stopping {
            // Held frames have no reader that could be gone.
            let _ = self.drain();
            stopping = stop.wait(SEEDING_SLEEP.min(self.session.ring.longest_sleep()))?;
        }
        let seeds =
            if stopping { seeding::Seeds::default() } else { seeding.join().unwrap_or_default() };
        let (sockets, minis) = (seeds.sockets.len(), seeds.minis.len());
        info!("attached, with {sockets} sockets and {minis} mini-sockets seeded");
        let held = self.held.take().unwrap_or_default();
        let seed = Frame::Seed {
            sockets: seeds.sockets,
            minis: seeds.minis,
            until_ns: host::monotonic_ns(),
            complete: seeds.complete,
        };
        // What a port means, the range tells.
        let settings = self.settings.all(host::monotonic_ns());
        for frame in settings.into_iter().chain([seed]).chain(held) {
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
        while !self.drain_batch()? && !self.pace.until_next(host::monotonic_ns()).is_zero() {}
        Ok(())
    }

    /// Empties the ring at the end, when no tick may cut that short: what is in it was
    /// counted. Reading is faster than writing; should it not be, the end comes all the same.
    fn drain_all(&mut self) -> Result<(), Gone> {
        let until_ns = host::monotonic_ns().saturating_add(LONGEST_LAST_DRAIN_NS);
        while !self.drain_batch()? && host::monotonic_ns() < until_ns {}
        self.drain()
    }

    /// Hands on what is in the ring, a batch at most; returns whether it is empty.
    fn drain_batch(&mut self) -> Result<bool, Gone> {
        let empty = self.session.ring.drain(&mut self.batch, BATCH_BYTES);
        if !self.batch.is_empty() {
            self.hand_on(host::monotonic_ns())?;
        }
        Ok(empty)
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
        let polls = self.poller.is_some();
        let (totals, kernel) =
            self.counters(
                |reader, totals| {
                    if polls { reader.all() } else { reader.of_interest(totals) }
                },
            )?;
        let mut frames = vec![Frame::Totals(totals), Frame::Kernel(kernel)];
        frames.extend(self.poller.as_mut().map(Poller::look));
        frames.push(super::tick(now_ns));
        let facts = self.processes.second_look(now_ns);
        Ok(self
            .facts(facts)
            .and_then(|()| frames.into_iter().try_for_each(|frame| self.send(frame))))
    }

    /// Settings that have changed, and namespaces that are new.
    fn settings(&mut self, now_ns: u64) -> Result<Result<(), Gone>> {
        let news = self.settings.changed(&self.session.counters.read()?, now_ns);
        Ok(news.into_iter().try_for_each(|frame| self.send(frame)))
    }

    /// Where there can be any of them, by what was counted until now.
    fn ask_for_close_waits(&mut self, now_ns: u64) -> Result<()> {
        if self.close_waits.is_due(now_ns) {
            let places = self.expected.places(&self.session.counters.read()?, now_ns);
            self.close_waits.ask(now_ns, places);
        }
        Ok(())
    }

    fn close_waits(&mut self) -> Result<Result<(), Gone>> {
        let News { frames, holding } = self.close_waits.news();
        if let Some(holding) = holding {
            self.expected.looked(holding, &self.session.counters.read()?);
        }
        Ok(frames.into_iter().try_for_each(|frame| self.send(frame)))
    }

    /// What the kernel's own counters are compared with from now on.
    fn first_counters(&mut self) -> Result<()> {
        let (totals, kernel) = self.counters(|reader, _| reader.all())?;
        for frame in [Frame::Totals(totals), Frame::Kernel(kernel)] {
            // Held frames have no reader that could be gone.
            let _ = self.send(frame);
        }
        Ok(())
    }

    /// Our totals and the kernel's, of one moment if there is a quiet one.
    fn counters(
        &mut self,
        kernel: impl Fn(&mut KernelReader, &Totals) -> Vec<KernelCounters>,
    ) -> Result<(Totals, Vec<KernelCounters>)> {
        let mut totals = self.session.counters.read()?;
        let mut read = kernel(&mut self.kernel, &totals);
        for _ in 1..TRIES_TO_AGREE {
            let after = self.session.counters.read()?;
            let is_quiet = minis(&totals).eq(minis(&after));
            totals = after;
            if is_quiet {
                break;
            }
            let again = kernel(&mut self.kernel, &totals);
            merge(&mut read, again);
        }
        Ok((totals, read))
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

/// Takes over what was read again.
fn merge(read: &mut Vec<KernelCounters>, again: Vec<KernelCounters>) {
    read.retain(|counters| !again.iter().any(|newer| newer.netns == counters.netns));
    read.extend(again);
}

/// The counts that the kernel's are compared with.
fn minis(totals: &Totals) -> impl Iterator<Item = (Option<u32>, u64, u64)> {
    let sums = |counters: &Counters| {
        (counters.births.iter().sum::<u64>(), counters.ends.iter().sum::<u64>())
    };
    totals.by_netns.iter().map(move |(netns, counters)| {
        let (births, ends) = sums(counters);
        (*netns, births, ends)
    })
}
