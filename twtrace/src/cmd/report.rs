//! `twtrace report`.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result, anyhow};
use log::warn;

use super::output_file;
use crate::{
    config::{Format, Report, TypedTime},
    filter::Filtered,
    frame::Frame,
    source::replay::{Recording, Told},
    stats::snapshot::Snapshot,
    view::{html, json, text},
};

/// Replays a recording and shows its last moment.
///
/// # Errors
/// The files cannot be read, are not of one recording, or tell of no moment; output that
/// cannot be written.
pub fn run(config: &Report) -> Result<ExitCode> {
    let mut recording = Recording::open(&config.files)?;
    let mut replayed = Replayed::new(config, &recording)?;
    while let Some(told) = recording.next()? {
        match told {
            Told::Frame(frame) => {
                if replayed.take(&frame)? {
                    break;
                }
            }
            Told::Unsound(what) => {
                warn!("unsound, and left out: {what}");
                replayed.unsound.push(what);
            }
            Told::End(_) => {}
        }
    }
    if let Some(path) = &config.html {
        return replayed.write_page(path).map(|()| ExitCode::SUCCESS);
    }
    let snapshot = replayed.last.with_context(|| no_moment(config))?;
    let shown = match config.format {
        Format::Json => json::line(&snapshot)?,
        Format::Text | Format::Csv => text::snapshot(&snapshot),
    };
    io::stdout().lock().write_all(shown.as_bytes()).context("cannot write the report")?;
    Ok(ExitCode::SUCCESS)
}

fn no_moment(config: &Report) -> &'static str {
    if config.since.is_some() || config.until.is_some() {
        "nothing of the recording lies between --since and --until"
    } else {
        "the recording tells of no moment: not even its first second was over"
    }
}

/// A recording, as far as it was replayed.
struct Replayed<'a> {
    config: &'a Report,
    started_ns: u64,
    /// The wall clock's time of the first tick.
    first_wall_ns: Option<u64>,
    /// Whether what is told counts already.
    counts: bool,
    pipeline: Filtered,
    last: Option<Snapshot>,
    /// Parts of the files that could not be used.
    unsound: Vec<String>,
    /// Of these, those that were told.
    told: usize,
}

impl<'a> Replayed<'a> {
    fn new(config: &'a Report, recording: &Recording) -> Result<Self> {
        let meta = recording.meta();
        let (run, rows) = (meta.run.clone(), config.rows.unwrap_or(meta.rows));
        let filtered = if config.since.is_some() { Filtered::later } else { Filtered::new };
        let mut pipeline = filtered(config.filter.clone(), run, meta.max_connections, rows)?;
        if config.html.is_some() {
            pipeline.pipeline_mut().keep_timeline();
        }
        Ok(Self {
            config,
            started_ns: meta.run.started_ns,
            first_wall_ns: None,
            counts: config.since.is_none(),
            pipeline,
            last: None,
            unsound: Vec::new(),
            told: 0,
        })
    }

    /// Takes in a frame; returns whether that was all that is wanted.
    fn take(&mut self, frame: &Frame) -> Result<bool> {
        if let Frame::Tick { time_ns, .. } = frame {
            for what in &self.unsound[self.told..] {
                self.pipeline.pipeline_mut().gap(*time_ns, what);
            }
            self.told = self.unsound.len();
        }
        let snapshot = self
            .pipeline
            .apply(frame)
            .context("the recording holds other records than this version reads")?;
        let (&Frame::Tick { time_ns, wall_ns }, Some(snapshot)) = (frame, snapshot) else {
            return Ok(false);
        };
        let moment = Moment {
            wall_ns,
            since_start_ns: time_ns.saturating_sub(self.started_ns),
            first_wall_ns: *self.first_wall_ns.get_or_insert(wall_ns),
        };
        if self.counts {
            self.last = Some(snapshot);
            return Ok(self.config.until.is_some_and(|until| moment.has_reached(until)));
        }
        if self.config.since.is_some_and(|since| moment.has_reached(since)) {
            self.pipeline.count_from(time_ns)?;
            self.counts = true;
        }
        Ok(false)
    }

    fn write_page(&self, path: &Path) -> Result<()> {
        let moment = self.last.as_ref().zip(self.pipeline.pipeline().timeline());
        let (snapshot, timeline) = moment.with_context(|| no_moment(self.config))?;
        let (meta, notes) = (self.pipeline.pipeline().meta(), self.unsound.as_slice());
        let page = html::page(&html::Report { meta, snapshot, timeline, notes });
        let written = output_file::open(path)?.write_all(page.as_bytes());
        written.map_err(|error| anyhow!("cannot write {}: {error}", path.display()))
    }
}

/// When a tick came.
struct Moment {
    wall_ns: u64,
    since_start_ns: u64,
    first_wall_ns: u64,
}

impl Moment {
    fn has_reached(&self, time: TypedTime) -> bool {
        const DAY_NS: u64 = 86_400_000_000_000;
        match time {
            TypedTime::Wall(wall_ns) => self.wall_ns >= wall_ns,
            TypedTime::SinceStart(since_ns) => self.since_start_ns >= since_ns,
            TypedTime::OfDay(of_day_ns) => {
                let midnight = self.first_wall_ns - self.first_wall_ns % DAY_NS;
                let today = midnight + of_day_ns;
                // Before the recording began, it is the next day's.
                let wanted = if today < self.first_wall_ns { today + DAY_NS } else { today };
                self.wall_ns >= wanted
            }
        }
    }
}
