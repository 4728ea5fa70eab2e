//! How long mini-sockets lived, and by what they ended.

use twtrace_common::{ENDS, End};

use super::{
    distribution::Distribution,
    snapshot::{self, Summary},
};

/// Lifetimes in microseconds.
#[derive(Debug)]
pub(super) struct Lifetimes {
    all: Distribution,
    by_end: [Option<Box<Distribution>>; ENDS],
    /// Born FIN_WAIT2 and ended TIME_WAIT: their peer closed late.
    to_time_wait: u64,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { all: Distribution::fine(), by_end: std::array::from_fn(|_| None), to_time_wait: 0 }
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

    pub(super) fn became_time_wait(&mut self) {
        self.to_time_wait += 1;
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

    pub(super) fn encoded(&self) -> Option<String> {
        self.all.encoded()
    }
}

/// Microseconds, as they are recorded, in seconds, as they are shown.
pub(super) fn seconds(microseconds: f64) -> f64 {
    microseconds / 1e6
}
