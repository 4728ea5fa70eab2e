//! The last moment, written once for everybody who asks.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use axum::body::Bytes;
use tokio::sync::watch;

use crate::{
    stats::snapshot::Snapshot,
    view::{
        json,
        prometheus::{Family, Format},
    },
};

/// What is true at one moment. It never changes; what is written of it is kept.
#[derive(Debug)]
pub(super) struct Moment {
    snapshot: Snapshot,
    families: Vec<Family>,
    told: Instant,
    json: OnceLock<Bytes>,
    text: OnceLock<Bytes>,
    openmetrics: OnceLock<Bytes>,
    protobuf: OnceLock<Bytes>,
}

impl Moment {
    pub(super) fn new(snapshot: Snapshot, families: Vec<Family>) -> Self {
        Self {
            snapshot,
            families,
            told: Instant::now(),
            json: OnceLock::new(),
            text: OnceLock::new(),
            openmetrics: OnceLock::new(),
            protobuf: OnceLock::new(),
        }
    }

    /// How long ago it was told.
    pub(super) fn age(&self) -> Duration {
        self.told.elapsed()
    }

    /// The metrics; written by whoever asks first.
    pub(super) fn metrics(&self, format: Format, costs: &Costs) -> Bytes {
        let kept = match format {
            Format::Text => &self.text,
            Format::OpenMetrics => &self.openmetrics,
            Format::Protobuf => &self.protobuf,
        };
        let write = || {
            let began = Instant::now();
            let written = Bytes::from(format.write(&self.families));
            costs.rendered(began.elapsed());
            written
        };
        kept.get_or_init(write).clone()
    }

    /// What `top --json` would print.
    pub(super) fn json(&self) -> Result<Bytes> {
        if let Some(json) = self.json.get() {
            return Ok(json.clone());
        }
        let line = Bytes::from(json::line(&self.snapshot)?);
        Ok(self.json.get_or_init(|| line).clone())
    }
}

/// What answering costs, so far.
#[derive(Debug, Default)]
pub(super) struct Costs {
    scrapes: AtomicU64,
    rendering_ns: AtomicU64,
    crowded_out: AtomicU64,
}

impl Costs {
    /// `/metrics` was answered.
    pub(super) fn scraped(&self) {
        self.scrapes.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection had to make room.
    pub(super) fn crowded_out(&self) {
        self.crowded_out.fetch_add(1, Ordering::Relaxed);
    }

    fn rendered(&self, took: Duration) {
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.rendering_ns.fetch_add(took_ns, Ordering::Relaxed);
    }

    /// Scrapes, the time that writing took, and connections that had to make room.
    pub(super) fn read(&self) -> (u64, Duration, u64) {
        let rendering = Duration::from_nanos(self.rendering_ns.load(Ordering::Relaxed));
        let (scrapes, crowded_out) = (&self.scrapes, &self.crowded_out);
        (scrapes.load(Ordering::Relaxed), rendering, crowded_out.load(Ordering::Relaxed))
    }
}

/// Tells moments to the thread that answers.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    last: watch::Sender<Option<Arc<Moment>>>,
    costs: Arc<Costs>,
}

/// What that thread knows.
#[derive(Clone, Debug)]
pub(super) struct Receiver {
    last: watch::Receiver<Option<Arc<Moment>>>,
    pub(super) costs: Arc<Costs>,
}

/// From one thread to the other.
pub(super) fn channel() -> (Sender, Receiver) {
    let (sender, receiver) = watch::channel(None);
    let costs = Arc::new(Costs::default());
    (Sender { last: sender, costs: Arc::clone(&costs) }, Receiver { last: receiver, costs })
}

impl Sender {
    /// The last moment is this one from now on.
    pub(super) fn tell(&self, moment: Arc<Moment>) {
        self.last.send_replace(Some(moment));
    }

    /// What answering costs.
    pub(super) fn costs(&self) -> &Costs {
        &self.costs
    }
}

impl Receiver {
    /// The last moment; `None` before the first.
    pub(super) fn last(&self) -> Option<Arc<Moment>> {
        self.last.borrow().clone()
    }
}
