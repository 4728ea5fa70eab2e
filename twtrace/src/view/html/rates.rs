//! Births and ends of mini-sockets a second, over time.

use maud::html;

use super::{
    format::{mark, rate, unavailable},
    marks::Marks,
    palette::COMPARED,
    plot::{self, Bottom, Key, Plot},
    scale::Linear,
    series::{Chart, Series},
    svg,
    time_axis::TimeAxis,
};
use crate::stats::{
    snapshot::Snapshot,
    timeline::{Bucket, Count},
};

const ID: &str = "rates";
/// The keys that say how exact each line is.
const RATES: [&str; 3] = ["rates.births_per_s", "rates.ends_per_s", "rates.active_closes_per_s"];

pub(super) fn chart(axis: &TimeAxis<'_>, marks: &Marks, s: &Snapshot) -> Chart {
    let buckets = axis.buckets();
    let per_s = |count| buckets.iter().map(move |bucket: &Bucket| bucket.per_s(count));
    let series = vec![
        Series::new("born", COMPARED[1], "/s", per_s(Count::Born)),
        Series::new("ended", COMPARED[0], "/s", buckets.iter().map(ends_per_s)),
        Series::new("active closes", COMPARED[2], "/s", per_s(Count::ActiveCloses)),
    ];
    let y = Linear::up_to(Series::highest(&series));
    let known = series.iter().any(Series::is_known);
    let drawing = html! {
        // The first one is on top.
        @for line in series.iter().rev() {
            path.line d=(stepped(axis, &y, &line.values)) style=(format!("stroke:{}", line.color)) {}
        }
    };
    let known_ones = series.iter().zip(RATES).filter(|(series, _)| series.is_known());
    let legend: Vec<Key> = known_ones.map(|(line, key)| entry(axis, s, line, key)).collect();
    let plot = Plot {
        id: ID,
        title: "Births and ends",
        about: "mini-sockets a second, and the closes that this host began",
        summary: summary(&legend),
        legend: plot::legend(&legend),
        height: 170,
        y: y.ticks(),
        drawing,
        labels: html! {},
        missing: (!known).then(|| unavailable("nothing sees births; see `twtrace check`")),
    };
    Chart { id: ID, figure: plot.figure(&Bottom::Time(axis, marks)), series }
}

/// A line's name, and its mean.
fn entry(axis: &TimeAxis<'_>, s: &Snapshot, line: &Series, key: &str) -> Key {
    let mean = mean_per_s(axis.buckets(), &line.values);
    let value = mean.map(|mean| format!("⌀ {}{}/s", mark(s, key), rate(mean)));
    Key { color: line.color, name: line.name.clone(), value }
}

fn summary(legend: &[Key]) -> String {
    let mean = |key: &Key| key.value.as_deref().unwrap_or_default().replace('⌀', "on average");
    let words: Vec<String> =
        legend.iter().map(|key| format!("{} {}", key.name, mean(key))).collect();
    format!("Births and ends of mini-sockets a second: {}.", words.join(", "))
}

/// All ends together, of the causes that are told.
fn ends_per_s(bucket: &Bucket) -> Option<f64> {
    let known: Vec<f64> = Count::ENDS.into_iter().filter_map(|end| bucket.per_s(end)).collect();
    (!known.is_empty()).then(|| known.iter().sum())
}

/// A line that is level as long as a bucket is.
fn stepped(axis: &TimeAxis<'_>, y: &Linear, values: &[Option<f64>]) -> String {
    let points = axis.buckets().iter().zip(values).flat_map(|(bucket, value)| {
        [bucket.from_ns, bucket.to_ns].map(|at_ns| value.map(|value| (axis.x(at_ns), y.y(value))))
    });
    svg::line(points)
}

/// Over the time in which it is known.
fn mean_per_s(buckets: &[Bucket], per_s: &[Option<f64>]) -> Option<f64> {
    let known = buckets.iter().zip(per_s).filter_map(|(b, per_s)| Some((b.seconds(), (*per_s)?)));
    let (seconds, sum) = known.fold((0.0, 0.0), |(seconds, sum), (length, per_s)| {
        (seconds + length, sum + length * per_s)
    });
    (seconds > 0.0).then_some(sum / seconds)
}
