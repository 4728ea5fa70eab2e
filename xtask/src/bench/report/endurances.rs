//! A minute at full speed.

use serde_json::{Map, Value, json};

use super::super::endurance::Endurance;
use super::super::number::{grouped, megabytes, shown};
use super::super::table::Render;

const HEADER: [&str; 2] = ["a minute at full speed, recorded", "figure"];

/// A table.
pub(super) fn text(run: &Endurance, render: Render) -> String {
    let unknown = || "?".to_owned();
    let row = |what: &str, figure: String| vec![what.to_owned(), figure];
    let mut rows = vec![
        row("connections", grouped(run.done.connections)),
        row("seconds", shown(Some(run.done.seconds), 1)),
        row("connections/s", grouped(run.done.rate().round() as u64)),
        row("transitions", grouped(run.told.transitions)),
        row("events recorded", grouped(run.recorded.events)),
        row("ring_full", grouped(run.recorded.ring_full)),
        row("missed", run.recorded.missed.map_or_else(unknown, grouped)),
        row("missed in 100,000 transitions", shown(run.missed_in_100_000(), 3)),
        row("unmatched", grouped(run.told.unmatched)),
        row("evicted", grouped(run.told.evicted)),
        row("bytes/event", shown(Some(run.bytes_per_event()), 2)),
        row("TIME_WAITs at its end", grouped(run.time_wait)),
        row("RSS MB then", shown(Some(megabytes(run.rss as f64)), 1)),
    ];
    let difference = |(name, value): &(String, Option<i64>)| {
        row(name, value.map_or_else(unknown, |value| value.to_string()))
    };
    rows.extend(run.told.differences.iter().map(difference));
    render(&HEADER, &rows)
}

/// Unrounded.
pub(super) fn json(run: &Endurance) -> Value {
    let differences: Map<String, Value> =
        run.told.differences.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "connections": run.done.connections,
        "seconds": run.done.seconds,
        "transitions": run.told.transitions,
        "events": run.recorded.events,
        "bytes": run.recorded.bytes,
        "ring_full": run.recorded.ring_full,
        "missed": run.recorded.missed,
        "unmatched": run.told.unmatched,
        "evicted": run.told.evicted,
        "time_wait": run.time_wait,
        "rss_bytes": run.rss,
        "reconcile": differences,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::endurance::tests::endurance;
    use super::super::super::table;
    use super::*;

    #[test]
    fn every_loss_is_told() {
        let text = text(&endurance(), table::markdown);
        for row in
            ["| ring_full | 0 |", "| missed | 2 |", "| births_minus_TW | 0 |", "| other | ? |"]
        {
            assert!(text.contains(row), "{row} is not in {text}");
        }
        assert_eq!(json(&endurance())["reconcile"]["other"], Value::Null);
    }
}
