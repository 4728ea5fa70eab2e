//! A recording under way: frames to the file and to the pipeline alike, and what that gives
//! rise to: another file, a flight trace, an end.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use anyhow::Result;
use log::warn;
use tokio::{signal::unix, sync::oneshot, time::Instant};

use super::{ROWS, progress::ProgressLine};
use crate::{
    cmd::run::{self, Ends},
    config::{self, Rotation},
    decode,
    frame::Frame,
    pipeline::Pipeline,
    recorder::{self, Next, Progress, Recorder},
    source::{Source, Stop},
    stats::snapshot::Snapshot,
    trace::{End, FileMeta},
    view::record::{self, Recorded},
};

/// Signals that ask for something while the recording goes on.
pub(super) struct Asked {
    pub(super) hangup: unix::Signal,
    pub(super) status: unix::Signal,
    pub(super) dump: unix::Signal,
}

/// A recording under way.
pub(super) struct Session {
    config: config::Record,
    recorder: Recorder,
    pipeline: Pipeline,
    stop: Stop,
    /// Another file was asked for.
    rotate: bool,
    /// What is kept for a flight is to be written out at the next tick, and why.
    dump: Option<&'static str>,
    /// Whether a connect without a port, or a destination past the knee, was told already.
    told: Told,
    /// Records that found no room on their way to the file, since that was last said.
    lost: u64,
    events: u64,
    /// The last Snapshot of the file under way.
    last: Option<Snapshot>,
    /// What the files before it lost.
    before: Lost,
    /// When the file under way, or the part of a flight, began.
    file_started_ns: u64,
    began: Instant,
    progress: Option<ProgressLine>,
}

/// What got lost, as far as that is known.
#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    ring_full: Option<u64>,
    missed: Option<u64>,
}

impl Lost {
    fn and(self, more: Self) -> Self {
        let sum = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        Self {
            ring_full: sum(self.ring_full, more.ring_full),
            missed: sum(self.missed, more.missed),
        }
    }
}

#[derive(Default)]
struct Told {
    without_port: bool,
    knee: bool,
}

impl Session {
    /// One that has just begun.
    pub(super) fn new(
        config: config::Record,
        meta: &FileMeta,
        recorder: Recorder,
        stop: Stop,
    ) -> Self {
        let pipeline = Pipeline::new(meta.run.clone(), meta.max_connections, meta.rows);
        let file_started_ns = meta.run.started_ns;
        Self {
            config,
            recorder,
            pipeline,
            stop,
            rotate: false,
            dump: None,
            told: Told::default(),
            lost: 0,
            events: 0,
            last: None,
            before: Lost::default(),
            file_started_ns,
            began: Instant::now(),
            progress: io::stderr().is_terminal().then(ProgressLine::default),
        }
    }

    /// How long it is to last.
    pub(super) fn duration(&self) -> Option<Duration> {
        self.config.duration
    }

    /// Takes in all frames. Says when the first has come: then all hooks are attached, and
    /// what was there before is known.
    pub(super) async fn pump(
        &mut self,
        source: &mut Source,
        mut asked: Asked,
        seeded: oneshot::Sender<()>,
    ) -> Result<()> {
        let mut seeded = Some(seeded);
        loop {
            tokio::select! {
                biased;
                failed = self.recorder.over() => return failed,
                _ = asked.status.recv() => self.say_what_was_recorded(),
                _ = asked.hangup.recv() => self.rotate_when_possible(),
                _ = asked.dump.recv() => self.dump_when_possible(),
                frame = source.frames.recv() => {
                    let Some(frame) = frame else { return Ok(()) };
                    if let Some(seeded) = seeded.take() {
                        // Who waits for it may have been told to end already.
                        let _ = seeded.send(());
                    }
                    self.take(&frame)?;
                }
            }
        }
    }

    /// Hands one frame to the file and to the pipeline: to both or to none, so that the
    /// file tells what is known here.
    fn take(&mut self, frame: &Frame) -> Result<()> {
        if let Frame::Records(batch) = frame {
            let count = decode::records(batch).count() as u64;
            if !self.recorder.offer(frame) {
                self.lost += count;
                return Ok(());
            }
            self.events += count;
        } else {
            self.say_what_got_lost()?;
            if !self.recorder.offer(frame) {
                // A look found no room: nothing is known of that moment.
                return self.take(&Frame::Polled(None));
            }
        }
        let snapshot = run::decoded(self.pipeline.apply(frame))?;
        self.end_if_there_is_enough();
        if let (&Frame::Tick { time_ns, .. }, Some(snapshot)) = (frame, snapshot) {
            self.tick(time_ns, snapshot);
        }
        Ok(())
    }

    /// Before anything else: what was lost belongs to the time before.
    fn say_what_got_lost(&mut self) -> Result<()> {
        let records = std::mem::take(&mut self.lost);
        if records > 0 {
            let lost = Frame::Lost { records };
            self.recorder.offer(&lost);
            run::decoded(self.pipeline.apply(&lost))?;
        }
        Ok(())
    }

    fn end_if_there_is_enough(&mut self) {
        if self.config.max_events.is_some_and(|most| self.events >= most) {
            self.stop.raise();
        }
        if self.pipeline.without_port() > 0 && !self.told.without_port {
            self.told.without_port = true;
            if self.config.until_exhausted {
                self.stop.raise();
            }
            self.dump.get_or_insert("a connect found no local port");
        }
    }

    fn tick(&mut self, time_ns: u64, snapshot: Snapshot) {
        if !self.told.knee && is_past_a_knee(&snapshot) {
            self.told.knee = true;
            self.dump.get_or_insert("a destination is past the knee");
        }
        self.last = Some(snapshot);
        if self.config.recorder.flight_ns.is_some() {
            self.fly(time_ns);
        } else if std::mem::take(&mut self.rotate) || self.file_is_full(time_ns) {
            self.next_file(time_ns);
        }
        self.show_progress();
    }

    /// Writes out what is kept, if that is due, and begins another part of it.
    fn fly(&mut self, time_ns: u64) {
        if let Some(why) = self.dump.take() {
            warn!("writing the flight trace: {why}");
            self.recorder.dump();
        }
        let age_ns = time_ns.saturating_sub(self.file_started_ns);
        let flight_ns = self.config.recorder.flight_ns.unwrap_or(0);
        if recorder::is_part_over(age_ns, flight_ns) {
            let (run, carried) = self.pipeline.checkpoint(time_ns);
            let end = End { snapshot: None, events: 0, goes_on: true };
            self.recorder.next(Next { end, run, carried });
            self.file_started_ns = time_ns;
        }
    }

    fn file_is_full(&self, time_ns: u64) -> bool {
        let Rotation { bytes, seconds, files } = self.config.rotation;
        let written = Progress::of(&self.recorder.progress().file_bytes);
        let age_ns = time_ns.saturating_sub(self.file_started_ns);
        let is_over =
            |seconds: u64| recorder::has_lasted(age_ns, seconds.saturating_mul(1_000_000_000));
        let is_full = bytes.is_some_and(|most| written >= most) || seconds.is_some_and(is_over);
        let is_last =
            files.is_some_and(|most| Progress::of(&self.recorder.progress().files) >= most);
        if is_full && is_last {
            self.stop.raise();
        }
        is_full && !is_last
    }

    /// Goes on in another file: there everything counts from now on.
    fn next_file(&mut self, time_ns: u64) {
        let (run, carried) = self.pipeline.checkpoint(time_ns);
        let mut pipeline = Pipeline::new(run.clone(), self.config.trace.max_connections, ROWS);
        for frame in &carried {
            // What this pipeline knows another one can take in.
            let _ = pipeline.apply(frame);
        }
        self.pipeline = pipeline;
        match End::new(self.last.as_ref(), true) {
            Ok(end) => self.recorder.next(Next { end, run, carried }),
            Err(error) => warn!("no other file was begun: {error:#}"),
        }
        self.before = self.lost();
        self.last = None;
        self.file_started_ns = time_ns;
        self.told = Told::default();
    }

    fn rotate_when_possible(&mut self) {
        if self.config.recorder.flight_ns.is_some() || self.config.recorder.names.is_stream() {
            warn!("SIGHUP: there is no other file to go on in");
        } else {
            self.rotate = true;
        }
    }

    fn dump_when_possible(&mut self) {
        if self.config.recorder.flight_ns.is_some() {
            self.dump = Some("SIGUSR2");
        } else {
            warn!("SIGUSR2: everything is written already; --flight keeps the last minutes");
        }
    }

    /// Ends the file, and waits until it is written.
    pub(super) async fn finish(&mut self, ends: &mut Ends, stop: &Stop) -> Result<()> {
        self.say_what_got_lost()?;
        if self.dump.take().is_some() && self.config.recorder.flight_ns.is_some() {
            self.recorder.dump();
        }
        self.recorder.finish(End::new(self.last.as_ref(), false)?);
        tokio::select! {
            biased;
            written = self.recorder.over() => written,
            () = ends.patience_lost(stop) => {
                warn!("the end of the recording was not written");
                Ok(())
            }
        }
    }

    /// In all files.
    fn lost(&self) -> Lost {
        let loss = self.last.as_ref().and_then(|last| last.loss.as_ref());
        let here = loss.map_or_else(Lost::default, |loss| Lost {
            ring_full: Some(loss.ring_full),
            missed: loss.missed,
        });
        let on_the_way = (self.lost > 0).then_some(self.lost);
        self.before.and(here).and(Lost { ring_full: on_the_way, missed: None })
    }

    fn so_far(&self) -> Recorded {
        let Lost { ring_full, missed } = self.lost();
        let progress = self.recorder.progress();
        let written = Progress::of(&progress.bytes);
        Recorded {
            events: self.events,
            ring_full,
            missed,
            seconds: self.began.elapsed().as_secs_f64(),
            bytes: written,
            files: Progress::of(&progress.files),
        }
    }

    fn show_progress(&mut self) {
        let so_far = self.so_far();
        let left_s = self.config.duration.map(|it| (it.as_secs_f64() - so_far.seconds).max(0.0));
        if let Some(line) = &mut self.progress {
            line.show(so_far, left_s);
        }
    }

    /// On a line of its own.
    pub(super) fn say_what_was_recorded(&mut self) {
        if let Some(line) = &mut self.progress {
            line.clear();
        }
        let _ = write!(io::stderr(), "{}", record::summary(&self.so_far()));
    }

    /// Of a flight nothing is kept at the end.
    pub(super) fn say_if_nothing_was_written(&self) {
        if self.config.recorder.flight_ns.is_some() && self.so_far().files == 0 {
            warn!(
                "no flight trace was written: no port ran out, no destination passed the knee, and nobody asked (SIGUSR2)"
            );
        }
    }
}

fn is_past_a_knee(snapshot: &Snapshot) -> bool {
    let rows = snapshot.destinations.iter().flatten();
    rows.filter(|row| !row.other).any(|row| row.knee_in_s == Some(0.0))
}
