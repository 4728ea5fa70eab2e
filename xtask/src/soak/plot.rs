//! The soak as a picture: memory and open files of each process, second by second.

use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;
use serde_json::Value;

/// Pixels.
const SIZE: (u32, u32) = (900, 560);
/// For each process, told apart by those who see no red and green too (Okabe and Ito).
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

/// One line of a chart.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Draws what the soak said.
pub(super) fn svg(result: &Value) -> Result<String> {
    let mut text = String::new();
    draw(&mut text, result).map_err(|error| anyhow!("cannot draw the soak: {error}"))?;
    // The last line without an end is no line for who compares texts.
    text.push('\n');
    Ok(text)
}

fn draw(text: &mut String, result: &Value) -> Result<()> {
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (memory, files) = root.split_vertically(SIZE.1 * 3 / 5);
    chart(&memory, "memory in RAM, MB", &lines(result, "rss_bytes", 1e6)?)?;
    chart(&files, "open files", &lines(result, "fds", 1.0)?)?;
    root.present()?;
    Ok(())
}

fn chart<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    title: &str,
    lines: &[Line],
) -> Result<()>
where
    B::ErrorType: 'static,
{
    let all = || lines.iter().flat_map(|line| &line.points);
    let end = all().map(|point| point.0).fold(1.0, f64::max);
    let top = all().map(|point| point.1).fold(1.0, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(32)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..end, 0.0..top)?;
    chart.configure_mesh().x_desc("minutes").light_line_style(WHITE).draw()?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let drawn = chart.draw_series(LineSeries::new(line.points.iter().copied(), colour))?;
        drawn
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    Ok(())
}

/// A column of each process, in minutes and `unit`.
fn lines(result: &Value, column: &str, unit: f64) -> Result<Vec<Line>> {
    let processes = result["processes"].as_array().context("the soak looked at processes")?;
    processes
        .iter()
        .map(|process| {
            let numbers = |key: &str| -> Option<Vec<f64>> {
                process[key].as_array()?.iter().map(Value::as_f64).collect()
            };
            let (at, values) =
                numbers("at_s").zip(numbers(column)).context("a column of numbers")?;
            let points =
                at.iter().zip(values).map(|(at, value)| (at / 60.0, value / unit)).collect();
            Ok(Line { name: process["name"].as_str().unwrap_or("?").to_owned(), points })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_process_has_a_line_and_a_name() {
        let process = |name: &str| json!({"name": name, "at_s": [1, 61], "rss_bytes": [5e7, 6e7], "fds": [60, 60]});
        let drawn = svg(&json!({"processes": [process("serve"), process("record")]}));
        let drawn = drawn.expect("it can be drawn");
        for wanted in ["serve", "record", "memory in RAM, MB", "open files", "minutes"] {
            assert!(drawn.contains(wanted), "{wanted} is not in {drawn}");
        }
        assert!(drawn.matches("<polyline").count() >= 4, "{drawn}");
        svg(&json!({})).expect_err("nothing to draw");
    }
}
