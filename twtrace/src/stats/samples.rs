//! CPU samples that met a port search, as a share of a core.

use std::num::NonZeroU32;

use super::snapshot::Samples;

/// Samples of all searches of one op.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hits {
    since_start: u64,
    /// Within the interval under way.
    pub(super) in_interval: u64,
}

impl Hits {
    pub(super) fn add(&mut self) {
        self.since_start += 1;
        self.in_interval += 1;
    }
}

/// What turns hits into a share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampling {
    hz: NonZeroU32,
    interval_ns: u64,
}

impl Sampling {
    /// Samples taken `hz` times a second over the last `interval_ns`.
    pub(super) fn new(hz: NonZeroU32, interval_ns: u64) -> Self {
        Self { hz, interval_ns }
    }

    /// Each hit stands for the time between two samples. In percent of a core; `None`
    /// of no time at all.
    pub(super) fn core_pct(self, hits: u64) -> Option<f64> {
        let seconds = self.interval_ns as f64 / 1e9;
        let busy = hits as f64 / f64::from(self.hz.get());
        (self.interval_ns > 0).then(|| busy / seconds * 100.0)
    }

    pub(super) fn shown(self, bind: Hits, connect: Hits) -> Samples {
        Samples {
            hz: u64::from(self.hz.get()),
            bind: bind.since_start,
            connect: connect.since_start,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_stands_for_the_time_between_two_samples() {
        let hz = NonZeroU32::new(100).expect("not 0");
        let half_a_second = Sampling::new(hz, 500_000_000);
        assert_eq!(half_a_second.core_pct(25), Some(50.0));
        assert_eq!(half_a_second.core_pct(0), Some(0.0));
        assert_eq!(Sampling::new(hz, 0).core_pct(1), None);
    }
}
