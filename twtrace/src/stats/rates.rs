//! Rates over the last interval.

use super::{snapshot, totals::TotalCounts};

/// Remembers the end of the last interval.
#[derive(Debug)]
pub(super) struct Rates {
    time_ns: u64,
    opens: u64,
    active_closes: u64,
}

impl Rates {
    pub(super) fn new(started_ns: u64) -> Self {
        Self { time_ns: started_ns, opens: 0, active_closes: 0 }
    }

    /// Rates since the last call; all unknown without totals, and in an
    /// interval of no length.
    pub(super) fn over_interval(
        &mut self,
        time_ns: u64,
        totals: Option<&TotalCounts>,
        active_closes: u64,
    ) -> snapshot::Rates {
        let elapsed_s = time_ns.saturating_sub(self.time_ns) as f64 / 1e9;
        let Some(totals) = totals else {
            return snapshot::Rates::default();
        };
        let opens = totals.opens();
        let per_s = |now: u64, before: u64| {
            (elapsed_s > 0.0).then(|| now.saturating_sub(before) as f64 / elapsed_s)
        };
        let rates = snapshot::Rates {
            opens_per_s: per_s(opens, self.opens),
            active_closes_per_s: per_s(active_closes, self.active_closes),
            births_per_s: None,
            ends_per_s: None,
        };
        *self = Self { time_ns, opens, active_closes };
        rates
    }
}
