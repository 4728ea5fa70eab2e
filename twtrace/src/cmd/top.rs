//! `twtrace top`.

use std::process::ExitCode;

use anyhow::Result;

use super::run::{self, Ends, Output, Printer};
use crate::{
    config::{Format, Top},
    filter::Filtered,
    source::Source,
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
    let source = run::source(&config.trace, config.interval)?;
    runtime.block_on(show(config, source, ends))?;
    Ok(ExitCode::SUCCESS)
}

async fn show(config: &Top, mut source: Source, mut ends: Ends) -> Result<()> {
    let printer = Printer::start(Output::Stdout, view(config.format))?;
    let stop = source.stopper();
    let shown = tokio::select! {
        biased;
        () = ends.patience_lost(&stop) => return Ok(()),
        shown = pump(config, &mut source, &printer) => shown,
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
async fn pump(config: &Top, source: &mut Source, printer: &Printer) -> Result<()> {
    let (filter, meta) = (config.filter.clone(), source.meta.clone());
    let mut pipeline = Filtered::new(filter, meta, config.trace.max_connections, config.rows)?;
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
