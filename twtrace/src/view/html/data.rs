//! The numbers that the script shows where the pointer is.

use std::collections::BTreeMap;

use maud::{Markup, PreEscaped, html};
use serde::Serialize;

use super::{
    heat::Cells,
    marks::{changed, lost_words},
    series::{Chart, Series},
    time_axis::TimeAxis,
};
use crate::stats::timeline::Count;

/// See the module's documentation.
#[derive(Serialize)]
pub(super) struct Data<'a> {
    /// The axis, in milliseconds.
    from_ms: u64,
    to_ms: u64,
    /// Whether these are of the wall clock.
    wall: bool,
    /// Where buckets begin and end, in milliseconds since `from_ms`.
    buckets: Vec<(u64, u64)>,
    /// What else happened in a bucket.
    events: BTreeMap<usize, Vec<String>>,
    charts: BTreeMap<&'a str, &'a [Series]>,
    heat: BTreeMap<&'a str, &'a Cells>,
}

impl<'a> Data<'a> {
    pub(super) fn new(
        axis: &TimeAxis<'_>,
        charts: &'a [Chart],
        heat: impl IntoIterator<Item = (&'a str, &'a Cells)>,
    ) -> Self {
        let (from_ms, to_ms) = axis.bounds_ms();
        let ms = |time_ns: u64| time_ns.saturating_sub(axis.timeline().started_ns()) / 1_000_000;
        Self {
            from_ms,
            to_ms,
            wall: axis.has_wall(),
            buckets: axis.buckets().iter().map(|b| (ms(b.from_ns), ms(b.to_ns))).collect(),
            events: events(axis),
            charts: charts.iter().map(|chart| (chart.id, &*chart.series)).collect(),
            heat: heat.into_iter().collect(),
        }
    }

    /// As an element that no browser runs or shows.
    pub(super) fn element(&self) -> Markup {
        // Numbers and text always make JSON; without it the page lacks its hints alone.
        let json = serde_json::to_string(self).unwrap_or_default();
        html! { script #data type="application/json" { (PreEscaped(harmless(&json))) } }
    }
}

/// JSON in which nothing can end the element that it is in.
fn harmless(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn events(axis: &TimeAxis<'_>) -> BTreeMap<usize, Vec<String>> {
    let mut events: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (at, bucket) in axis.buckets().iter().enumerate() {
        let failed = bucket.grown(Count::NoPort).filter(|failed| *failed > 0);
        let failed = failed.map(|failed| format!("{failed} connects found no port"));
        let lost = lost_words(bucket).map(|words| format!("lost: {words}"));
        let inside = |time_ns: u64| bucket.from_ns < time_ns && time_ns <= bucket.to_ns;
        let settings = axis.timeline().sysctls().iter().filter(|change| inside(change.time_ns));
        let words: Vec<String> =
            failed.into_iter().chain(lost).chain(settings.map(changed)).collect();
        if !words.is_empty() {
            events.insert(at, words);
        }
    }
    events
}
