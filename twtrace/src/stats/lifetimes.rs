//! How long mini-sockets lived, and by what they ended.

use std::num::NonZeroU64;

use twtrace_common::{ENDS, End, TcpState};

use super::{
    distribution::Distribution,
    snapshot::{self, Encoded, Summary},
};
use crate::tracker::Mini;

/// Lifetimes in microseconds.
#[derive(Debug)]
pub(super) struct Lifetimes {
    all: Distribution,
    by_end: [Option<Box<Distribution>>; ENDS],
    /// The part of them in TIME_WAIT, and the part in FIN_WAIT2 of those born there.
    in_time_wait: Distribution,
    in_fin_wait2: Distribution,
    /// Born FIN_WAIT2 and ended TIME_WAIT: their peer closed late.
    to_time_wait: u64,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            all: Distribution::fine(),
            by_end: std::array::from_fn(|_| None),
            in_time_wait: Distribution::fine(),
            in_fin_wait2: Distribution::fine(),
            to_time_wait: 0,
        }
    }
}

impl Lifetimes {
    pub(super) fn record(&mut self, lifetime_ns: u64, end: End) {
        let lifetime_us = lifetime_ns / 1_000;
        self.all.record(lifetime_us);
        // `reused` counts those with a bound port too.
        let also = (end == End::ReusedBound).then_some(End::Reused);
        for end in std::iter::once(end).chain(also) {
            let distribution = &mut self.by_end[end as usize];
            distribution.get_or_insert_with(|| Box::new(Distribution::fine())).record(lifetime_us);
        }
    }

    /// The two parts of the life of `mini`, which ended at `end_ns` in `substate`.
    pub(super) fn record_parts(&mut self, mini: &Mini, end_ns: u64, substate: TcpState) {
        let born_in_fin_wait2 = mini.substate == TcpState::FinWait2;
        let stayed = born_in_fin_wait2 && substate == TcpState::FinWait2;
        self.to_time_wait += u64::from(born_in_fin_wait2 && !stayed);
        let step_ns = mini.time_wait_ns.map(NonZeroU64::get).or(stayed.then_some(end_ns));
        let part_us = |from_ns: u64, to_ns: u64| to_ns.saturating_sub(from_ns) / 1_000;
        if let Some(step_ns) = step_ns.filter(|_| born_in_fin_wait2) {
            self.in_fin_wait2.record(part_us(mini.born_ns, step_ns));
        }
        if let Some(since_ns) = mini.time_wait_ns.map(NonZeroU64::get) {
            self.in_time_wait.record(part_us(since_ns, end_ns));
        }
    }

    /// Time in TIME_WAIT.
    pub(super) fn time_wait(&self) -> Summary<f64> {
        self.in_time_wait.summary(seconds)
    }

    /// Time in FIN_WAIT2 of those born there.
    pub(super) fn fin_wait2(&self) -> Summary<f64> {
        self.in_fin_wait2.summary(seconds)
    }

    /// How many of those born FIN_WAIT2 were seen to have become TIME_WAIT;
    /// `None` as long as none was, since the step itself is silent.
    pub(super) fn seen_to_time_wait(&self) -> Option<u64> {
        (self.to_time_wait > 0).then_some(self.to_time_wait)
    }

    pub(super) fn summary(&self) -> Summary<f64> {
        self.all.summary(seconds)
    }

    /// By what ended them, where anything did.
    pub(super) fn by_end(&self) -> snapshot::LifetimesByEnd {
        let known = |end: &End| {
            let distribution = self.by_end[*end as usize].as_ref()?;
            Some((end.name(), distribution.summary(seconds)))
        };
        End::ALL.iter().filter_map(known).collect()
    }

    pub(super) fn encoded(&self) -> Option<Encoded> {
        self.all.encoded()
    }
}

/// Microseconds, as they are recorded, in seconds, as they are shown.
pub(super) fn seconds(microseconds: f64) -> f64 {
    microseconds / 1e6
}
