//! How long mini-sockets lived: a histogram, and quantiles by what ended them.

use hdrhistogram::Histogram;
use maud::{Markup, html};

use super::{
    format::{count, duration, percent, short, span, unavailable, valued},
    palette,
    plot::{Bottom, Plot},
    scale::{Decades, FULL, Tick, round_step},
    svg,
};
use crate::stats::{
    snapshot::{Encoded, Snapshot, Summary},
    timeline::Count,
};

const ID: &str = "lifetimes";
/// Bars, at most.
const BARS: f64 = 70.0;
/// Widths of bars, in seconds.
const WIDTHS_S: [f64; 14] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0];

pub(super) fn section(s: &Snapshot) -> Markup {
    let lifetimes = s.hdr.as_ref().and_then(|hdr| hdr.time_wait_lifetime.as_ref());
    let Some(Encoded(lifetimes)) = lifetimes else {
        return html! { div id=(ID) { (unavailable("ends are not followed one by one; see `twtrace check`")) } };
    };
    let all = s.time_wait.as_ref().and_then(|minis| minis.lifetime_s.as_ref());
    html! {
        div.beside {
            (histogram(&Bars::new(lifetimes)))
            @if let Some(all) = all.filter(|all| all.count > 0) { (quantiles(s, all)) }
        }
    }
}

/// Counts by bars of one width.
struct Bars {
    width_s: f64,
    counts: Vec<u64>,
}

impl Bars {
    /// Values are microseconds.
    fn new(lifetimes: &Histogram<u64>) -> Self {
        let longest_s = lifetimes.max() as f64 / 1e6;
        let wide_enough = |width: &&f64| longest_s / **width < BARS;
        let width_s = WIDTHS_S.iter().find(wide_enough).copied();
        let width_s = width_s.unwrap_or_else(|| (longest_s / BARS).ceil());
        let mut counts = Vec::new();
        for value in lifetimes.iter_recorded() {
            let bar = (value.value_iterated_to() as f64 / 1e6 / width_s) as usize;
            if counts.len() <= bar {
                counts.resize(bar + 1, 0);
            }
            counts[bar] += value.count_since_last_iteration();
        }
        Self { width_s, counts }
    }

    fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The seconds that the axis reaches.
    fn reach_s(&self) -> f64 {
        self.counts.len().max(1) as f64 * self.width_s
    }
}

fn histogram(bars: &Bars) -> Markup {
    let total = bars.total();
    let y = Decades::up_to(bars.counts.iter().copied().max().unwrap_or_default());
    let plot = Plot {
        id: ID,
        title: "How long they lived",
        about: "how many, by seconds from birth to end; counts are on a logarithmic scale",
        legend: html! {},
        summary: summary(bars, total),
        height: 230,
        y: y.ticks(),
        drawing: drawing(bars, &y, total),
        labels: html! {},
        missing: (total == 0).then(|| html! { p.none { "none has ended" } }),
    };
    plot.figure(&Bottom::Values(seconds_ticks(bars.reach_s())))
}

fn summary(bars: &Bars, total: u64) -> String {
    let fullest = bars.counts.iter().enumerate().max_by_key(|(_, count)| **count);
    match fullest.filter(|_| total > 0) {
        Some((bar, held)) => format!(
            "Histogram of {} lifetimes; most of them, {}, between {} and {}.",
            count(total),
            percent(*held as f64 / total as f64),
            duration(bar as f64 * bars.width_s),
            duration((bar + 1) as f64 * bars.width_s)
        ),
        None => "Histogram of lifetimes: none has ended.".to_owned(),
    }
}

fn drawing(bars: &Bars, y: &Decades, total: u64) -> Markup {
    let width = FULL / bars.counts.len().max(1) as f64;
    let place = |bar: usize| bar as f64 * width;
    let mut path = String::new();
    for (bar, held) in bars.counts.iter().enumerate().filter(|(_, held)| **held > 0) {
        let height = y.part(*held) * FULL;
        svg::rectangle(&mut path, place(bar) + width * 0.08, FULL - height, width * 0.84, height);
    }
    html! {
        path.bars d=(path) {}
        // What the pointer meets is as high as the plot.
        @for (bar, held) in bars.counts.iter().enumerate().filter(|(_, held)| **held > 0) {
            rect.touch x=(format!("{:.1}", place(bar))) y="0" width=(format!("{width:.1}")) height=(FULL)
                data-tip=(tip(bars, bar, *held, total)) {}
        }
    }
}

fn tip(bars: &Bars, bar: usize, held: u64, total: u64) -> String {
    let edge = |bar: usize| span(bar as f64 * bars.width_s);
    let part = percent(held as f64 / total as f64);
    format!("{} to {}: {} ({part})", edge(bar), edge(bar + 1), count(held))
}

fn seconds_ticks(reach_s: f64) -> Vec<Tick> {
    let step = round_step(reach_s / 7.0);
    let tick = |index: u32| Tick {
        at: f64::from(index) * step / reach_s,
        label: format!("{} s", short(f64::from(index) * step)),
        minor: !index.is_multiple_of(2),
    };
    (0..).map(tick).take_while(|tick| tick.at <= 1.0).collect()
}

fn quantiles(s: &Snapshot, all: &Summary<f64>) -> Markup {
    let by_end = s.time_wait.as_ref().and_then(|minis| minis.lifetime_by_end.as_ref());
    let ends = Count::ENDS.into_iter().filter_map(|end| Some((end, by_end?.get(end.name())?)));
    html! {
        div.scroll.tight tabindex="0" role="region" aria-label="Lifetimes by what ended them" {
            table {
                caption { "Lifetime by what ended it" }
                thead { tr { th scope="col" { "end" } @for title in ["count", "p50", "p90", "p99", "max"] { th.number scope="col" { (title) } } } }
                tbody {
                    (quantile_row(s, &html! { strong { "all" } }, "time_wait.lifetime_s", all))
                    @for (end, lived) in ends.filter(|(_, lived)| lived.count > 0) {
                        @let name = html! { i.swatch style=(format!("background:{}", palette::of_end(end))) {} (end.name()) };
                        (quantile_row(s, &name, "time_wait.lifetime_by_end", lived))
                    }
                }
            }
        }
    }
}

fn quantile_row(s: &Snapshot, name: &Markup, key: &str, lived: &Summary<f64>) -> Markup {
    html! {
        tr {
            th scope="row" { (name) }
            td.number { (count(lived.count)) }
            @for value in [lived.p50, lived.p90, lived.p99, lived.max] {
                td.number { (valued(s, key, value.map(span))) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_hold_every_lifetime_and_are_few() {
        for longest_us in [1, 900, 61_500_000, 3_600_000_000, 9_000_000_000_000] {
            let mut lifetimes = Histogram::new(3).expect("three figures are allowed");
            [1, longest_us / 2 + 1, longest_us].into_iter().for_each(|us| {
                lifetimes.record(us).expect("it grows");
            });
            let bars = Bars::new(&lifetimes);
            assert_eq!(bars.total(), 3);
            assert!(bars.counts.len() <= 72, "{} bars", bars.counts.len());
            assert!(!seconds_ticks(bars.reach_s()).is_empty());
        }
    }
}
