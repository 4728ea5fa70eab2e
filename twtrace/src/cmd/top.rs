//! `twtrace top`.

use std::{
    io::{self, Write},
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use log::warn;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    bpf::{
        attach::{Attached, HookReport},
        plan::Wanted,
    },
    config::{Format, Top},
    pipeline::Pipeline,
    probes::{Capability, Tier},
    source::{Source, Stop, live, netlink},
    stats::snapshot::Snapshot,
    view::{csv, json, text},
};

/// How long a reader of the output that has stalled may keep us from ending.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs until the last snapshot, a signal, or the reader of the output has gone.
///
/// # Errors
/// Nothing to trace with where a tier was asked for, or output that cannot be written.
pub fn run(config: &Top) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // Before anything is attached: from now on a signal ends us cleanly.
    let ends = runtime.block_on(async { Ends::new() })?;
    let source = source(config)?;
    runtime.block_on(show(config, source, ends))?;
    Ok(ExitCode::SUCCESS)
}

/// The live kernel, or sock_diag where it allows no BPF.
fn source(config: &Top) -> Result<Source> {
    let trace = &config.trace;
    let netns = trace.netns;
    let attached = super::attach(trace)?;
    super::refuse_part_of_a_tier(trace.wanted, &attached)?;
    if attached.session.is_some() {
        super::warn_of_missing(&attached);
    }
    let Attached { session, reports } = attached;
    if let Some(session) = session {
        return live::start(session, netns, config.interval);
    }
    let of_transitions = |report: &&HookReport| report.capability == Capability::Transitions;
    let refusal = reports.iter().filter(of_transitions).find_map(|report| report.refusal.as_ref());
    match (trace.wanted, refusal) {
        (Wanted::Auto, Some(refusal)) => {
            warn!(
                "polling sock_diag, without closes, connects and closers: {refusal} \
                 (`twtrace check` lists every hook)"
            );
        }
        (Wanted::Only(tier), Some(refusal)) => {
            let hook = &reports[reports.len() - 1].hook.place;
            bail!("--probes {}: {hook} cannot attach: {refusal}", tier.name());
        }
        (Wanted::Only(Tier::None), None) => {}
        (_, None) => bail!("there is no hook to attach; `twtrace check` says more"),
    }
    netlink::start(netns, config.interval)
}

async fn show(config: &Top, mut source: Source, mut ends: Ends) -> Result<()> {
    let printer = Printer::start(config.format)?;
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
    let mut pipeline =
        Pipeline::new(source.meta.clone(), config.trace.max_connections, config.rows);
    let mut shown = 0;
    while let Some(frame) = source.frames.recv().await {
        // The kernel writes no record that we cannot read; a foreign object may.
        let snapshot = pipeline.apply(&frame).context(
            "the BPF object writes other records than this version reads: leave out --bpf-object",
        )?;
        let Some(snapshot) = snapshot else { continue };
        shown += 1;
        if !printer.print(snapshot).await || config.snapshots.is_some_and(|wanted| shown >= wanted)
        {
            break;
        }
    }
    Ok(())
}

/// What asks for a clean end.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// When the clean end was asked for.
    asked: Option<Instant>,
}

impl Ends {
    fn new() -> Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hangup: catch(SignalKind::hangup())?,
            asked: None,
        })
    }

    /// Asks for a clean end at the first signal, and returns if that does not
    /// come: after a second signal, or when the output stays blocked.
    async fn patience_lost(&mut self, stop: &Stop) {
        if self.asked.is_none() {
            self.next().await;
            stop.raise();
            self.asked = Some(Instant::now());
        }
        let asked = self.asked.unwrap_or_else(Instant::now);
        tokio::select! {
            () = self.next() => {}
            () = tokio::time::sleep_until(asked + PATIENCE) => {}
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Writes snapshots to standard output, in a thread of its own: whoever reads
/// it may stall, and signals must still be heard.
struct Printer {
    snapshots: mpsc::Sender<Snapshot>,
    written: oneshot::Receiver<Result<()>>,
}

impl Printer {
    fn start(format: Format) -> Result<Self> {
        let (snapshots, mut queue) = mpsc::channel(1);
        let (done, written) = oneshot::channel();
        thread::Builder::new()
            .name("printer".to_owned())
            .spawn(move || {
                let outcome = print_all(format, || queue.blocking_recv());
                // Nobody waits for it any more: then nobody needs to know.
                let _ = done.send(outcome);
            })
            .context("cannot start a thread; raise the limit on tasks (ulimit -u)")?;
        Ok(Self { snapshots, written })
    }

    /// Hands one snapshot on; returns whether the printer still works.
    async fn print(&self, snapshot: Snapshot) -> bool {
        self.snapshots.send(snapshot).await.is_ok()
    }

    /// Waits until all is written.
    async fn finish(self) -> Result<()> {
        drop(self.snapshots);
        self.written.await.unwrap_or(Ok(()))
    }
}

fn print_all(format: Format, mut next: impl FnMut() -> Option<Snapshot>) -> Result<()> {
    let mut out = io::stdout().lock();
    let mut header = (format == Format::Csv).then(csv::header);
    while let Some(snapshot) = next() {
        let text = match format {
            Format::Text => text::snapshot(&snapshot),
            Format::Json => json::line(&snapshot)?,
            Format::Csv => header.take().unwrap_or_default() + &csv::line(&snapshot),
        };
        out.write_all(text.as_bytes()).context("cannot write the snapshot")?;
        out.flush().context("cannot write the snapshot")?;
    }
    Ok(())
}
