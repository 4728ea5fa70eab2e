//! How many searches took how long, in halves of powers of two.

use crate::stats::snapshot::SearchOp;

/// The steps of latency: from 1 ns to 550 s, two for each power of two. What takes longer is
/// in the last one.
pub const LATENCIES: usize = 80;

/// Where searches of `op` are kept.
pub(super) const fn index(op: SearchOp) -> usize {
    match op {
        SearchOp::Connect => 0,
        SearchOp::Bind => 1,
    }
}

/// The shortest latency of a step.
pub fn latency_from_ns(step: usize) -> u64 {
    let power = 1_u64 << (step / 2).min(62);
    if step.is_multiple_of(2) { power } else { power + power / 2 }
}

/// How many searches took how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heat([u64; LATENCIES]);

impl Heat {
    pub(super) const EMPTY: Self = Self([0; LATENCIES]);

    pub(super) fn record(&mut self, latency_ns: u64) {
        self.0[step(latency_ns)] += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(ours, theirs)| *ours += theirs);
    }

    /// The number of searches by step.
    pub fn by_step(&self) -> &[u64; LATENCIES] {
        &self.0
    }
}

fn step(latency_ns: u64) -> usize {
    let latency_ns = latency_ns.max(1);
    let power = latency_ns.ilog2();
    // The bit after the first; there is none below 1.
    let upper_half = power > 0 && latency_ns >> (power - 1) & 1 == 1;
    (2 * power as usize + usize::from(upper_half)).min(LATENCIES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_has_its_step() {
        for step_shown in 2..LATENCIES - 1 {
            let from_ns = latency_from_ns(step_shown);
            assert_eq!(step(from_ns), step_shown, "{from_ns} ns");
            assert_eq!(step(latency_from_ns(step_shown + 1) - 1), step_shown);
        }
        assert_eq!([0, 1].map(step), [0, 0]);
        assert_eq!(step(u64::MAX), LATENCIES - 1);
    }
}
