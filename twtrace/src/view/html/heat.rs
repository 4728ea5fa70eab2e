//! How long port searches took, over time: the darker, the more of them.

use maud::{Markup, html};
use serde::Serialize;

use super::{
    format::{count, mark, plain, seconds, span, unavailable},
    marks::Marks,
    plot::{Bottom, Plot},
    scale::{FULL, Tick},
    svg,
    time_axis::TimeAxis,
};
use crate::stats::{
    snapshot::{SearchOp, Snapshot},
    timeline::{Bucket, LATENCIES, latency_from_ns},
};

/// Columns, at most: finer ones cannot be seen.
const COLUMNS: usize = 160;
/// Shades, by the logarithm of the count.
const SHADES: usize = 7;

/// Columns overlap a little: where they only met, some screens would show what is behind.
const OVERLAP: f64 = 0.4;

/// What is shown where the pointer is.
#[derive(Debug, Serialize)]
pub(super) struct Cells {
    /// The bucket after the last of each column.
    until: Vec<usize>,
    /// By column, the rows from the shortest that hold any: row and count.
    columns: Vec<Vec<(usize, u64)>>,
    /// What each row is called, the shortest first.
    rows: Vec<String>,
}

/// The map of the searches by `op`, and the numbers behind it.
pub(super) fn chart(
    axis: &TimeAxis<'_>,
    marks: &Marks,
    s: &Snapshot,
    op: SearchOp,
) -> (Markup, Option<Cells>) {
    let map = Map::new(axis, op);
    let (id, title) = match op {
        SearchOp::Connect => ("heat-connect", "Port searches by connect"),
        SearchOp::Bind => ("heat-bind", "Port searches by bind"),
    };
    let plot = Plot {
        id,
        title,
        about: &about(s, op),
        legend: map.as_ref().map_or(html! {}, |map| legend(map.highest)),
        summary: summary(s, op, title),
        height: map.as_ref().map_or(100, Map::height),
        y: map.as_ref().map_or(Vec::new(), Map::ticks),
        drawing: map.as_ref().map_or(html! {}, |map| map.drawing(axis)),
        labels: html! {},
        missing: missing(s, map.is_none()),
    };
    (plot.figure(&Bottom::Time(axis, marks)), map.map(|map| map.cells()))
}

fn missing(s: &Snapshot, none: bool) -> Option<Markup> {
    if s.port_search.is_none() {
        return Some(unavailable("nothing sees searches; see `twtrace check`"));
    }
    none.then(|| html! { p.none { "no search was seen" } })
}

fn about(s: &Snapshot, op: SearchOp) -> String {
    let (kind, name) = match op {
        SearchOp::Connect => (s.port_search.as_ref().map(|all| &all.connect), "connect"),
        SearchOp::Bind => (s.port_search.as_ref().map(|all| &all.bind), "bind"),
    };
    let Some(kind) = kind else {
        return "how long each took".to_owned();
    };
    let bound = mark(s, &format!("port_search.{name}.latency_ns"));
    let latency = [("p50", kind.latency_ns.p50), ("p99", kind.latency_ns.p99)];
    let latency = latency.map(|(name, ns)| Some(format!("{name} {bound}{}", span(seconds(ns?)))));
    let only = s.port_search.as_ref().and_then(|all| all.only_cgroup.as_deref());
    let words = [Some("how long each took".to_owned())].into_iter().chain(latency).flatten();
    let words = words.chain(only.map(|cgroup| format!("only of {}", plain(cgroup))));
    words.collect::<Vec<_>>().join("; ")
}

fn summary(s: &Snapshot, op: SearchOp, title: &str) -> String {
    format!("{title} over time: {}.", about(s, op))
}

fn legend(highest: u64) -> Markup {
    html! {
        div.legend.shades {
            span { "searches: 1" }
            @for shade in shade(1, highest) + 1..=SHADES { i style=(format!("background:var(--h{shade})")) {} }
            @if highest > 1 { span { (count(highest)) } }
        }
    }
}

/// Counts by column and row.
struct Map<'a> {
    columns: Vec<(&'a [Bucket], [u64; LATENCIES])>,
    /// The first row that holds any, and the row after the last.
    rows: (usize, usize),
    highest: u64,
}

impl<'a> Map<'a> {
    /// `None` where there are no searches.
    fn new(axis: &TimeAxis<'a>, op: SearchOp) -> Option<Self> {
        let buckets = axis.buckets();
        let width = buckets.len().div_ceil(COLUMNS).max(1);
        let columns: Vec<_> =
            buckets.chunks(width).map(|stretch| (stretch, summed(stretch, op))).collect();
        let holds = |row: usize| columns.iter().any(|(_, counts)| counts[row] > 0);
        let first = (0..LATENCIES).find(|row| holds(*row))?;
        let last = (0..LATENCIES).rfind(|row| holds(*row))?;
        let highest = columns.iter().flat_map(|(_, counts)| counts).copied().max()?;
        // A power of two at each end, and room below and above.
        let rows = (first.saturating_sub(2) & !1, (last + 3).next_multiple_of(2).min(LATENCIES));
        Some(Self { columns, rows, highest })
    }

    /// In pixels: a row is to be seen, and few of them need no room.
    fn height(&self) -> u32 {
        (8 * (self.rows.1 - self.rows.0) as u32).clamp(100, 250)
    }

    fn row_height(&self) -> f64 {
        FULL / (self.rows.1 - self.rows.0) as f64
    }

    /// One path for each shade.
    fn drawing(&self, axis: &TimeAxis<'_>) -> Markup {
        let mut paths: [String; SHADES] = Default::default();
        let height = self.row_height();
        for (stretch, counts) in &self.columns {
            let (Some(first), Some(last)) = (stretch.first(), stretch.last()) else {
                continue;
            };
            let (x, to) = (axis.x(first.from_ns), axis.x(last.to_ns));
            for row in self.rows.0..self.rows.1 {
                if counts[row] > 0 {
                    let y = FULL - (row + 1 - self.rows.0) as f64 * height;
                    svg::rectangle(
                        &mut paths[shade(counts[row], self.highest)],
                        x,
                        y,
                        to - x + OVERLAP,
                        height,
                    );
                }
            }
        }
        html! {
            @for (path, shade) in paths.iter().zip(1..) {
                @if !path.is_empty() { path.cell d=(path) style=(format!("fill:var(--h{shade})")) {} }
            }
        }
    }

    /// At powers of ten.
    fn ticks(&self) -> Vec<Tick> {
        let (first, last) = self.rows;
        let place = |ns: f64| (row_of(ns) - first as f64) / (last - first) as f64;
        let decades = (0..12).map(|decade| 10_f64.powi(decade));
        let shown = decades.map(|ns| (ns, place(ns))).filter(|(_, at)| (0.0..=1.0).contains(at));
        shown.map(|(ns, at)| Tick { at, label: decade(ns), minor: false }).collect()
    }

    fn cells(&self) -> Cells {
        let (first, last) = self.rows;
        let mut until = Vec::new();
        for (stretch, _) in &self.columns {
            until.push(until.last().copied().unwrap_or(0) + stretch.len());
        }
        let column = |counts: &[u64; LATENCIES]| {
            let held = (first..last).filter(|row| counts[*row] > 0);
            held.map(|row| (row - first, counts[row])).collect()
        };
        let row = |row: usize| {
            let [from, to] = [row, row + 1].map(|row| span(seconds(latency_from_ns(row))));
            format!("{from} to {to}")
        };
        Cells {
            until,
            columns: self.columns.iter().map(|(_, counts)| column(counts)).collect(),
            rows: (first..last).map(row).collect(),
        }
    }
}

fn summed(stretch: &[Bucket], op: SearchOp) -> [u64; LATENCIES] {
    let mut sum = [0; LATENCIES];
    for bucket in stretch {
        sum.iter_mut().zip(bucket.searches(op).by_step()).for_each(|(sum, count)| *sum += count);
    }
    sum
}

/// Between which rows a latency lies: each row is level, as the counts in it are.
fn row_of(ns: f64) -> f64 {
    let power = ns.log2().floor();
    2.0 * power + 2.0 * (ns / power.exp2() - 1.0)
}

fn shade(count: u64, highest: u64) -> usize {
    if count >= highest {
        return SHADES - 1;
    }
    let part = (count as f64).ln() / (highest.max(2) as f64).ln();
    ((part * SHADES as f64) as usize).min(SHADES - 1)
}

/// A power of ten, in nanoseconds, without decimals.
fn decade(ns: f64) -> String {
    let units = [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")];
    let unit = units.into_iter().find(|(length, _)| ns >= *length);
    unit.map_or(String::new(), |(length, unit)| format!("{:.0} {unit}", ns / length))
}
