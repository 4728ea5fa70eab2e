//! Counters never go down.

use std::{borrow::Cow, collections::HashMap};

use foldhash::fast::FixedState;

use super::{Family, Kind, Value};

/// What counters said last.
///
/// A Snapshot takes back what turned out otherwise: a close is active until it turns out to be
/// simultaneous. Prometheus would take that for a restart, and count everything again. So a
/// counter stays where it was until the Snapshot has come up to it.
#[derive(Debug, Default)]
pub struct Floor {
    /// By the whole name of a family: without its unit two may have one name.
    last: HashMap<String, Numbers, FixedState>,
}

/// The numbers of one family, by their labels.
type Numbers = HashMap<Vec<(&'static str, Cow<'static, str>)>, Number, FixedState>;

/// What of a value might go down.
#[derive(Clone, Copy, Debug)]
enum Number {
    Whole(u64),
    /// Of a distribution its sum: that is rounded. What was seen stays seen.
    Real(f64),
}

impl Floor {
    /// Raises what would go down, and remembers the rest.
    pub fn hold(&mut self, families: &mut [Family]) {
        for family in families {
            if !matches!(family.kind, Kind::Counter | Kind::Histogram) {
                continue;
            }
            let last = self.last.entry(family.full_name()).or_default();
            for sample in &mut family.samples {
                match last.get_mut(&sample.labels) {
                    Some(number) => {
                        raise(&mut sample.value, *number);
                        *number = Number::of(&sample.value);
                    }
                    None => {
                        last.insert(sample.labels.clone(), Number::of(&sample.value));
                    }
                }
            }
        }
    }
}

impl Number {
    fn of(value: &Value) -> Self {
        match value {
            Value::Whole(number) => Self::Whole(*number),
            Value::Real(number) => Self::Real(*number),
            Value::Distribution(distribution) => Self::Real(distribution.sum()),
        }
    }
}

fn raise(value: &mut Value, last: Number) {
    match (value, last) {
        (Value::Whole(now), Number::Whole(last)) => *now = (*now).max(last),
        (Value::Real(now), Number::Real(last)) => *now = now.max(last),
        (Value::Distribution(now), Number::Real(last)) => now.raise_sum(last),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        stats::snapshot::Encoded,
        view::prometheus::{Sample, Unit, buckets::Distribution},
    };

    #[test]
    fn a_counter_waits_and_a_gauge_does_not() {
        let of = |active: u64| {
            [
                Family::counter("closes", "").with([("kind", "active")], Some(active)),
                Family::gauge("sockets", "").of(Some(active)),
            ]
        };
        let mut floor = Floor::default();
        let seen = [7, 6, 7, 8, 0].map(|active| {
            let mut families = of(active);
            floor.hold(&mut families);
            families.map(|family| family.samples[0].value.clone())
        });
        let whole = |a, b| [Value::Whole(a), Value::Whole(b)];
        assert_eq!(seen, [whole(7, 7), whole(7, 6), whole(7, 7), whole(8, 8), whole(8, 0)]);
    }
    #[test]
    fn families_of_one_name_and_two_units_are_two() {
        let of = |used: u64, seconds: u64| {
            [
                Family::counter("search", "").of(Some(used)),
                Family::counter("search", "").unit(Unit::Seconds).of(Some(seconds)),
            ]
        };
        let mut floor = Floor::default();
        floor.hold(&mut of(7, 3));
        let mut families = of(8, 2);
        floor.hold(&mut families);
        let seen = families.map(|family| family.samples[0].value.clone());
        assert_eq!(seen, [Value::Whole(8), Value::Whole(3)]);
    }

    #[test]
    fn the_sum_of_a_histogram_waits_too() {
        let of = |sum: f64| {
            let mut kept = hdrhistogram::Histogram::new(3).expect("three figures are allowed");
            kept.record(1).expect("it has room");
            let of = Distribution::new(&Encoded(kept), 1.0, sum, &[1.0, 2.0]);
            let mut family = Family::new("lifetime", Kind::Histogram, "");
            family.samples.push(Sample { labels: Vec::new(), value: Value::Distribution(of) });
            [family]
        };
        let mut floor = Floor::default();
        let seen = [1.5, 1.25, 2.0].map(|sum| {
            let mut families = of(sum);
            floor.hold(&mut families);
            match &families[0].samples[0].value {
                Value::Distribution(of) => of.sum(),
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(seen, [1.5, 1.5, 2.0]);
    }
}
