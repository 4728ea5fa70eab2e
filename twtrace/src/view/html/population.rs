//! How many mini-sockets are alive, over time.

use maud::html;

use super::{
    format::{count, mark, unavailable, whole},
    marks::Marks,
    palette::COMPARED,
    plot::{Bottom, Plot, place},
    scale::{FULL, Linear},
    series::{Chart, Series},
    svg,
    time_axis::TimeAxis,
};
use crate::stats::{snapshot::Snapshot, timeline::Bucket};

const ID: &str = "population";

pub(super) fn chart(axis: &TimeAxis<'_>, marks: &Marks, s: &Snapshot) -> Chart {
    let now = |bucket: &Bucket| bucket.time_wait_now.map(|now| now as f64);
    let series = [Series::new("time_wait now", COMPARED[0], "", axis.buckets().iter().map(now))];
    let y = Linear::of_counts(Series::highest(&series) * 1.05);
    let points = axis
        .buckets()
        .iter()
        .map(|bucket| Some((axis.x(bucket.to_ns), y.y(bucket.time_wait_now? as f64))));
    let points: Vec<_> = points.collect();
    let area = points.iter().map(|point| point.map(|(x, upper)| (x, upper, FULL)));
    let drawing = html! {
        path.fill d=(svg::between(area)) style="fill:var(--c1)" {}
        path.line d=(svg::line(points)) style="stroke:var(--c1)" {}
    };
    let peak = axis.buckets().iter().filter_map(|b| Some((b.time_wait_now?, b.to_ns)));
    // The first of the highest.
    let peak = peak.rev().max_by_key(|(now, _)| *now).filter(|(now, _)| *now > 0);
    let labels = html! {
        (marks.words())
        @if let Some((highest, at_ns)) = peak {
            i.dot style=(format!("{};{}", place("left", axis.part(at_ns)),
                place("bottom", y.part(highest as f64)))) {}
        }
    };
    let about = match peak {
        Some((highest, at_ns)) => {
            format!(
                "alive at each moment; at most {}{}, at {}",
                mark(s, "time_wait.now"),
                count(highest),
                axis.clock(at_ns)
            )
        }
        None => "alive at each moment".to_owned(),
    };
    let last = axis.buckets().last().and_then(now);
    let plot = Plot {
        id: ID,
        title: "Sockets in TIME_WAIT",
        about: &about,
        legend: html! {},
        summary: match last {
            Some(last) => {
                format!("Sockets in TIME_WAIT {about}, {} at the end.", count(whole(last)))
            }
            None => "Sockets in TIME_WAIT: unavailable.".to_owned(),
        },
        height: 210,
        y: y.ticks(),
        drawing,
        labels,
        missing: (!series[0].is_known())
            .then(|| unavailable("nothing sees mini-sockets; see `twtrace check`")),
    };
    Chart { id: ID, figure: plot.figure(&Bottom::Time(axis, marks)), series: series.into() }
}
