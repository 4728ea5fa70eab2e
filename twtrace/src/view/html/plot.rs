//! What all charts have in common: a title, a legend, axes, and a plot between them.
//!
//! The plot is an SVG that stretches to its place; everything that is to be read is HTML above
//! and beside it, so that letters keep their size whatever the width.

use maud::{Markup, html};

use super::{
    marks::Marks,
    scale::{FULL, Tick},
    svg,
    time_axis::TimeAxis,
};

/// A chart.
pub(super) struct Plot<'a> {
    /// What it is called in the document.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// What is drawn, and in which unit.
    pub(super) about: &'a str,
    pub(super) legend: Markup,
    /// In words, what those see who do not see it.
    pub(super) summary: String,
    /// In pixels.
    pub(super) height: u32,
    pub(super) y: Vec<Tick>,
    /// Shapes, in the square of [`FULL`].
    pub(super) drawing: Markup,
    /// What is to be read in the plot itself.
    pub(super) labels: Markup,
    /// Why there is nothing to draw, if so: then it stands in the place of the plot.
    pub(super) missing: Option<Markup>,
}

/// One line of a legend.
pub(super) struct Key {
    pub(super) color: &'static str,
    pub(super) name: String,
    /// The number behind the name.
    pub(super) value: Option<String>,
}

/// What the colours mean.
pub(super) fn legend(keys: &[Key]) -> Markup {
    html! {
        ul.legend {
            @for key in keys {
                li {
                    i.swatch style=(format!("background:{}", key.color)) {}
                    (key.name)
                    @if let Some(value) = &key.value { " " b { (value) } }
                }
            }
        }
    }
}

/// Where along the bottom something is written, and what.
pub(super) enum Bottom<'a> {
    /// Time, with what happened along it.
    Time(&'a TimeAxis<'a>, &'a Marks),
    /// Something else.
    Values(Vec<Tick>),
}

impl Plot<'_> {
    /// As HTML.
    pub(super) fn figure(&self, bottom: &Bottom<'_>) -> Markup {
        html! {
            figure.chart id=(self.id) {
                (self.caption())
                @if let Some(why) = &self.missing { (why) } @else { (self.plot(bottom)) }
            }
        }
    }

    fn plot(&self, bottom: &Bottom<'_>) -> Markup {
        let over_time = matches!(bottom, Bottom::Time(..));
        html! {
            div.plot style=(format!("--height:{}px", self.height)) {
                div.y aria-hidden="true" { (labels(&self.y, "bottom")) }
                div.area.time[over_time] role="img" aria-label=(self.summary)
                    tabindex=[over_time.then_some("0")]
                    data-chart=[over_time.then_some(self.id)] {
                    (self.drawn(bottom))
                    (self.labels)
                }
                div.x aria-hidden="true" {
                    @match bottom {
                        Bottom::Time(axis, _) => { (labels(&axis.ticks(), "left")) }
                        Bottom::Values(ticks) => { (labels(ticks, "left")) }
                    }
                }
            }
        }
    }

    fn caption(&self) -> Markup {
        html! {
            figcaption {
                h3 { (self.title) }
                p.about { (self.about) }
                (self.legend)
            }
        }
    }

    fn drawn(&self, bottom: &Bottom<'_>) -> Markup {
        html! {
            svg viewBox=(format!("0 0 {FULL} {FULL}")) preserveAspectRatio="none"
                aria-hidden="true" focusable="false" {
                @if let Bottom::Time(axis, marks) = bottom { (marks.behind(axis)) }
                path.grid d=(self.grid()) {}
                (self.drawing)
                @if let Bottom::Time(_, marks) = bottom { (marks.before()) }
            }
        }
    }

    fn grid(&self) -> String {
        let y = |tick: &Tick| (1.0 - tick.at) * FULL;
        let lines =
            self.y.iter().map(|tick| svg::line([Some((0.0, y(tick))), Some((FULL, y(tick)))]));
        lines.collect()
    }
}

/// A label further along ends at its place, so that it does not stick out.
const LAST: f64 = 0.97;

fn labels(ticks: &[Tick], from: &str) -> Markup {
    html! {
        @for tick in ticks {
            span.minor[tick.minor].last[tick.at > LAST] style=(place(from, tick.at)) { (tick.label) }
        }
    }
}

/// The style of something that is at `part` of an axis.
pub(super) fn place(from: &str, part: f64) -> String {
    format!("{from}:{:.2}%", part * 100.0)
}
