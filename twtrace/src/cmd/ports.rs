//! `twtrace ports`.

use std::process::ExitCode;

use anyhow::Result;
use log::warn;
use tokio::sync::oneshot;

use super::{
    command::{self, Measured},
    run::{self, Ends, Output, Printer},
};
use crate::{
    config::{Format, Ports},
    filter::Filtered,
    frame::{Cgroup, Meta},
    source::{Interval, Source, Stop},
    stats::snapshot::Snapshot,
    view::{
        json,
        text::{self, Whose},
    },
};

/// What a shell exits with after Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Measures until the time is over, the command is gone, or a signal comes; then reports.
///
/// # Errors
/// A command that cannot be run, nothing to trace with where a tier was asked for, or
/// output that cannot be written.
pub fn run(config: &Ports) -> Result<ExitCode> {
    let runtime = run::runtime()?;
    // Before anything is attached: from now on a signal ends us cleanly.
    let ends = runtime.block_on(async { Ends::new() })?;
    let mut command = config.command.as_ref().map(Measured::new).transpose()?;
    let (whose, searches_of) = scope(config, command.as_mut());
    let mut source = run::source(&config.trace, Interval::new(config.interval))?;
    source.meta = Meta { searches_of, ..source.meta };
    runtime.block_on(measure(config, source, ends, command, whose))
}

/// Whose searches are to be counted, for people and for the pipeline.
fn scope(config: &Ports, command: Option<&mut Measured>) -> (Whose, Option<Cgroup>) {
    let (Some(measured), Some(command)) = (command, &config.command) else {
        return (Whose::Everybody, None);
    };
    let shown = command.shown();
    match measured.isolate() {
        Ok(cgroup) => {
            let cgroup = Cgroup { id: cgroup.id(), path: cgroup.path().to_owned() };
            (Whose::Command(shown), Some(cgroup))
        }
        Err(error) => {
            let why = format!("cannot make a cgroup: {error:#}");
            warn!("counting the port searches of all processes of the host: {why}");
            (Whose::EverybodyDuring { command: shown, why }, None)
        }
    }
}

async fn measure(
    config: &Ports,
    mut source: Source,
    mut ends: Ends,
    mut command: Option<Measured>,
    whose: Whose,
) -> Result<ExitCode> {
    let stop = source.stopper();
    let (seeded, ready) = oneshot::channel();
    let mut failure = None;
    let given_up = async {
        failure = command::over(config.duration, command.as_mut(), &mut ends, ready).await.err();
        ends.ask(&stop).await;
    };
    let last = tokio::select! {
        biased;
        () = given_up => None,
        last = last_snapshot(config, &mut source, seeded) => Some(last),
    };
    if let Some(last) = last {
        let printer = Printer::start(output(config), view(config.format, whose))?;
        let printed = print(printer, last?, &mut ends, &stop).await;
        source.join()?;
        printed?;
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    let code = match &mut command {
        Some(command) => command.exit_code(&mut ends).await?.unwrap_or(INTERRUPTED),
        None => 0,
    };
    Ok(ExitCode::from(code))
}

/// Takes in all frames. Says when the first has come: then all hooks are attached, and
/// what was there before is known.
async fn last_snapshot(
    config: &Ports,
    source: &mut Source,
    seeded: oneshot::Sender<()>,
) -> Result<Option<Snapshot>> {
    let (filter, meta) = (config.filter.clone(), source.meta.clone());
    let mut pipeline = Filtered::new(filter, meta, config.trace.max_connections, config.rows)?;
    let (mut last, mut seeded) = (None, Some(seeded));
    while let Some(frame) = source.frames.recv().await {
        last = run::apply(&mut pipeline, &frame)?.or(last);
        if let Some(seeded) = seeded.take() {
            // Who waits for it may have been told to end already.
            let _ = seeded.send(());
        }
    }
    Ok(last)
}

/// The standard output is the command's, if there is one.
fn output(config: &Ports) -> Output {
    if config.command.is_some() { Output::Stderr } else { Output::Stdout }
}

fn view(format: Format, whose: Whose) -> impl FnMut(&Snapshot) -> Result<String> + Send {
    move |snapshot| match format {
        Format::Json => json::line(snapshot),
        Format::Text | Format::Csv => Ok(text::ports(snapshot, &whose)),
    }
}

async fn print(
    printer: Printer,
    last: Option<Snapshot>,
    ends: &mut Ends,
    stop: &Stop,
) -> Result<()> {
    if let Some(last) = last {
        // One that does not work says why when it is finished.
        printer.print(last).await;
    }
    tokio::select! {
        biased;
        () = ends.patience_lost(stop) => Ok(()),
        written = printer.finish() => written,
    }
}
