//! Histograms: from the buckets that are kept to those that scrapers know.

use hdrhistogram::Histogram;

use crate::stats::snapshot::Encoded;

/// A distribution, in the family's unit.
///
/// What is kept has a thousand steps from one power of two to the next, or finer: a value is counted below a
/// bound if it is, or no more than a thousandth above it. Counts are exact otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    histogram: Histogram<u64>,
    /// What one step of `histogram` is in the family's unit.
    scale: f64,
    sum: f64,
    bounds: &'static [f64],
}

impl Distribution {
    /// Of values in units of `scale`, that sum up to `sum` in the family's unit.
    pub(super) fn new(kept: &Encoded, scale: f64, sum: f64, bounds: &'static [f64]) -> Self {
        Self { histogram: kept.0.clone(), scale, sum, bounds }
    }

    /// Values seen.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Σ of them.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Never less than `floor`.
    pub(super) fn raise_sum(&mut self, floor: f64) {
        self.sum = self.sum.max(floor);
    }

    /// Upper bounds, and how many values lie below each and above the one before; what lies
    /// above all of them is in [`Self::count`] alone.
    pub fn classic(&self) -> Vec<(f64, u64)> {
        let mut buckets: Vec<(f64, u64)> = self.bounds.iter().map(|bound| (*bound, 0)).collect();
        let mut at = 0;
        for step in self.histogram.iter_recorded() {
            let lowest = self.histogram.lowest_equivalent(step.value_iterated_to());
            let value = lowest as f64 * self.scale;
            while buckets.get(at).is_some_and(|(bound, _)| value > *bound) {
                at += 1;
            }
            let Some((_, count)) = buckets.get_mut(at) else { break };
            *count += step.count_at_value();
        }
        buckets
    }
}

/// So many native buckets from one power of two to the next, as a power of two: each ends 9 %
/// above the one before.
const SCHEMA: i32 = 3;
/// What is no more than this is 0: client_golang's default, 2^-128.
const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39;

/// A native histogram.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Native {
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    /// How many values were 0.
    pub(super) zeros: u64,
    /// Which buckets hold how many values, in order: those up to 2^(index / 2^schema).
    pub(super) buckets: Vec<(i32, u64)>,
}

impl Distribution {
    /// In native buckets.
    pub(super) fn native(&self) -> Native {
        let mut native = Native {
            schema: SCHEMA,
            zero_threshold: ZERO_THRESHOLD,
            zeros: 0,
            buckets: Vec::new(),
        };
        for step in self.histogram.iter_recorded() {
            let lowest = self.histogram.lowest_equivalent(step.value_iterated_to());
            let count = step.count_at_value();
            if lowest == 0 {
                native.zeros += count;
                continue;
            }
            let octaves = (lowest as f64 * self.scale).log2();
            let index = (octaves * f64::from(1 << SCHEMA)).ceil() as i32;
            match native.buckets.last_mut() {
                Some((last, sum)) if *last == index => *sum += count,
                _ => native.buckets.push((index, count)),
            }
        }
        native
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_below_their_bound() {
        let mut kept = Histogram::new(3).expect("three figures are allowed");
        for value in [0, 1_000, 1_001, 999_999, 60_000_000, 60_500_000, 900_000_000_u64] {
            kept.record(value).expect("it grows");
        }
        let of = Distribution::new(&Encoded(kept), 1e-6, 1_022.5, &[0.001, 1.0, 60.0, 120.0]);
        let counts: Vec<u64> = of.classic().iter().map(|(_, count)| *count).collect();
        // 900 s lie above all bounds; 60 s is in its own bucket's lowest thousandth.
        assert_eq!((counts, of.count()), (vec![2, 2, 1, 1], 7));
    }
}
