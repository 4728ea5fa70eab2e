//! Frames to files, in a thread of its own: a slow disk keeps nobody from reading the ring.
//!
//! What waits for the disk is bounded. When it is too much, [`Recorder::offer`] refuses
//! records; whoever offers them counts them as lost, and says so in the recording.

mod files;
mod flight;
mod output;

use std::{
    fs::File,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use anyhow::{Context, Result};
use tokio::sync::oneshot;

use self::{files::Rotating, flight::Flight};
pub use self::{
    files::{Limits, Names},
    output::Output,
};
use crate::{
    frame::{Frame, Meta},
    stats::snapshot,
    trace::{End, FileMeta, Recording},
};

/// Bytes of records that may wait for the disk: some seconds at full churn.
const MAX_WAITING: usize = 64 << 20;

/// What is recorded, and where to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the files are called.
    pub names: Names,
    /// How many there may be.
    pub limits: Limits,
    /// Keep the last so many nanoseconds, and write them out when asked to; otherwise
    /// everything is written at once.
    pub flight_ns: Option<u64>,
}

impl Settings {
    /// If the output is a pipe with a name, waits until somebody reads it, and keeps it open
    /// as long as what is returned. What a flight keeps is written to it much later.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn wait_for_reader(&self) -> Result<Option<File>> {
        match self.flight_ns {
            Some(_) => Ok(None),
            None => output::wait_for_reader(&self.names.pattern),
        }
    }
}

/// What the writing thread has done so far, for whoever asks.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes in the file under way, or kept for a flight.
    pub file_bytes: AtomicU64,
    /// Bytes written in all.
    pub bytes: AtomicU64,
    /// Files that were written.
    pub files: AtomicU64,
    waiting: AtomicUsize,
    /// Of flights, the file that was written last.
    last_file: Mutex<Option<PathBuf>>,
}

impl Progress {
    /// Takes the path of the flight that was written last, if there is a new one.
    pub fn take_last_file(&self) -> Option<PathBuf> {
        self.last_file.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn last_file(&self, path: PathBuf) {
        *self.last_file.lock().unwrap_or_else(PoisonError::into_inner) = Some(path);
    }

    /// A count so far.
    pub fn of(count: &AtomicU64) -> u64 {
        count.load(Ordering::Relaxed)
    }
}

/// The first file of a recording of `run`, of one namespace or of all.
pub fn first_file(run: &Meta, max_connections: usize, rows: usize, netns: Option<u32>) -> FileMeta {
    let id = format!("{}-{:x}-{}", run.boot_id, run.started_ns, process::id());
    FileMeta {
        tool: format!("twtrace {}", env!("CARGO_PKG_VERSION")),
        schema: snapshot::SCHEMA,
        recording: Recording { id, file: 0 },
        run: run.clone(),
        max_connections,
        rows,
        netns,
    }
}

/// Parts that a flight is kept in; the oldest is given up when the others reach far enough.
const FLIGHT_PARTS: u64 = 8;
/// No part of a flight is shorter.
const SHORTEST_PART_NS: u64 = 1_000_000_000;

/// Whether a part of a flight of `flight_ns` that is so old is to be followed by another.
pub fn is_part_over(age_ns: u64, flight_ns: u64) -> bool {
    has_lasted(age_ns, (flight_ns / FLIGHT_PARTS).max(SHORTEST_PART_NS))
}

/// Whether what is so old has lasted as long as it should.
pub fn has_lasted(age_ns: u64, wanted_ns: u64) -> bool {
    // Ticks come a little early or late.
    const SLACK_NS: u64 = 500_000_000;
    age_ns.saturating_add(SLACK_NS) >= wanted_ns
}

/// What the thread is asked to do.
enum Order {
    /// Write it.
    Frame(Frame),
    /// Go on in another file, or another part of what is kept for a flight.
    Next(Box<Next>),
    /// Write out what is kept.
    Dump,
    /// There is no more.
    Finish(Box<End>),
}

/// How a file ends, and the next one begins.
#[derive(Debug)]
pub struct Next {
    /// How it ends.
    pub end: End,
    /// The run, as it goes on.
    pub run: Meta,
    /// What is to be told first.
    pub carried: Vec<Frame>,
}

/// The writing thread. See the module's documentation.
pub struct Recorder {
    orders: mpsc::Sender<Order>,
    progress: Arc<Progress>,
    /// The file that is written first; nothing of a flight.
    file: Option<PathBuf>,
    /// Comes when all is written, or nothing can be.
    over: oneshot::Receiver<Result<()>>,
}

impl Recorder {
    /// Begins a recording of what `meta` says.
    ///
    /// # Errors
    /// The file cannot be made, or exists; no thread.
    pub fn start(settings: Settings, meta: FileMeta) -> Result<Self> {
        let progress = Arc::new(Progress::default());
        let mut sink = match settings.flight_ns {
            Some(flight_ns) => {
                Sink::Flight(Flight::new(settings, flight_ns, meta, Arc::clone(&progress))?)
            }
            None => Sink::Files(Rotating::new(settings, meta, Arc::clone(&progress))?),
        };
        let file = match &sink {
            Sink::Files(files) => Some(files.path().to_owned()),
            Sink::Flight(_) => None,
        };
        let (orders, queue) = mpsc::channel();
        let (done, over) = oneshot::channel();
        let counted = Arc::clone(&progress);
        let mut work = move || {
            while let Ok(order) = queue.recv() {
                let (waited, is_last) = (waiting(&order), matches!(order, Order::Finish(_)));
                sink.follow(order)?;
                counted.waiting.fetch_sub(waited, Ordering::Relaxed);
                if is_last {
                    return Ok(());
                }
            }
            Ok(())
        };
        thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || {
                // Nobody waits for it any more: then nobody needs to know.
                let _ = done.send(work());
            })
            .context("cannot start a thread; raise the limit on tasks (ulimit -u)")?;
        Ok(Self { orders, progress, file, over })
    }

    /// The file that is written first; `None` as long as nothing is.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What was done so far.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Hands on a frame; returns whether there was room for it. There always is, but for
    /// records and looks, which may be large.
    pub fn offer(&self, frame: &Frame) -> bool {
        let order = Order::Frame(frame.clone());
        let waits = waiting(&order);
        if waits > 0 && self.progress.waiting.load(Ordering::Relaxed) + waits > MAX_WAITING {
            return false;
        }
        self.progress.waiting.fetch_add(waits, Ordering::Relaxed);
        self.order(order);
        true
    }

    /// Goes on in another file.
    pub fn next(&self, next: Next) {
        self.order(Order::Next(Box::new(next)));
    }

    /// Writes out what is kept for a flight.
    pub fn dump(&self) {
        self.order(Order::Dump);
    }

    /// Ends the recording.
    pub fn finish(&self, end: End) {
        self.order(Order::Finish(Box::new(end)));
    }

    /// Waits until all is written; before [`Self::finish`], until something fails.
    ///
    /// # Errors
    /// What could not be written, and why.
    pub async fn over(&mut self) -> Result<()> {
        match (&mut self.over).await {
            Ok(result) => result,
            Err(_) => anyhow::bail!("the recording thread panicked"),
        }
    }

    fn order(&self, order: Order) {
        // A thread that has given up says why through `over`.
        let _ = self.orders.send(order);
    }
}

/// The memory that an order keeps busy and that counts.
fn waiting(order: &Order) -> usize {
    match order {
        Order::Frame(Frame::Records(batch)) => batch.len(),
        Order::Frame(Frame::Polled(Some(look))) => {
            size_of_val(look.sockets.as_slice()) + size_of_val(look.minis.as_slice())
        }
        _ => 0,
    }
}

/// Where frames go.
enum Sink {
    Files(Rotating),
    Flight(Flight),
}

impl Sink {
    fn follow(&mut self, order: Order) -> Result<()> {
        match (self, order) {
            (Self::Files(files), Order::Frame(frame)) => files.frame(&frame),
            (Self::Files(files), Order::Next(next)) => files.next(*next),
            (Self::Files(files), Order::Finish(end)) => files.finish(&end),
            (Self::Flight(flight), Order::Frame(frame)) => flight.frame(&frame),
            (Self::Flight(flight), Order::Next(next)) => flight.next(*next),
            (Self::Flight(flight), Order::Dump) => flight.dump(),
            (Self::Flight(flight), Order::Finish(_)) => flight.finish(),
            (Self::Files(_), Order::Dump) => Ok(()),
        }
    }
}
