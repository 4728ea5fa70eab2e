//! Numbers, times and names, as a page shows them.

use maud::{Markup, html};

pub(super) use crate::view::text::format::{count, seconds, span, whole};
use crate::{probes::Exactness, stats::snapshot::Snapshot};

/// What stands in the place of a number nobody knows.
pub(super) const UNKNOWN: &str = "–";

/// A number per second: whole, unless it is small.
pub(super) fn rate(per_s: f64) -> String {
    if per_s > 0.0 && per_s < 9.95 { format!("{per_s:.1}") } else { count(whole(per_s)) }
}

/// A part of 1, in percent. No more than all of it, and no less than what there is, by rounding.
pub(super) fn percent(part: f64) -> String {
    let percent = part * 100.0;
    match percent {
        p if p <= 0.0 => "0\u{a0}%".to_owned(),
        p if p < 0.1 => "<\u{a0}0.1\u{a0}%".to_owned(),
        p if p < 9.95 => format!("{p:.1}\u{a0}%"),
        p if p < 100.0 => format!("{:.0}\u{a0}%", p.min(99.0)),
        p => format!("{p:.0}\u{a0}%"),
    }
}

/// A number at an axis: few digits, and a prefix.
pub(super) fn short(number: f64) -> String {
    let (value, prefix) = match number.abs() {
        n if n >= 1e9 => (number / 1e9, "G"),
        n if n >= 1e6 => (number / 1e6, "M"),
        n if n >= 1e4 => (number / 1e3, "k"),
        _ => (number, ""),
    };
    let rounded = (value * 100.0).round() / 100.0;
    if prefix.is_empty() && rounded.fract() == 0.0 {
        return count(whole(rounded));
    }
    format!("{rounded}{prefix}")
}

/// How long something takes, in the words of a clock.
pub(super) fn duration(seconds: f64) -> String {
    let whole_s = whole(seconds);
    let (days, hours, minutes, rest) =
        (whole_s / 86_400, whole_s / 3_600 % 24, whole_s / 60 % 60, whole_s % 60);
    let two = |big: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big} {unit}"),
        small => format!("{big} {unit} {small} {small_unit}"),
    };
    let words = match whole_s {
        0..10 => span(seconds),
        10..60 => format!("{whole_s} s"),
        60..3_600 => two(minutes, "min", rest, "s"),
        3_600..86_400 => two(hours, "h", minutes, "min"),
        _ => two(days, "d", hours, "h"),
    };
    // It is read as one.
    words.replace(' ', "\u{a0}")
}

/// `text` without what a terminal obeys, and what changes the order of the text after it.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if misleads(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `ADDRESS:PORT`.
pub(super) fn endpoint(address: &str, port: u16) -> String {
    let address = plain(address);
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// `NAME (PID)`.
pub(super) fn process(comm: Option<&str>, pid: Option<u32>) -> String {
    let comm = comm.map_or("(name unknown)".to_owned(), plain);
    pid.map_or(comm.clone(), |pid| format!("{comm} ({pid})"))
}

/// What stands before the value of `key`, if it is not exact.
pub(super) fn mark(s: &Snapshot, key: &str) -> &'static str {
    match s.probes.exactness.get(key) {
        Some(Some(Exactness::Inferred)) => "~",
        Some(Some(Exactness::UpperBound)) => "≤ ",
        _ => "",
    }
}

/// The value of `key` with its mark, which says what it means; or that it is unknown.
pub(super) fn valued(s: &Snapshot, key: &str, value: Option<String>) -> Markup {
    let Some(value) = value else {
        return html! { span.unknown title="not known" { (UNKNOWN) } };
    };
    let meaning = match mark(s, key) {
        "" => return html! { (value) },
        "~" => "inferred from what was seen around it",
        _ => "the truth is this or less",
    };
    html! { abbr title=(meaning) { (mark(s, key)) } (value) }
}

/// In the place of what nobody can tell.
pub(super) fn unavailable(why: &str) -> Markup {
    html! { p.unavailable { strong { "unavailable" } ": " (why) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spaced(text: &str) -> String {
        text.replace('\u{a0}', " ")
    }

    #[test]
    fn numbers_suit_their_place() {
        let shown =
            [0.0, 0.04, 3.12, 9.96, 99.7, 100.0, 250.0].map(|p| spaced(&percent(p / 100.0)));
        assert_eq!(shown, ["0 %", "< 0.1 %", "3.1 %", "10 %", "99 %", "100 %", "250 %"]);
        let shown = [0.0, 0.5, 500.0, 2_500.0, 28_231.0, 1.5e6, 2e9].map(short);
        assert_eq!(shown, ["0", "0.5", "500", "2,500", "28.23k", "1.5M", "2G"]);
        assert_eq!([0.0, 0.25, 12.4, 1_234.6].map(rate), ["0", "0.2", "12", "1,235"]);
    }

    #[test]
    fn durations_read_like_a_clock() {
        let shown =
            [0.5, 9.4, 42.0, 60.0, 72.0, 3_600.0, 3_725.0, 90_000.0].map(|s| spaced(&duration(s)));
        let wanted =
            ["500 ms", "9.4 s", "42 s", "1 min", "1 min 12 s", "1 h", "1 h 2 min", "1 d 1 h"];
        assert_eq!(shown, wanted);
    }

    #[test]
    fn nothing_speaks_to_a_terminal_or_turns_the_text_around() {
        assert_eq!(plain("\u{1b}[2J\u{9b}\u{202e}x"), "\u{fffd}[2J\u{fffd}\u{fffd}x");
    }
}
