//! Curves, as SVG.
//!
//! Each brings its own white ground, so that it is read on a dark page as on a white one; of fonts
//! only the kind is named.

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use super::super::number::megabytes;
use super::super::rates::Rate;
use super::super::summary::Summary;

const SIZE: (u32, u32) = (760, 420);
const FONT: &str = "sans-serif";
/// Dark enough for white ground, and told apart by those who see no red or no green, too.
const COLOURS: [RGBColor; 2] = [RGBColor(0, 90, 181), RGBColor(200, 60, 10)];
/// What is beyond the largest value.
const MARGIN: f64 = 1.08;

/// A curve or two over the same axis.
struct Plot {
    title: &'static str,
    x: &'static str,
    y: &'static str,
    /// Whether steps along the axis are factors
    by_factors: bool,
    series: Vec<(&'static str, Vec<(f64, f64)>)>,
}

/// Files by name, of everything that was measured at two points at least.
pub(super) fn all(summary: &Summary) -> Result<Vec<(&'static str, String)>> {
    let plots = [
        ("rates.svg", rates(summary)),
        ("events.svg", events(summary)),
        ("memory.svg", memory(summary)),
        ("refresh.svg", refresh(summary)),
    ];
    let measured = plots.into_iter().filter(|(_, plot)| plot.has_a_curve());
    measured.map(|(name, plot)| Ok((name, plot.draw()?))).collect()
}

fn rates(summary: &Summary) -> Plot {
    let of = |y: fn(&Rate) -> Option<f64>| {
        let point = |rate| Some((Rate::transitions_per_s(rate), y(rate)?));
        sorted(summary.rates.iter().filter_map(point))
    };
    Plot {
        title: "Cost of a transition as connections come faster",
        x: "transitions per second",
        y: "ns per transition",
        by_factors: false,
        series: vec![
            ("BPF, all programs, statistics on", of(Rate::bpf_ns_per_transition)),
            ("twtrace's own CPU", of(Rate::cpu_ns_per_transition)),
        ],
    }
}

fn events(summary: &Summary) -> Plot {
    let levels = summary.feed.iter().flat_map(|feed| &feed.levels);
    Plot {
        title: "User space alone: CPU by events, from a recording",
        x: "events per second",
        y: "% of one core",
        by_factors: true,
        series: vec![(
            "decode, track, count, print",
            sorted(levels.map(|fed| (fed.reading.per_s(), fed.core_pct()))),
        )],
    }
}

fn memory(summary: &Summary) -> Plot {
    let levels = summary.population.iter();
    Plot {
        title: "Memory by TIME_WAIT sockets",
        x: "TIME_WAIT sockets",
        y: "RSS, MB",
        by_factors: false,
        series: vec![(
            "twtrace top",
            sorted(levels.map(|level| (level.time_wait as f64, megabytes(level.rss as f64)))),
        )],
    }
}

fn refresh(summary: &Summary) -> Plot {
    let levels = summary.population.iter();
    Plot {
        title: "CPU of a refresh by TIME_WAIT sockets",
        x: "TIME_WAIT sockets",
        y: "ms of CPU per refresh",
        by_factors: false,
        series: vec![(
            "twtrace top --batch",
            sorted(levels.map(|level| (level.time_wait as f64, level.refresh_ms))),
        )],
    }
}

fn sorted(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = points.collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

impl Plot {
    fn has_a_curve(&self) -> bool {
        self.series.iter().any(|(_, points)| points.len() > 1)
    }

    fn draw(&self) -> Result<String> {
        let all = || self.series.iter().flat_map(|(_, points)| points);
        let highest = all().map(|point| point.1).fold(0.0, f64::max) * MARGIN;
        let last = all().map(|point| point.0).fold(1.0, f64::max) * MARGIN;
        let first = all().map(|point| point.0).fold(last, f64::min) / MARGIN;
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(|why| anyhow!("cannot draw: {why}"))?;
        let mut builder = ChartBuilder::on(&area);
        builder.caption(self.title, (FONT, 20)).margin(14).x_label_area_size(46);
        builder.y_label_area_size(70);
        let drawn = if self.by_factors {
            let chart = builder.build_cartesian_2d((first..last).log_scale(), 0.0..highest);
            chart.map(|mut chart| self.fill(&mut chart))
        } else {
            let chart = builder.build_cartesian_2d(0.0..last, 0.0..highest);
            chart.map(|mut chart| self.fill(&mut chart))
        };
        drawn.and_then(|drawn| drawn).map_err(|why| anyhow!("cannot draw: {why}"))?;
        area.present().map_err(|why| anyhow!("cannot draw: {why}"))?;
        drop(builder);
        drop(area);
        Ok(svg)
    }

    fn fill<'a, DB, X, Y>(
        &self,
        chart: &mut ChartContext<'a, DB, Cartesian2d<X, Y>>,
    ) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>>
    where
        DB: DrawingBackend + 'a,
        X: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let short = |value: &f64| short(*value);
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(self.x).y_desc(self.y).x_label_formatter(&short).y_label_formatter(&short);
        mesh.label_style((FONT, 14)).axis_desc_style((FONT, 15)).light_line_style(TRANSPARENT);
        mesh.x_labels(8).y_labels(8).draw()?;
        for ((name, points), colour) in self.series.iter().zip(COLOURS) {
            let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
            let label =
                move |(x, y)| Rectangle::new([(x, y - 2), (x + 18, y + 2)], colour.filled());
            chart.draw_series(line)?.label(*name).legend(label);
            let dot = |&point: &(f64, f64)| Circle::new(point, 4, colour.filled());
            chart.draw_series(points.iter().map(dot))?;
        }
        let mut legend = chart.configure_series_labels();
        legend.position(SeriesLabelPosition::LowerRight).label_font((FONT, 14)).margin(12);
        legend.background_style(WHITE.mix(0.9)).border_style(BLACK.mix(0.3)).draw()
    }
}

/// With a letter for thousands and millions.
fn short(value: f64) -> String {
    let (value, letter) = match value {
        1e6.. => (value / 1e6, "M"),
        1e3.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let rounded = format!("{value:.1}");
    format!("{}{letter}", rounded.strip_suffix(".0").unwrap_or(&rounded))
}

#[cfg(test)]
mod tests {
    use super::super::super::feed::tests::feed;
    use super::super::super::population::tests::population;
    use super::super::super::rates::tests::rate;
    use super::*;

    #[test]
    fn values_are_short() {
        let all = [0.0, 40.0, 999.5, 1_000.0, 25_500.0, 1_000_000.0, 2_250_000.0].map(short);
        assert_eq!(all, ["0", "40", "999.5", "1k", "25.5k", "1M", "2.2M"]);
    }

    #[test]
    fn what_was_measured_has_a_curve() {
        let mut summary = Summary {
            rates: vec![rate(1_000, 1_000), rate(5_000, 5_000)],
            feed: Some(feed()),
            ..Summary::default()
        };
        summary.population = vec![population(10_000)];
        let plots = all(&summary).expect("they are drawn");
        let names: Vec<&str> = plots.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["rates.svg", "events.svg"], "one point is no curve");
        let (_, svg) = &plots[0];
        assert!(svg.contains("ns per transition") && svg.contains("transitions per second"));
        assert_eq!(plots, all(&summary).expect("they are drawn"), "each time the same");
    }
}
