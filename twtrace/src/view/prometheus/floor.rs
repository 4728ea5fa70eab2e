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
    last: HashMap<Series, Value, FixedState>,
}

/// The name of a family, and the labels of one of its numbers.
type Series = (&'static str, Vec<(&'static str, Cow<'static, str>)>);

impl Floor {
    /// Raises what would go down, and remembers the rest.
    pub fn hold(&mut self, families: &mut [Family]) {
        for family in families {
            if !matches!(family.kind, Kind::Counter | Kind::Histogram) {
                continue;
            }
            for sample in &mut family.samples {
                let series = (family.name, sample.labels.clone());
                let last = self.last.entry(series).or_insert_with(|| sample.value.clone());
                raise(&mut sample.value, last);
                last.clone_from(&sample.value);
            }
        }
    }
}

fn raise(value: &mut Value, last: &Value) {
    match (value, last) {
        (Value::Whole(now), Value::Whole(last)) => *now = (*now).max(*last),
        (Value::Real(now), Value::Real(last)) => *now = now.max(*last),
        // What was seen stays seen; sums are rounded.
        (Value::Distribution(now), Value::Distribution(last)) => now.raise_sum(last.sum()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
