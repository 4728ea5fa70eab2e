//! Rates over the last interval.

use super::snapshot;

/// Remembers the end of the last interval.
#[derive(Debug)]
pub(super) struct Rates {
    time_ns: u64,
    counts: RateCounts,
}

/// What rates are taken of, since attach; `None` where it is unknown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RateCounts {
    pub(super) opens: Option<u64>,
    pub(super) active_closes: Option<u64>,
    pub(super) births: Option<u64>,
    pub(super) ends: Option<u64>,
}

impl Rates {
    pub(super) fn new(started_ns: u64) -> Self {
        let zero = Some(0);
        let counts = RateCounts { opens: zero, active_closes: zero, births: zero, ends: zero };
        Self { time_ns: started_ns, counts }
    }

    /// Rates since the last call; unknown where a count is, and in an interval
    /// of no length.
    pub(super) fn over_interval(&mut self, time_ns: u64, counts: RateCounts) -> snapshot::Rates {
        let elapsed_s = time_ns.saturating_sub(self.time_ns) as f64 / 1e9;
        let before = std::mem::replace(self, Self { time_ns, counts }).counts;
        let per_s = |now: Option<u64>, before: Option<u64>| {
            let grown = now?.saturating_sub(before?);
            (elapsed_s > 0.0).then(|| grown as f64 / elapsed_s)
        };
        snapshot::Rates {
            opens_per_s: per_s(counts.opens, before.opens),
            active_closes_per_s: per_s(counts.active_closes, before.active_closes),
            births_per_s: per_s(counts.births, before.births),
            ends_per_s: per_s(counts.ends, before.ends),
        }
    }
}
