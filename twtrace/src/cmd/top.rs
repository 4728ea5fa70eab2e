//! `twtrace top`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use log::warn;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    bpf::{attach::Attached, plan::Wanted},
    config::{Format, Top},
    pipeline::Pipeline,
    probes::Tier,
    source::{Source, live, netlink},
    stats::snapshot::Snapshot,
    view::{csv, json, text},
};

/// Runs until the last snapshot, a signal, or the reader of the output has gone.
///
/// # Errors
/// Nothing to trace with where a tier was asked for, or output that cannot be written.
pub fn run(config: &Top) -> Result<ExitCode> {
    let source = source(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(show(config, source))?;
    Ok(ExitCode::SUCCESS)
}

/// The live kernel, or sock_diag where it allows no BPF.
fn source(config: &Top) -> Result<Source> {
    let trace = &config.trace;
    let netns = trace.netns;
    let Attached { session, reports } = super::attach(trace)?;
    if let Some(session) = session {
        return live::start(session, netns, config.interval);
    }
    let refusal = reports.iter().find_map(|report| report.refusal.as_ref());
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

async fn show(config: &Top, mut source: Source) -> Result<()> {
    let mut pipeline =
        Pipeline::new(source.meta.clone(), config.trace.max_connections, config.rows);
    let mut printer = Printer { format: config.format, printed: 0, out: io::stdout().lock() };
    let mut ends = Ends::new()?;
    loop {
        tokio::select! {
            biased;
            () = ends.next() => source.stop(),
            frame = source.frames.recv() => {
                let Some(frame) = frame else { break };
                // The kernel writes no record that we cannot read; a foreign object may.
                let snapshot = pipeline.apply(&frame).context(
                    "the BPF object writes other records than this version reads",
                )?;
                if let Some(snapshot) = snapshot {
                    printer.print(&snapshot)?;
                    if config.snapshots.is_some_and(|wanted| printer.printed >= wanted) {
                        break;
                    }
                }
            }
        }
    }
    source.join()
}

/// What asks for a clean end.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Ends {
    fn new() -> Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hangup: catch(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Writes snapshots to standard output.
struct Printer {
    format: Format,
    printed: u64,
    out: io::StdoutLock<'static>,
}

impl Printer {
    fn print(&mut self, snapshot: &Snapshot) -> Result<()> {
        let text = match self.format {
            Format::Text => text::snapshot(snapshot),
            Format::Json => json::line(snapshot)?,
            Format::Csv if self.printed == 0 => csv::header() + &csv::line(snapshot),
            Format::Csv => csv::line(snapshot),
        };
        self.printed += 1;
        self.out.write_all(text.as_bytes()).context("cannot write the snapshot")?;
        self.out.flush().context("cannot write the snapshot")
    }
}
