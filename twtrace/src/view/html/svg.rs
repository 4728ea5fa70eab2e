//! Shapes in the square of [`FULL`] by [`FULL`] in which charts are drawn.

use std::fmt::Write;

use super::scale::FULL;

/// A line through points, broken where there is none.
pub(super) fn line(points: impl IntoIterator<Item = Option<(f64, f64)>>) -> String {
    let mut path = String::new();
    let mut drawing = false;
    for point in points {
        if let Some((x, y)) = point {
            push(&mut path, if drawing { 'L' } else { 'M' }, x, y);
        }
        drawing = point.is_some();
    }
    path
}

/// What lies between two edges, given as `(x, upper, lower)`; broken where there is none.
pub(super) fn between(points: impl IntoIterator<Item = Option<(f64, f64, f64)>>) -> String {
    let mut path = String::new();
    let mut stretch = Vec::new();
    for point in points.into_iter().chain([None]) {
        match point {
            Some(point) => stretch.push(point),
            None => close(&mut path, &mut stretch),
        }
    }
    path
}

fn close(path: &mut String, stretch: &mut Vec<(f64, f64, f64)>) {
    let mut command = 'M';
    for (x, upper, _) in stretch.iter() {
        push(path, command, *x, *upper);
        command = 'L';
    }
    for (x, _, lower) in stretch.drain(..).rev() {
        push(path, 'L', x, lower);
    }
    if command == 'L' {
        path.push('Z');
    }
}

/// A box.
pub(super) fn rectangle(path: &mut String, x: f64, y: f64, width: f64, height: f64) {
    // Writing to a string cannot fail.
    let _ = write!(path, "M{} {}h{}v{}h{}z", r(x), r(y), r(width), r(height), r(-width));
}

fn push(path: &mut String, command: char, x: f64, y: f64) {
    let _ = write!(path, "{command}{} {}", r(x), r(y.clamp(0.0, FULL)));
}

/// As fine as a screen is.
fn r(number: f64) -> f64 {
    let rounded = (number * 10.0).round() / 10.0;
    // There is no -0 in a drawing.
    if rounded == 0.0 { 0.0 } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_where_nothing_is_known() {
        let points = [Some((0.0, 1.0)), Some((1.0, 2.04)), None, Some((3.0, -5.0))];
        assert_eq!(line(points), "M0 1L1 2M3 0");
    }

    #[test]
    fn areas_close_where_nothing_is_known() {
        let points = [None, Some((0.0, 1.0, 9.0)), Some((1.0, 2.0, 9.0)), None, None];
        assert_eq!(between(points), "M0 1L1 2L1 9L0 9Z");
    }
}
