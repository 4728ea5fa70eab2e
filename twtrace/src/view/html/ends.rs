//! What ended mini-sockets, a second, over time: causes upon each other.

use maud::{Markup, html};

use super::{
    format::{count, mark, unavailable},
    marks::Marks,
    palette,
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

const ID: &str = "ends";

pub(super) fn chart(axis: &TimeAxis<'_>, marks: &Marks, s: &Snapshot) -> Chart {
    let buckets = axis.buckets();
    let shown: Vec<(Count, u64)> = Count::ENDS
        .into_iter()
        .filter_map(|end| Some((end, end.of(s)?)))
        .filter(|(_, ended)| *ended > 0)
        .collect();
    let series: Vec<Series> = shown
        .iter()
        .map(|(end, _)| {
            let values = buckets.iter().map(|bucket| bucket.per_s(*end));
            Series::new(end.name(), palette::of_end(*end), "/s", values)
        })
        .collect();
    let highest = buckets.iter().map(|bucket| stacked(bucket, &shown)).fold(0.0, f64::max);
    let y = Linear::up_to(highest);
    let drawing = html! {
        @for layer in 0..shown.len() {
            path.stack d=(band(axis, &y, &shown[..=layer])) style=(format!("fill:{}", palette::of_end(shown[layer].0))) {}
        }
    };
    let legend = shown.iter().map(|(end, ended)| Key {
        color: palette::of_end(*end),
        name: end.name().to_owned(),
        value: Some(
            mark(s, &format!("time_wait.ended.{}", end.name())).to_owned() + &count(*ended),
        ),
    });
    let legend: Vec<Key> = legend.collect();
    let words: Vec<String> =
        shown.iter().map(|(end, ended)| format!("{} {}", end.name(), count(*ended))).collect();
    let about = about(s);
    let plot = Plot {
        id: ID,
        title: "What ended them",
        about: &about,
        summary: format!("Ends of mini-sockets by cause: {}. {about}", words.join(", ")),
        legend: plot::legend(&legend),
        height: 190,
        y: y.ticks(),
        drawing,
        labels: html! {},
        missing: missing(s, shown.is_empty()),
    };
    Chart { id: ID, figure: plot.figure(&Bottom::Time(axis, marks)), series }
}

fn missing(s: &Snapshot, none: bool) -> Option<Markup> {
    if s.time_wait.as_ref().is_none_or(|minis| minis.born.is_none()) {
        return Some(unavailable("nothing sees ends; see `twtrace check`"));
    }
    none.then(|| html! { p.none { "none has ended" } })
}

fn about(s: &Snapshot) -> String {
    let unknown: Vec<&str> =
        Count::ENDS.into_iter().filter(|end| end.of(s).is_none()).map(Count::name).collect();
    match unknown.len() {
        0 | 10 => "ends a second, by cause".to_owned(),
        _ => format!("ends a second, by cause; unavailable: {}", unknown.join(", ")),
    }
}

/// The sum of some causes.
fn stacked(bucket: &Bucket, causes: &[(Count, u64)]) -> f64 {
    causes.iter().filter_map(|(end, _)| bucket.per_s(*end)).sum()
}

/// The last of `causes` upon all others; nothing where its number is not known.
fn band(axis: &TimeAxis<'_>, y: &Linear, causes: &[(Count, u64)]) -> String {
    let Some(((end, _), below)) = causes.split_last() else {
        return String::new();
    };
    let points = axis.buckets().iter().flat_map(|bucket| {
        let edges =
            bucket.per_s(*end).map(|_| (y.y(stacked(bucket, causes)), y.y(stacked(bucket, below))));
        [bucket.from_ns, bucket.to_ns]
            .map(|at_ns| edges.map(|(upper, lower)| (axis.x(at_ns), upper, lower)))
    });
    svg::between(points)
}
