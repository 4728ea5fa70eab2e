//! Lines of at most 80 columns, and numbers as people read them.

use std::fmt::{self, Write};

/// Wide enough for what matters, narrow enough for any terminal.
const WIDTH: usize = 80;
/// Where what a label is about begins.
pub(super) const INDENT: usize = 11;
/// What stands in the place of a number nobody knows.
pub(in crate::view) const UNKNOWN: &str = "-";

/// `label` and `words`, broken where a line is full.
pub(super) fn wrapped(out: &mut String, label: &str, words: &[String]) -> fmt::Result {
    flow(out, format!("{label:<INDENT$}"), words)
}

/// `words` behind `start`, broken where a line is full.
pub(super) fn flow(out: &mut String, start: String, words: &[String]) -> fmt::Result {
    let mut current = start;
    let mut empty = true;
    for word in words {
        if !empty && current.chars().count() + 2 + word.chars().count() > WIDTH {
            line(out, &current)?;
            current = " ".repeat(INDENT);
            empty = true;
        }
        if !empty {
            current.push_str("  ");
        }
        current.push_str(word);
        empty = false;
    }
    line(out, &current)
}

pub(in crate::view) fn line(out: &mut String, text: &str) -> fmt::Result {
    writeln!(out, "{}", text.trim_end())
}

/// At most `width` characters, none of which a terminal would obey.
pub(in crate::view) fn shortened(text: &str, width: usize) -> String {
    let text: String = text.chars().map(harmless).collect();
    if text.chars().count() <= width {
        return text;
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// All of it, without characters that a terminal would obey.
pub(in crate::view) fn harmless_line(text: &str) -> String {
    text.chars().map(harmless).collect()
}

fn harmless(c: char) -> char {
    if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }
}

pub(in crate::view) fn maybe(number: Option<u64>) -> String {
    number.map_or(UNKNOWN.to_owned(), count)
}

pub(in crate::view) fn rate(rate: Option<f64>) -> String {
    rate.map_or(UNKNOWN.to_owned(), |rate| count(whole(rate)))
}

/// Digits in groups of three.
pub(in crate::view) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Bytes in powers of 1000, as disks are sold and -C counts.
pub(in crate::view) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut shown = bytes as f64;
    let mut unit = "bytes";
    for next in UNITS {
        if shown < 999.5 {
            break;
        }
        shown /= 1e3;
        unit = next;
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{shown:.1} {unit}") }
}

/// A count that fits `width` columns, at least five: of a large one, only the
/// leading digits.
pub(in crate::view) fn compact(number: u64, width: usize) -> String {
    const PREFIXES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    let mut shown = count(number);
    let mut rest = number;
    for prefix in &PREFIXES[1..] {
        if shown.len() <= width {
            break;
        }
        rest = rest / 1_000 + u64::from(rest % 1_000 >= 500);
        shown = count(rest) + prefix;
    }
    shown
}

/// As [`compact`], or `-`.
pub(in crate::view) fn maybe_compact(number: Option<u64>, width: usize) -> String {
    number.map_or(UNKNOWN.to_owned(), |number| compact(number, width))
}

/// A duration, in the unit in which it is neither long nor short.
pub(in crate::view) fn span(seconds: f64) -> String {
    // Where the next unit up would be shown, as it is rounded.
    const FULL: f64 = 999.5;
    for (unit, per_s) in [("ns", 1e9), ("µs", 1e6), ("ms", 1e3), ("s", 1.0)] {
        let value = seconds * per_s;
        // Nothing is measured finer than a nanosecond.
        let decimals = usize::from(value < 99.95 && unit != "ns");
        if value < FULL {
            return format!("{value:.decimals$} {unit}");
        }
    }
    if seconds < 99_999.5 {
        return format!("{} s", count(whole(seconds)));
    }
    format!("{} h", compact(whole(seconds / 3_600.0), 6))
}

/// As [`span`], or `-`.
pub(in crate::view) fn maybe_span(seconds: Option<f64>) -> String {
    seconds.map_or(UNKNOWN.to_owned(), span)
}

/// Nanoseconds, in seconds.
pub(in crate::view) fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// An address and a port, as people write them.
pub(in crate::view) fn endpoint(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// The nearest whole number.
pub(in crate::view) fn whole(number: f64) -> u64 {
    number.round().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(maybe(None), "-");
    }

    #[test]
    fn large_numbers_fit_their_column() {
        assert_eq!(compact(1_234_567, 9), "1,234,567");
        assert_eq!(compact(12_345_678, 9), "12,346k");
        assert_eq!(compact(999_999, 5), "1M");
        assert!(compact(u64::MAX, 5).len() <= 5, "{}", compact(u64::MAX, 5));
        assert_eq!(maybe_compact(None, 5), "-");
    }

    #[test]
    fn durations_have_a_unit_that_suits_them() {
        let shown = [0.0, 4e-9, 9.996e-7, 1.8e-6, 99.96e-6, 3.5e-4, 0.0123, 1.089, 61.1, 120.0];
        let shown: Vec<String> = shown.into_iter().map(span).collect();
        let wanted = [
            "0 ns", "4 ns", "1.0 µs", "1.8 µs", "100 µs", "350 µs", "12.3 ms", "1.1 s", "61.1 s",
            "120 s",
        ];
        assert_eq!(shown, wanted);
        assert_eq!(span(1_234.0), "1,234 s");
        assert_eq!(span(360_000.0), "100 h");
        assert!(span(u64::MAX as f64 / 1e9).chars().count() <= 8);
        assert_eq!(maybe_span(None), "-");
    }

    #[test]
    fn long_names_are_cut_with_a_mark() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcd", 3), "ab…");
        assert_eq!(shortened("äöüß", 3), "äö…");
    }
}
