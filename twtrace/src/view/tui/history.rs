//! How it came to the moment that is shown: a few numbers of each moment before.

use std::collections::VecDeque;

use crate::stats::snapshot::{Destination, Snapshot};

/// Moments that are remembered: as many columns as a wide screen has.
const LENGTH: usize = 400;

/// A few numbers of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Point {
    now: Option<u64>,
    births_per_s: Option<f64>,
    ends_per_s: Option<f64>,
    /// Of the one destination that is looked at.
    used_ratio: Option<f64>,
}

/// The moments so far, the last one last.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    points: VecDeque<Point>,
}

/// A number that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Series {
    /// TIME_WAIT sockets that are there.
    Now,
    /// Births per second.
    Births,
    /// Ends per second.
    Ends,
    /// Of the destination that is looked at, the part of its ports that is taken.
    UsedRatio,
}

impl History {
    pub(super) fn push(&mut self, snapshot: &Snapshot, looked_at: Option<&Destination>) {
        if self.points.len() == LENGTH {
            self.points.pop_front();
        }
        self.points.push_back(Point {
            now: snapshot.time_wait.as_ref().and_then(|minis| minis.now),
            births_per_s: snapshot.rates.births_per_s,
            ends_per_s: snapshot.rates.ends_per_s,
            used_ratio: looked_at.and_then(|row| row.used_ratio),
        });
    }

    pub(super) fn forget(&mut self) {
        self.points.clear();
    }

    /// Another destination is looked at.
    pub(super) fn forget_ratio(&mut self) {
        self.points.iter_mut().for_each(|point| point.used_ratio = None);
    }

    /// The last `width` values, scaled to what a sparkline draws; `None` where it is unknown.
    pub(super) fn last(&self, series: Series, width: usize) -> Vec<Option<u64>> {
        // Of a rate below 1 something is to be seen, too.
        const STEPS: f64 = 1_000.0;
        let scaled = |value: f64| (value * STEPS).round().max(0.0) as u64;
        let value = |point: &Point| match series {
            Series::Now => point.now,
            Series::Births => point.births_per_s.map(scaled),
            Series::Ends => point.ends_per_s.map(scaled),
            Series::UsedRatio => point.used_ratio.map(scaled),
        };
        let skipped = self.points.len().saturating_sub(width);
        self.points.iter().skip(skipped).map(value).collect()
    }
}
