//! Where frames come from. Nothing behind a source reads a clock.
//!
//! A source works in a thread of its own and hands its frames over a bounded
//! channel: when the pipeline is behind, the source waits, and what then finds
//! no room in the ring is counted there.

pub mod census;
mod close_waits;
pub mod examination;
mod kernel_counters;
pub mod live;
pub mod netlink;
mod pace;
mod playback;
mod processes;
pub mod replay;
mod seeding;
mod settings;
mod stop;

use std::{
    io,
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use tokio::sync::mpsc;

pub use self::{pace::Interval, playback::Playback, stop::Stop};
use crate::{
    frame::{Frame, Meta},
    host::{self, Reach},
    probes::Hooks,
};

/// Frames under way between source and pipeline, at most 64 KiB each.
const QUEUED_FRAMES: usize = 64;

/// A running source.
#[derive(Debug)]
pub struct Source {
    /// What this run is.
    pub meta: Meta,
    /// Its frames, until it has stopped.
    pub frames: mpsc::Receiver<Frame>,
    /// How the rest of the host is reached, if the source is this host.
    pub reach: Reach,
    stop: Stop,
    /// `None` when it has ended.
    thread: Option<JoinHandle<Result<()>>>,
}

impl Source {
    /// Starts `work` in a thread. It must end when `stop` is raised, and may
    /// end early when the receiver is gone.
    fn start(
        name: &str,
        meta: Meta,
        work: impl FnOnce(mpsc::Sender<Frame>, Stop) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let stop = Stop::new()?;
        let (sender, frames) = mpsc::channel(QUEUED_FRAMES);
        let raised = stop.clone();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(sender, raised))
            .context("cannot start a thread; raise the limit on tasks (ulimit -u)")?;
        Ok(Self { meta, frames, reach: Reach::direct(), stop, thread: Some(thread) })
    }

    fn reaching(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// What asks the source to deliver what it has, tick once more and end.
    pub fn stopper(&self) -> Stop {
        self.stop.clone()
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// What made the source give up.
    pub fn join(mut self) -> Result<()> {
        self.end()
    }

    /// The same, of a source that has a successor.
    ///
    /// # Errors
    /// What made the source give up.
    pub fn end(&mut self) -> Result<()> {
        self.stop.raise();
        // A source that waits for room in the queue must learn that nobody reads it.
        self.frames.close();
        while self.frames.try_recv().is_ok() {}
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_| io::Error::other("the source panicked"))?
    }
}

/// How the rest of the host is reached, other namespaces and other users' processes.
#[derive(Clone, Debug, Default)]
pub struct Reaches {
    /// When the sockets that exist are listed, at the start.
    pub at_first: Reach,
    /// From then on.
    pub later: Reach,
}

/// What a run with `hooks` is, from now on, in one namespace or on the whole host.
fn meta(hooks: Hooks, only: Option<u32>, tw_counts_births: Option<bool>) -> Meta {
    let facts = host::read();
    let clock = host::ClockAnchor::read();
    let kernel = facts.kernel;
    Meta {
        hostname: facts.hostname,
        kernel: kernel.clone(),
        boot_id: facts.boot_id,
        started_ns: clock.monotonic_ns,
        wall_at_boot_ns: clock.wall_ns.saturating_sub(clock.boot_ns),
        hooks,
        home_netns: only.or_else(|| host::own().ok().map(|own| own.inode)),
        own_range_step: own_range_step(&kernel),
        tw_counts_births,
        // Whoever samples says so.
        sample_hz: None,
        searches_of: None,
        continues: false,
    }
}

/// Since 6.8 a search in a socket's own range comes to every port in turn.
/// <https://github.com/torvalds/linux/blob/v6.8/net/ipv4/inet_hashtables.c#L1033-L1040>
fn own_range_step(release: &str) -> u16 {
    if host::kernel_version(release).is_some_and(|version| version >= (6, 8)) { 1 } else { 2 }
}

/// Why some of the sockets that exist cannot be seen; `None` if all can.
pub fn sockets_left_out(only: Option<u32>) -> Option<String> {
    seeding::look(&Reach::direct(), only, host::Netns::reachable).first
}

/// The tick of the moment `time_ns`.
fn tick(time_ns: u64) -> Frame {
    Frame::Tick { time_ns, wall_ns: host::ClockAnchor::read().wall_ns }
}
