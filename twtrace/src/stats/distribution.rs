//! How often which value was seen.

use hdrhistogram::Histogram;

use super::snapshot::{Encoded, Summary};

/// Figures that hold for every bucket: a value is off by at most a thousandth.
const FINE: u8 = 3;
/// Where there is one distribution per row: off by at most a hundredth.
const COARSE: u8 = 2;

/// A distribution of whole numbers; minimum, mean and maximum are exact.
///
/// It takes the memory of the values it has seen: a few kilobytes.
#[derive(Clone, Debug)]
pub(super) struct Distribution {
    /// `None` if no such histogram can be made, which no constant here asks for.
    histogram: Option<Histogram<u64>>,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

impl Distribution {
    /// For a few distributions of a whole host.
    pub(super) fn fine() -> Self {
        Self::new(FINE)
    }

    /// For one of many rows.
    pub(super) fn coarse() -> Self {
        Self::new(COARSE)
    }

    fn new(figures: u8) -> Self {
        Self { histogram: Histogram::new(figures).ok(), count: 0, sum: 0, min: u64::MAX, max: 0 }
    }

    pub(super) fn record(&mut self, value: u64) {
        self.count += 1;
        self.sum += u128::from(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        if let Some(histogram) = &mut self.histogram {
            // It grows as needed; it cannot only where memory is out anyway.
            let _ = histogram.record(value);
        }
    }

    /// Takes in all values of another one.
    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if let (Some(ours), Some(theirs)) = (&mut self.histogram, &other.histogram) {
            // It fails only for values that do not fit, and it grows as needed.
            let _ = ours.add(theirs);
        }
    }

    /// Sum of all values.
    pub(super) fn sum(&self) -> u128 {
        self.sum
    }

    /// What to show, each value turned into the unit of the key by `shown`.
    pub(super) fn summary<T>(&self, shown: impl Fn(f64) -> T) -> Summary<T> {
        if self.count == 0 {
            return Summary::EMPTY;
        }
        let quantile = |q| {
            let histogram = self.histogram.as_ref()?;
            // A bucket reaches beyond the values in it.
            let value = histogram.value_at_quantile(q).clamp(self.min, self.max);
            Some(shown(value as f64))
        };
        Summary {
            count: self.count,
            min: Some(shown(self.min as f64)),
            mean: Some(shown(self.sum as f64 / self.count as f64)),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            max: Some(shown(self.max as f64)),
        }
    }

    /// For other tools.
    pub(super) fn encoded(&self) -> Option<Encoded> {
        self.histogram.clone().map(Encoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_nothing_is_unknown_and_not_zero() {
        assert_eq!(Distribution::fine().summary(|value| value), Summary::EMPTY);
    }

    #[test]
    fn extremes_and_mean_are_exact_and_quantiles_within_them() {
        let mut values = Distribution::coarse();
        // From small to large: it must grow.
        [1, 60_000_123, 60_000_123, 61_999_999].into_iter().for_each(|value| values.record(value));
        let summary = values.summary(|value| value);
        assert_eq!(summary.min, Some(1.0));
        assert_eq!(summary.max, Some(61_999_999.0));
        assert_eq!(summary.mean, Some(182_000_246.0 / 4.0));
        assert_eq!(summary.p99, Some(61_999_999.0));
        assert!(summary.p50 >= Some(60_000_123.0) && summary.p50 < Some(60_700_000.0));
    }
}
