//! What all commands share that trace until they are told to end: the source, the
//! signals that ask for a clean end, and the thread that writes.

use std::{
    future,
    io::{self, Write},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use log::warn;
use rustix::process::Signal;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{self, SignalKind, signal},
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::confined;
use crate::{
    bpf::{
        attach::{Attached, HookReport},
        plan::Wanted,
    },
    config::Trace,
    decode::DecodeError,
    filter::Filtered,
    frame::Frame,
    privileges::Privileges,
    probes::{Capability, Tier},
    source::{Interval, Source, Stop, live, netlink},
    stats::snapshot::Snapshot,
};

/// How long a reader of the output that has stalled may keep us from ending.
const PATIENCE: Duration = Duration::from_secs(5);

/// A runtime of one thread, this one.
pub(super) fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}

/// The live kernel, or sock_diag where it allows no BPF; a tick comes every `interval`.
pub(super) fn source(trace: &Trace, interval: Interval) -> Result<Source> {
    confined(trace, interval, Privileges::Keep)
}

/// The same, with the rights that are left once it has begun. To be called before there is
/// another thread.
pub(super) fn confined(
    trace: &Trace,
    interval: Interval,
    privileges: Privileges,
) -> Result<Source> {
    let reaches = confined::reaches(privileges)?;
    let attached = attached(trace)?;
    confined::give_up(privileges, attached.session.as_ref())?;
    match attached.session {
        Some(session) => live::start(session, reaches, trace.netns, interval),
        None => netlink::start(reaches.later, trace.netns, interval),
    }
}

/// What attached, and a word about what did not.
fn attached(trace: &Trace) -> Result<Attached> {
    let attached = super::attach(trace)?;
    super::refuse_part_of_a_tier(trace.wanted, &attached)?;
    if attached.session.is_some() {
        super::warn_of_missing(&attached);
        return Ok(attached);
    }
    let reports = &attached.reports;
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
    Ok(attached)
}

/// Takes in one frame.
pub(super) fn apply(pipeline: &mut Filtered, frame: &Frame) -> Result<Option<Snapshot>> {
    decoded(pipeline.apply(frame))
}

/// What a frame of the live kernel gave.
pub(super) fn decoded<T>(applied: Result<T, DecodeError>) -> Result<T> {
    // The kernel writes no record that we cannot read; a foreign object may.
    applied.map_err(|error| {
        anyhow::Error::from(error).context(
            "the BPF object writes other records than this version reads: leave out --bpf-object",
        )
    })
}

/// What asks for a clean end.
pub(super) struct Ends {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    /// `None` where it means something else.
    hangup: Option<unix::Signal>,
    /// When the clean end was asked for.
    asked: Option<Instant>,
}

impl Ends {
    /// Catches the signals from now on.
    pub(super) fn new() -> Result<Self> {
        let hangup = signal(SignalKind::hangup()).context("cannot catch signals")?;
        Ok(Self { hangup: Some(hangup), ..Self::but_for_hangup()? })
    }

    /// Catches them but for SIGHUP, which is no end of a recording.
    pub(super) fn but_for_hangup() -> Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hangup: None,
            asked: None,
        })
    }

    /// Asks for a clean end at the first signal, and returns if that does not
    /// come: after a second signal, or when the output stays blocked.
    pub(super) async fn patience_lost(&mut self, stop: &Stop) {
        if self.asked.is_none() {
            self.next().await;
        }
        self.ask(stop).await;
    }

    /// Asks for a clean end now, and returns if that does not come.
    pub(super) async fn ask(&mut self, stop: &Stop) {
        stop.raise();
        if self.asked.is_none() {
            self.forget_pending().await;
        }
        let asked = *self.asked.get_or_insert_with(Instant::now);
        tokio::select! {
            _ = self.next() => {}
            () = tokio::time::sleep_until(asked + PATIENCE) => {}
        }
    }

    /// A Ctrl-C that ended the command came to us too: it is no second one.
    async fn forget_pending(&mut self) {
        while tokio::time::timeout(Duration::ZERO, self.next()).await.is_ok() {}
    }

    /// The next signal.
    pub(super) async fn next(&mut self) -> Signal {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = hangup => Signal::HUP,
        }
    }
}

/// Where a [`Printer`] writes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Output {
    Stdout,
    Stderr,
}

impl Output {
    fn write(self, text: &str) -> io::Result<()> {
        match self {
            Self::Stdout => write_all(io::stdout().lock(), text),
            Self::Stderr => write_all(io::stderr().lock(), text),
        }
    }
}

fn write_all(mut out: impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes snapshots in a thread of its own: whoever reads them may stall, and
/// signals must still be heard.
pub(super) struct Printer {
    snapshots: mpsc::Sender<Snapshot>,
    written: oneshot::Receiver<Result<()>>,
}

impl Printer {
    /// Will write to `output` what `view` makes of each snapshot.
    pub(super) fn start(
        output: Output,
        mut view: impl FnMut(&Snapshot) -> Result<String> + Send + 'static,
    ) -> Result<Self> {
        let (snapshots, mut queue) = mpsc::channel(1);
        let (done, written) = oneshot::channel();
        let mut print_all = move || -> Result<()> {
            while let Some(snapshot) = queue.blocking_recv() {
                output.write(&view(&snapshot)?).context("cannot write the snapshot")?;
            }
            Ok(())
        };
        thread::Builder::new()
            .name("printer".to_owned())
            .spawn(move || {
                // Nobody waits for it any more: then nobody needs to know.
                let _ = done.send(print_all());
            })
            .context("cannot start a thread; raise the limit on tasks (ulimit -u)")?;
        Ok(Self { snapshots, written })
    }

    /// Hands one snapshot on; returns whether the printer still works.
    pub(super) async fn print(&self, snapshot: Snapshot) -> bool {
        self.snapshots.send(snapshot).await.is_ok()
    }

    /// Waits until all is written.
    pub(super) async fn finish(self) -> Result<()> {
        drop(self.snapshots);
        self.written.await.unwrap_or(Ok(()))
    }
}
