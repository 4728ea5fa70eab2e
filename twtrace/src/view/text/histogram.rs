//! Distributions as bars, of the HdrHistograms of the Snapshot.

use std::{collections::BTreeMap, fmt};

use hdrhistogram::Histogram;

use super::{
    format::{compact, line, seconds, span},
    mark,
};
use crate::stats::snapshot::Snapshot;

/// Columns of the longest bar.
const BAR: u64 = 36;

/// How long searches took, by powers of two.
pub(super) fn latencies(out: &mut String, s: &Snapshot) -> fmt::Result {
    let Some(hdr) = &s.hdr else {
        return Ok(());
    };
    for (op, latencies) in [("connect", &hdr.port_search_connect), ("bind", &hdr.port_search_bind)]
    {
        let buckets = latencies.as_ref().map(|it| powers_of_two(&it.0)).unwrap_or_default();
        bars(
            out,
            &format!("{op} took {}", mark(s, &format!("port_search.{op}.latency_ns"))),
            &buckets,
        )?;
    }
    Ok(())
}

/// How many values begin with which bit.
fn powers_of_two(histogram: &Histogram<u64>) -> BTreeMap<u32, u64> {
    let mut buckets = BTreeMap::new();
    for value in histogram.iter_recorded() {
        let first_bit = value.value_iterated_to().max(1).ilog2();
        *buckets.entry(first_bit).or_default() += value.count_since_last_iteration();
    }
    buckets
}

/// A bar for each bucket from the first to the last; nothing if there is none.
fn bars(out: &mut String, title: &str, buckets: &BTreeMap<u32, u64>) -> fmt::Result {
    let (Some((first, _)), Some((last, _))) = (buckets.first_key_value(), buckets.last_key_value())
    else {
        return Ok(());
    };
    let total: u64 = buckets.values().sum();
    let fullest = buckets.values().copied().max().unwrap_or_default();
    out.push('\n');
    line(out, &format!("{title:<21} {:>9} {:>6}", "COUNT", "%"))?;
    for bit in *first..=*last {
        let count = buckets.get(&bit).copied().unwrap_or_default();
        let edge = |bit: u32| span(seconds(1_u64.checked_shl(bit).unwrap_or(u64::MAX)));
        let percent = count as f64 * 100.0 / total as f64;
        let range = format!("{:>9} to {:>8}", edge(bit), edge(bit + 1));
        line(
            out,
            &format!("{range} {:>9} {percent:>5.1}% {}", compact(count, 9), bar(count, fullest)),
        )?;
    }
    Ok(())
}

/// As long as `count` is large beside `fullest`; a thin one, if that is less than a column.
fn bar(count: u64, fullest: u64) -> String {
    let columns = u128::from(count) * u128::from(BAR) / u128::from(fullest.max(1));
    match columns {
        0 if count > 0 => "▏".to_owned(),
        columns => "█".repeat(columns as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_none_is_lost() {
        assert_eq!(bar(0, 10), "");
        assert_eq!(bar(1, 1_000), "▏");
        assert_eq!(bar(10, 10).chars().count() as u64, BAR);
        assert_eq!(bar(u64::MAX, u64::MAX).chars().count() as u64, BAR);
        assert_eq!(bar(0, 0), "");
    }
}
