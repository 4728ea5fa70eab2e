//! `twtrace top`: a screen where there is a terminal, else one snapshot after the other.

mod batch;
mod export;
mod flight;
mod screen;
mod session;
pub mod terminal;

use std::process::ExitCode;

use anyhow::Result;
use log::warn;

use super::run::{self, Ends};
use crate::{
    config::{Looks, Top},
    demo,
    source::{
        Interval, Playback, Source,
        replay::{self, Recording},
    },
};

/// Runs until the last snapshot, a signal, or the reader of the output has gone.
///
/// # Errors
/// Nothing to trace with where a tier was asked for, or output that cannot be written.
pub fn run(config: &Top) -> Result<ExitCode> {
    let runtime = run::runtime()?;
    // Before anything is attached: from now on a signal ends us cleanly.
    let ends = runtime.block_on(async { Ends::new() })?;
    let stage = config.demo.then(demo::Stage::set).transpose()?;
    let shown = Shown::start(config)?;
    let _demo = stage.map(demo::Stage::play).transpose()?;
    match config.looks {
        Looks::Lines(format) => runtime.block_on(batch::show(config, format, shown, ends))?,
        Looks::Screen { colors } => runtime.block_on(session::show(config, colors, shown, ends))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What is shown: this host, or a recording.
struct Shown {
    source: Source,
    /// How many sockets are remembered.
    max_connections: usize,
    /// Of this host, how often there is a tick.
    interval: Interval,
    /// Of a recording, how it is played.
    playback: Option<Playback>,
}

impl Shown {
    fn start(config: &Top) -> Result<Self> {
        let interval = Interval::new(config.interval);
        let Some(replay) = &config.replay else {
            let source = run::confined(&config.trace, interval.clone(), config.privileges)?;
            let max_connections = config.trace.max_connections;
            return Ok(Self { source, max_connections, interval, playback: None });
        };
        let playback = Playback::new(replay.speed)?;
        let (source, max_connections) = play(Recording::open(&replay.files)?, playback.clone())?;
        Ok(Self { source, max_connections, interval, playback: Some(playback) })
    }
}

/// A recording from its beginning, and how many sockets it remembers.
fn play(recording: Recording, playback: Playback) -> Result<(Source, usize)> {
    let max_connections = recording.meta().max_connections;
    let unsound = |what: &str| warn!("unsound, and left out: {what}");
    Ok((replay::start(recording, playback, unsound)?, max_connections))
}
