//! `twtrace doctor`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};
use log::warn;
use tokio::sync::oneshot;

use super::{
    command,
    run::{self, Ends},
};
use crate::{
    config::Doctor,
    doctor::{Diagnosis, diagnose, facts::Facts, gathering::Gathering},
    filter::{Filter, Filtered},
    source::{
        Interval, Source,
        examination::{self, Examination},
        replay::{Recording, Told},
    },
    stats::snapshot::Snapshot,
    view::doctor,
};

/// Something was found.
const FINDINGS: u8 = 1;

/// Looks at this host for a while, or at a recording, and says what is wrong.
///
/// # Errors
/// Nothing to look at, files that are no recording, or output that cannot be written.
pub fn run(config: &Doctor) -> Result<ExitCode> {
    let facts = if config.files.is_empty() { of_host(config)? } else { of_recording(config)? };
    // Whoever gave up does not want to read.
    let Some(facts) = facts else { return Ok(ExitCode::SUCCESS) };
    let diagnosis = diagnose(&facts);
    print(config, &diagnosis)?;
    let healthy = diagnosis.findings.is_empty();
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) })
}

fn print(config: &Doctor, diagnosis: &Diagnosis) -> Result<()> {
    let text = if config.json { doctor::json(diagnosis)? } else { doctor::text(diagnosis) };
    io::stdout().write_all(text.as_bytes()).context("cannot write the diagnosis")
}

/// What the pipeline and the frames themselves tell.
struct Watched {
    pipeline: Filtered,
    gathering: Gathering,
    last: Option<Snapshot>,
}

fn of_host(config: &Doctor) -> Result<Option<Facts>> {
    let runtime = run::runtime()?;
    let ends = runtime.block_on(async { Ends::new() })?;
    let examination = Examination::begin(config.trace.netns, config.rows);
    // One tick, at the end: what is over the last interval is over the whole window.
    let source = run::source(&config.trace, Interval::new(std::time::Duration::MAX))?;
    let watched = runtime.block_on(watch(config, source, ends))?;
    let Some(Watched { gathering, last: Some(last), .. }) = watched else { return Ok(None) };
    Ok(Some(examination.end(last, gathering)))
}

/// Watches until the time is over or a signal comes; `None` after a second one.
async fn watch(config: &Doctor, mut source: Source, mut ends: Ends) -> Result<Option<Watched>> {
    let stop = source.stopper();
    let (seeded, ready) = oneshot::channel();
    let given_up = async {
        // No command is started, which alone could fail.
        let _ = command::over(Some(config.duration), None, &mut ends, ready).await;
        ends.ask(&stop).await;
    };
    let watched = tokio::select! {
        biased;
        () = given_up => None,
        watched = take_all(config, &mut source, seeded) => Some(watched?),
    };
    source.join()?;
    Ok(watched)
}

/// Takes in all frames; says when the first has come, since then all hooks are attached.
async fn take_all(
    config: &Doctor,
    source: &mut Source,
    seeded: oneshot::Sender<()>,
) -> Result<Watched> {
    let (meta, max) = (source.meta.clone(), config.trace.max_connections);
    let mut watched = Watched {
        pipeline: Filtered::new(Filter::default(), meta, max, config.rows)?,
        gathering: Gathering::default(),
        last: None,
    };
    let mut seeded = Some(seeded);
    while let Some(frame) = source.frames.recv().await {
        watched.gathering.take(&frame);
        watched.last = run::apply(&mut watched.pipeline, &frame)?.or(watched.last);
        if let Some(seeded) = seeded.take() {
            // Who waits for it may have been told to end already.
            let _ = seeded.send(());
        }
    }
    Ok(watched)
}

fn of_recording(config: &Doctor) -> Result<Option<Facts>> {
    let mut recording = Recording::open(&config.files)?;
    let meta = recording.meta();
    let (run, max) = (meta.run.clone(), meta.max_connections);
    let mut pipeline = Filtered::new(Filter::default(), run, max, config.rows)?;
    let (mut gathering, mut last) = (Gathering::default(), None);
    while let Some(told) = recording.next()? {
        match told {
            Told::Frame(frame) => {
                gathering.take(&frame);
                let snapshot = pipeline.apply(&frame);
                let snapshot = snapshot
                    .context("the recording holds other records than this version reads")?;
                last = snapshot.or(last);
            }
            Told::Unsound(what) => warn!("unsound, and left out: {what}"),
            Told::End(_) => {}
        }
    }
    let last =
        last.context("the recording tells of no moment: not even its first second was over")?;
    Ok(Some(examination::of_recording(last, &gathering)))
}
