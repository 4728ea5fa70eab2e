//! A recording as one page of HTML that a person would rather look at than read.
//!
//! The page is one file: style, script and numbers are in it, and it may load nothing. Without
//! its script it lacks the hints at the pointer alone. Whatever a kernel or a file says is text:
//! `maud` escapes it.

mod close_wait;
mod closers;
mod data;
mod destinations;
mod ends;
mod events;
mod exactness;
mod failures;
mod format;
mod fullness;
mod header;
mod heat;
mod lifetimes;
mod marks;
mod palette;
mod plot;
mod population;
mod rates;
mod scale;
mod searchers;
mod series;
mod summary;
mod svg;
mod tables;
mod time_axis;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::{
    data::Data, format::plain, heat::Cells, marks::Marks, series::Chart, time_axis::TimeAxis,
};
use crate::{
    frame::Meta,
    stats::{
        snapshot::{SearchOp, Snapshot},
        timeline::Timeline,
    },
};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// Nothing may be loaded, and nothing be sent.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      img-src data:; base-uri 'none'; form-action 'none'";

/// What a page is made of.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// Which run.
    pub meta: &'a Meta,
    /// What was true at its end.
    pub snapshot: &'a Snapshot,
    /// What happened until then.
    pub timeline: &'a Timeline,
    /// What was unsound in the recording, a sentence each.
    pub notes: &'a [String],
}

/// `report` as a page.
pub fn page(report: &Report<'_>) -> String {
    let axis = TimeAxis::new(report.timeline, &ahead(report.snapshot));
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(report))
            body {
                main {
                    (header::header(report, &axis))
                    (header::notes(report))
                    (summary::lede(report.snapshot, &axis))
                    (summary::figures(report.snapshot, report.timeline))
                    (over_time(report, &axis))
                    (at_the_end(report, &axis))
                }
                footer { "twtrace " (env!("CARGO_PKG_VERSION")) ", Snapshot schema " (report.snapshot.schema) ", taken " (report.snapshot.time) }
                div #tip role="status" hidden {}
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
    .into_string()
}

fn head(report: &Report<'_>) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content=(POLICY);
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            link rel="icon" href="data:,";
            title { "twtrace: " (plain(&report.meta.hostname)) }
            style { (PreEscaped(STYLE)) }
        }
    }
}

/// In how many seconds something is foretold.
fn ahead(s: &Snapshot) -> Vec<f64> {
    let rows = s.destinations.as_deref().unwrap_or_default();
    rows.iter().flat_map(|row| [row.knee_in_s, row.exhausted_in_s]).flatten().collect()
}

fn over_time(report: &Report<'_>, axis: &TimeAxis<'_>) -> Markup {
    let s = report.snapshot;
    let marks = Marks::new(axis);
    let charts = [
        population::chart(axis, &marks, s),
        rates::chart(axis, &marks, s),
        ends::chart(axis, &marks, s),
        fullness::chart(axis, &marks, s),
    ];
    let (by_connect, connects) = heat::chart(axis, &marks, s, SearchOp::Connect);
    let (by_bind, binds) = heat::chart(axis, &marks, s, SearchOp::Bind);
    html! {
        section {
            h2 { "Over time" }
            (marks.legend())
            @for chart in &charts { (chart.figure) }
            (by_connect)
            // Many hosts have none.
            @if binds.is_some() { (by_bind) }
        }
        (numbers(axis, &charts, connects.as_ref(), binds.as_ref()))
    }
}

fn numbers(
    axis: &TimeAxis<'_>,
    charts: &[Chart],
    connects: Option<&Cells>,
    binds: Option<&Cells>,
) -> Markup {
    let heat = [("heat-connect", connects), ("heat-bind", binds)];
    let heat = heat.into_iter().filter_map(|(id, cells)| Some((id, cells?)));
    Data::new(axis, charts, heat).element()
}

fn at_the_end(report: &Report<'_>, axis: &TimeAxis<'_>) -> Markup {
    let s = report.snapshot;
    html! {
        section { h2 { "Lifetimes" } (lifetimes::section(s)) }
        section { h2 { "Who closes first" } (closers::section(s)) }
        section { h2 { "Destinations" } (destinations::section(s)) }
        section { h2 { "Who searches ports" } (searchers::section(s)) }
        (failures::section(s))
        (close_wait::section(s))
        section { h2 { "What happened when" } (events::section(axis)) }
        section {
            h2 { "How exact this is" }
            details { summary { "By key of the Snapshot" } (exactness::section(s)) }
        }
    }
}
