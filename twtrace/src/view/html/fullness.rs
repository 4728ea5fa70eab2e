//! How full the port ranges towards destinations are, over time, and when they will be.

use maud::{Markup, html};

use super::{
    format::{endpoint, percent, unavailable},
    marks::Marks,
    palette::COMPARED,
    plot::{self, Bottom, Key, Plot, place},
    scale::{FULL, Tick},
    series::{Chart, Series},
    svg,
    time_axis::TimeAxis,
};
use crate::stats::{
    snapshot::{self, Snapshot},
    timeline::{Count, Destination, Line},
};

const ID: &str = "fullness";
/// Half of the range.
const KNEE: f64 = 0.5;
/// The strip of connects without a port, from above the bottom.
const STRIP: f64 = 35.0;

/// A destination with its place in the timeline, and its row at the end.
struct Followed<'a> {
    place: usize,
    destination: &'a Destination,
    row: Option<&'a snapshot::Destination>,
}

pub(super) fn chart(axis: &TimeAxis<'_>, marks: &Marks, s: &Snapshot) -> Chart {
    let followed = followed(axis, s);
    let series: Vec<Series> = followed.iter().map(|one| series(axis, one)).collect();
    let summary: Vec<String> = followed
        .iter()
        .map(|one| format!("{} {}", name(one.destination), last(axis, one)))
        .collect();
    let plot = Plot {
        id: ID,
        title: "Ports taken towards destinations",
        about: about(axis),
        legend: plot::legend(&keys(axis, &followed)),
        summary: format!(
            "Part of the port range that is taken, at the end: {}.",
            summary.join(", ")
        ),
        height: 230,
        y: [0.0, 0.25, KNEE, 0.75, 1.0]
            .map(|at| Tick { at, label: format!("{:.0} %", at * 100.0), minor: false })
            .into(),
        drawing: html! {
            (lines(axis, &followed))
            path.no-port d=(without_port(axis)) {}
        },
        labels: labels(axis, &followed),
        missing: missing(s, followed.is_empty()),
    };
    Chart { id: ID, figure: plot.figure(&Bottom::Time(axis, marks)), series }
}

/// The fullest at the end first, then those that were.
fn followed<'a>(axis: &TimeAxis<'a>, s: &'a Snapshot) -> Vec<Followed<'a>> {
    let rows = s.destinations.as_deref().unwrap_or_default();
    let mut followed: Vec<Followed<'_>> = axis
        .timeline()
        .destinations()
        .enumerate()
        .filter_map(|(place, destination)| {
            let destination = destination?;
            let row = rows.iter().find(|row| Destination::of(row).as_ref() == Some(destination));
            Some(Followed { place, destination, row })
        })
        .collect();
    let ratio = |one: &Followed<'_>| one.row.and_then(|row| row.used_ratio).unwrap_or_default();
    followed.sort_by(|a, b| ratio(b).total_cmp(&ratio(a)));
    followed
}

fn keys(axis: &TimeAxis<'_>, followed: &[Followed<'_>]) -> Vec<Key> {
    let key = |(one, color): (&Followed<'_>, _)| Key {
        color,
        name: name(one.destination),
        value: Some(last(axis, one)),
    };
    followed.iter().zip(COMPARED).map(key).collect()
}

fn about(axis: &TimeAxis<'_>) -> &'static str {
    let failed = axis.buckets().iter().filter_map(|bucket| bucket.grown(Count::NoPort));
    if failed.sum::<u64>() > 0 {
        "part of the port range; red at the bottom: connects that found no port (EADDRNOTAVAIL)"
    } else {
        "part of the port range; above the knee each connect searches the other half too"
    }
}

fn name(destination: &Destination) -> String {
    endpoint(&destination.raddr, destination.rport)
}

fn last(axis: &TimeAxis<'_>, one: &Followed<'_>) -> String {
    let last = axis.buckets().last().and_then(|bucket| bucket.used_ratio[one.place]);
    last.map_or(super::format::UNKNOWN.to_owned(), percent)
}

fn series(axis: &TimeAxis<'_>, one: &Followed<'_>) -> Series {
    let ratios = axis.buckets().iter().map(|b| b.used_ratio[one.place].map(|part| part * 100.0));
    Series::new(&name(one.destination), "", " %", ratios)
}

fn lines(axis: &TimeAxis<'_>, followed: &[Followed<'_>]) -> Markup {
    let knee = svg::line([Some((0.0, y(KNEE))), Some((FULL, y(KNEE)))]);
    html! {
        path.knee d=(knee) {}
        // The fullest one is on top.
        @for (one, color) in followed.iter().zip(COMPARED).rev() {
            @let points = axis.buckets().iter().map(|bucket| {
                Some((axis.x(bucket.to_ns), y(bucket.used_ratio[one.place]?)))
            });
            path.line d=(svg::line(points)) style=(format!("stroke:{color}")) {}
            path.foretold d=(foretold(axis, one)) style=(format!("stroke:{color}")) {}
        }
    }
}

/// From the end on, as far as the axis goes.
fn foretold(axis: &TimeAxis<'_>, one: &Followed<'_>) -> String {
    let Some(row) = one.row else {
        return String::new();
    };
    let ahead = |in_s: Option<f64>, part| {
        let in_s = in_s.filter(|in_s| *in_s > 0.0)?;
        Some((axis.ahead(in_s)?, y(part)))
    };
    let points = [ahead(row.knee_in_s, KNEE), ahead(row.exhausted_in_s, 1.0)];
    if points == [None, None] {
        return String::new();
    }
    let from = row.used_ratio.map(|part| (axis.end(), y(part)));
    svg::line([from].into_iter().chain(points).flatten().map(Some))
}

/// Stretches in which a connect found no port.
fn without_port(axis: &TimeAxis<'_>) -> String {
    let mut path = String::new();
    let failed = |count: Option<u64>| count.is_some_and(|count| count > 0);
    for bucket in axis.buckets().iter().filter(|bucket| failed(bucket.grown(Count::NoPort))) {
        let x = axis.x(bucket.from_ns);
        let width = (axis.x(bucket.to_ns) - x).max(2.0);
        svg::rectangle(&mut path, x, FULL - STRIP, width, STRIP);
    }
    path
}

fn labels(axis: &TimeAxis<'_>, followed: &[Followed<'_>]) -> Markup {
    html! {
        span.line-name style=(place("bottom", KNEE)) { "knee" }
        @if axis.end() < FULL - 0.5 {
            span.ahead-name.minor style=(place("left", axis.end() / FULL)) { "forecast" }
        }
        @for passed in axis.timeline().passed() {
            @if let Some(at) = followed.iter().position(|one| *one.destination == passed.destination) {
                @let (class, part) = match passed.line {
                    Line::Knee => ("dot", KNEE),
                    Line::Exhausted => ("dot full", 1.0),
                };
                i class=(class) style=(format!("{};{};border-color:{}", place("left", axis.part(passed.first_ns)), place("bottom", part), COMPARED[at])) {}
            }
        }
    }
}

fn missing(s: &Snapshot, none: bool) -> Option<Markup> {
    if s.destinations.is_none() {
        return Some(unavailable("nothing counts ports; see `twtrace check`"));
    }
    none.then(|| html! { p.none { "no ports are taken towards anybody" } })
}

/// From the top of the plot.
fn y(part: f64) -> f64 {
    (1.0 - part.clamp(0.0, 1.0)) * FULL
}
