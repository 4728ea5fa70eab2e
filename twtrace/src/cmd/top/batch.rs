//! One snapshot after the other, for whoever reads them.

use anyhow::Result;

use super::Shown;
use crate::{
    cmd::run::{self, Ends, Output, Printer},
    config::{Format, Top},
    filter::Filtered,
    stats::snapshot::Snapshot,
    view::{csv, json, text},
};

pub(super) async fn show(
    config: &Top,
    format: Format,
    mut shown: Shown,
    mut ends: Ends,
) -> Result<()> {
    let printer = Printer::start(Output::Stdout, view(format))?;
    let stop = shown.source.stopper();
    let pumped = tokio::select! {
        biased;
        () = ends.patience_lost(&stop) => return Ok(()),
        pumped = pump(config, &mut shown, &printer) => pumped,
    };
    let written = tokio::select! {
        biased;
        () = ends.patience_lost(&stop) => return Ok(()),
        written = printer.finish() => written,
    };
    shown.source.join()?;
    pumped.and(written)
}

/// Frames in, snapshots out, until there are no more of either.
async fn pump(config: &Top, shown: &mut Shown, printer: &Printer) -> Result<()> {
    let (filter, meta) = (config.filter.clone(), shown.source.meta.clone());
    let mut pipeline = Filtered::new(filter, meta, shown.max_connections, config.rows)?;
    let mut printed = 0;
    while let Some(frame) = shown.source.frames.recv().await {
        let Some(mut snapshot) = run::apply(&mut pipeline, &frame)? else { continue };
        if let Some(by) = config.sort {
            by.sort(&mut snapshot);
        }
        printed += 1;
        let is_last = config.snapshots.is_some_and(|wanted| printed >= wanted);
        if !printer.print(snapshot).await || is_last {
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
