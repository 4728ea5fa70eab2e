//! The connections at one time: bounded, and none of them holds its place against others.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use foldhash::fast::FixedState;
use tokio::task::{AbortHandle, Id, JoinSet};

/// At one time. Each has a buffer of [`super::server::BUFFER`] at most.
pub(super) const LIMIT: usize = 256;
/// Nobody is crowded out who said something so shortly ago.
const QUIET: Duration = Duration::from_secs(1);

/// When a connection said something last.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    since: Instant,
    at_ms: Arc<AtomicU64>,
}

impl Heard {
    fn new(since: Instant) -> Self {
        let heard = Self { since, at_ms: Arc::default() };
        heard.now();
        heard
    }

    /// It says something.
    pub(super) fn now(&self) {
        let now_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.at_ms.store(now_ms, Ordering::Relaxed);
    }

    fn at(&self) -> Duration {
        Duration::from_millis(self.at_ms.load(Ordering::Relaxed))
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Connections {
    since: Instant,
    tasks: JoinSet<()>,
    open: HashMap<Id, (AbortHandle, Heard), FixedState>,
}

impl Connections {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), tasks: JoinSet::new(), open: HashMap::default() }
    }

    /// Whether one more has room.
    pub(super) fn has_room(&self) -> bool {
        self.open.len() < LIMIT
    }

    /// Serves one more.
    pub(super) fn add<F>(&mut self, serve: impl FnOnce(Heard) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let heard = Heard::new(self.since);
        let task = self.tasks.spawn(serve(heard.clone()));
        self.open.insert(task.id(), (task, heard));
    }

    /// Forgets one that has ended, once one has.
    pub(super) async fn ended(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => drop(self.open.remove(&id)),
            Some(Err(ended)) => drop(self.open.remove(&ended.id())),
            None => std::future::pending().await,
        }
    }

    /// Ends the one that has been quiet longest, if it has been for a while; says whether
    /// there was one.
    pub(super) fn crowd_out(&mut self) -> bool {
        let quietest = self.open.values().min_by_key(|(_, heard)| heard.at());
        let Some((task, heard)) = quietest else { return false };
        if self.since.elapsed().saturating_sub(heard.at()) < QUIET {
            return false;
        }
        task.abort();
        let id = task.id();
        self.open.remove(&id);
        true
    }
}
