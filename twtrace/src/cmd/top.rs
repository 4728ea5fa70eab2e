//! `twtrace top`.

use std::process::ExitCode;

use anyhow::Result;
use log::warn;

use super::run::{self, Ends, Output, Printer};
use crate::{
    config::{Format, Replay, Top},
    demo,
    filter::Filtered,
    source::{
        Source,
        replay::{self, Recording},
    },
    stats::snapshot::Snapshot,
    view::{csv, json, text},
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
    let (source, limits) = source(config)?;
    let _demo = stage.map(demo::Stage::play).transpose()?;
    runtime.block_on(show(config, source, limits, ends))?;
    Ok(ExitCode::SUCCESS)
}

/// This host, or a recording; and how many sockets are remembered.
fn source(config: &Top) -> Result<(Source, usize)> {
    let Some(Replay { files, speed }) = &config.replay else {
        return Ok((run::source(&config.trace, config.interval)?, config.trace.max_connections));
    };
    let recording = Recording::open(files)?;
    let max_connections = recording.meta().max_connections;
    let unsound = |what: &str| warn!("unsound, and left out: {what}");
    Ok((replay::start(recording, *speed, unsound)?, max_connections))
}

async fn show(
    config: &Top,
    mut source: Source,
    max_connections: usize,
    mut ends: Ends,
) -> Result<()> {
    let printer = Printer::start(Output::Stdout, view(config.format))?;
    let stop = source.stopper();
    let shown = tokio::select! {
        biased;
        () = ends.patience_lost(&stop) => return Ok(()),
        shown = pump(config, &mut source, max_connections, &printer) => shown,
    };
    let written = tokio::select! {
        biased;
        () = ends.patience_lost(&stop) => return Ok(()),
        written = printer.finish() => written,
    };
    source.join()?;
    shown.and(written)
}

/// Frames in, snapshots out, until there are no more of either.
async fn pump(
    config: &Top,
    source: &mut Source,
    max_connections: usize,
    printer: &Printer,
) -> Result<()> {
    let (filter, meta) = (config.filter.clone(), source.meta.clone());
    let mut pipeline = Filtered::new(filter, meta, max_connections, config.rows)?;
    let mut shown = 0;
    while let Some(frame) = source.frames.recv().await {
        let Some(snapshot) = run::apply(&mut pipeline, &frame)? else { continue };
        shown += 1;
        if !printer.print(snapshot).await || config.snapshots.is_some_and(|wanted| shown >= wanted)
        {
            break;
        }
    }
    Ok(())
}

fn view(format: Format) -> impl FnMut(&Snapshot) -> Result<String> + Send {
    let mut header = (format == Format::Csv).then(csv::header);
    move |snapshot| match format {
        Format::Text => Ok(text::snapshot(snapshot)),
        Format::Json => json::line(snapshot),
        Format::Csv => Ok(header.take().unwrap_or_default() + &csv::line(snapshot)),
    }
}
