//! When ticks come.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::host;

/// Time between ticks, which others may change while a source works.
#[derive(Clone, Debug)]
pub struct Interval(Arc<AtomicU64>);

impl Interval {
    /// So much, for now.
    pub fn new(interval: Duration) -> Self {
        Self(Arc::new(AtomicU64::new(nanoseconds(interval))))
    }

    /// So much, from now on.
    pub fn set(&self, interval: Duration) {
        self.0.store(nanoseconds(interval), Ordering::Relaxed);
    }

    /// How much it is.
    pub fn get(&self) -> Duration {
        Duration::from_nanos(self.ns())
    }

    fn ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn nanoseconds(interval: Duration) -> u64 {
    u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// Nobody who made an interval shorter waits longer than this for it to count.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);

/// Ticks at a pace that only others change, whatever the work between them costs.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Interval,
    /// When the last tick was due.
    last_ns: u64,
}

impl Pace {
    pub(super) fn new(interval: Interval) -> Self {
        Self { interval, last_ns: host::monotonic_ns() }
    }

    /// Whether a tick is due at `now_ns`. Ticks that were missed are not made up for.
    pub(super) fn is_due(&mut self, now_ns: u64) -> bool {
        let interval_ns = self.interval.ns();
        let passed = now_ns.saturating_sub(self.last_ns) / interval_ns;
        self.last_ns += passed * interval_ns;
        passed > 0
    }

    /// How long to sleep at most until the next.
    pub(super) fn until_next(&self, now_ns: u64) -> Duration {
        let next_ns = self.last_ns.saturating_add(self.interval.ns());
        Duration::from_nanos(next_ns.saturating_sub(now_ns)).min(LONGEST_SLEEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(interval_ns: u64, last_ns: u64) -> Pace {
        Pace { interval: Interval::new(Duration::from_nanos(interval_ns)), last_ns }
    }

    #[test]
    fn a_late_tick_does_not_bring_more() {
        let mut pace = pace(10, 90);
        assert!(!pace.is_due(99));
        assert!(pace.is_due(135));
        assert_eq!(pace.last_ns, 130);
        assert!(!pace.is_due(139));
        assert!(pace.is_due(140));
        assert_eq!(pace.until_next(145), Duration::from_nanos(5));
    }

    #[test]
    fn an_interval_that_is_changed_counts_at_once() {
        let mut pace = pace(1_000, 0);
        assert!(!pace.is_due(150));
        pace.interval.set(Duration::from_nanos(100));
        assert!(pace.is_due(150));
        assert_eq!(pace.until_next(150), Duration::from_nanos(50));
        pace.interval.set(Duration::from_secs(60));
        assert!(!pace.is_due(10_000));
        assert_eq!(pace.until_next(10_000), LONGEST_SLEEP);
    }
}
