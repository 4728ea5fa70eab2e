//! A stretch of time, and what happened in it.

use super::{
    count::{Count, Counts},
    fullness::DESTINATIONS,
    heat::{self, Heat},
};
use crate::stats::snapshot::SearchOp;

/// A stretch of time, and what happened in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// When it began, on the clock of records.
    pub from_ns: u64,
    /// When it ended.
    pub to_ns: u64,
    pub(super) ticks: u64,
    pub(super) grown: Counts,
    /// Mini-sockets alive, at the tick at which there were most of them.
    pub time_wait_now: Option<u64>,
    /// Ports taken by ports available, the most at any tick, by place in
    /// [`super::Timeline::destinations`].
    pub used_ratio: [Option<f64>; DESTINATIONS],
    pub(super) searches: [Heat; 2],
}

impl Bucket {
    /// By how much `count` grew; `None` where it is not known throughout.
    pub fn grown(&self, count: Count) -> Option<u64> {
        self.grown.get(count)
    }

    /// The same, per second.
    pub fn per_s(&self, count: Count) -> Option<f64> {
        let seconds = self.seconds();
        self.grown(count).filter(|_| seconds > 0.0).map(|grown| grown as f64 / seconds)
    }

    /// Its length.
    pub fn seconds(&self) -> f64 {
        self.to_ns.saturating_sub(self.from_ns) as f64 / 1e9
    }

    /// How long searches took.
    pub fn searches(&self, op: SearchOp) -> &Heat {
        &self.searches[heat::index(op)]
    }

    /// Neighbours as one; `None` of none.
    pub fn merged(neighbours: &[Self]) -> Option<Self> {
        let (first, others) = neighbours.split_first()?;
        let mut merged = first.clone();
        others.iter().for_each(|next| merged.merge(next));
        Some(merged)
    }

    /// Takes in the one that follows.
    pub(super) fn merge(&mut self, next: &Self) {
        self.to_ns = self.to_ns.max(next.to_ns);
        self.ticks += next.ticks;
        self.grown = self.grown.plus(&next.grown);
        // `None` is less than any number.
        self.time_wait_now = self.time_wait_now.max(next.time_wait_now);
        for (ours, theirs) in self.used_ratio.iter_mut().zip(next.used_ratio) {
            *ours = match (*ours, theirs) {
                (Some(ours), Some(theirs)) => Some(ours.max(theirs)),
                (known, other) => known.or(other),
            };
        }
        self.searches.iter_mut().zip(&next.searches).for_each(|(ours, theirs)| ours.add(theirs));
    }
}
