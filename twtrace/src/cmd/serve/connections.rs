//! The connections at one time: bounded, and none of them holds its place against others.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use foldhash::fast::FixedState;
use tokio::task::{AbortHandle, Id, JoinSet};

/// At one time. Each has a buffer of [`super::server::BUFFER`] at most.
pub(super) const LIMIT: usize = 256;
/// Nobody is crowded out who said something so shortly ago.
const QUIET: Duration = Duration::from_secs(1);

/// What is known of a connection, here and by whoever serves it.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    epoch: Instant,
    of: Arc<Stay>,
}

#[derive(Debug, Default)]
struct Stay {
    /// When it said something last.
    heard_ms: AtomicU64,
    /// Whether its next answer is the last.
    leaves: AtomicBool,
}

impl Guest {
    pub(super) fn new(epoch: Instant) -> Self {
        let guest = Self { epoch, of: Arc::default() };
        guest.speaks();
        guest
    }

    /// It says something.
    pub(super) fn speaks(&self) {
        let now_ms = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.of.heard_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whether its next answer is the last.
    pub(super) fn leaves(&self) -> bool {
        self.of.leaves.load(Ordering::Relaxed)
    }

    fn quiet(&self) -> Duration {
        let heard = Duration::from_millis(self.of.heard_ms.load(Ordering::Relaxed));
        self.epoch.elapsed().saturating_sub(heard)
    }
}

/// One that is open.
#[derive(Debug)]
struct Open {
    task: AbortHandle,
    guest: Guest,
    since: Instant,
}

/// What was done for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// One was ended: there is room.
    Made,
    /// One was asked to end: there will be.
    Asked,
    /// All of them have been asked.
    Awaited,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Connections {
    epoch: Instant,
    tasks: JoinSet<()>,
    open: HashMap<Id, Open, FixedState>,
}

impl Connections {
    pub(super) fn new() -> Self {
        Self { epoch: Instant::now(), tasks: JoinSet::new(), open: HashMap::default() }
    }

    /// Whether one more has room.
    pub(super) fn has_room(&self) -> bool {
        self.open.len() < LIMIT
    }

    /// Serves one more.
    pub(super) fn add<F>(&mut self, serve: impl FnOnce(Guest) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let guest = Guest::new(self.epoch);
        let task = self.tasks.spawn(serve(guest.clone()));
        self.open.insert(task.id(), Open { task, guest, since: Instant::now() });
    }

    /// Forgets one that has ended, once one has.
    pub(super) async fn ended(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => drop(self.open.remove(&id)),
            Some(Err(ended)) => drop(self.open.remove(&ended.id())),
            None => std::future::pending().await,
        }
    }

    /// Ends the one that has been quiet longest, if it has been for a while. If none has, all are
    /// busy, and might be for ever: then the oldest is asked to end with its next answer, so that
    /// nobody is cut off who is being answered.
    pub(super) fn crowd_out(&mut self) -> Room {
        let quietest = self.open.iter().max_by_key(|(_, open)| open.guest.quiet());
        if let Some((&id, open)) = quietest
            && open.guest.quiet() >= QUIET
        {
            open.task.abort();
            self.open.remove(&id);
            return Room::Made;
        }
        let stay = self.open.values().filter(|open| !open.guest.leaves());
        let Some(oldest) = stay.min_by_key(|open| open.since) else { return Room::Awaited };
        oldest.guest.of.leaves.store(true, Ordering::Relaxed);
        Room::Asked
    }
}
