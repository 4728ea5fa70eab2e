//! Numbers as cells of tables show them: short, and `-` where nobody knows.

use crate::view::text::format::{
    UNKNOWN, compact, harmless_line, maybe_compact, maybe_span, span, whole,
};

/// A count in at most seven columns.
pub(super) fn count(number: u64) -> String {
    compact(number, 7)
}

pub(super) fn maybe_count(number: Option<u64>) -> String {
    maybe_compact(number, 7)
}

/// A rate per second: with a decimal where it is small.
pub(super) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => UNKNOWN.to_owned(),
        Some(rate) if rate > 0.0 && rate < 9.95 => format!("{rate:.1}"),
        Some(rate) => count(whole(rate)),
    }
}

/// A part of a whole, in percent.
pub(super) fn percent(part: Option<f64>) -> String {
    part.map_or(UNKNOWN.to_owned(), |part| format!("{:.1}%", part * 100.0))
}

/// Percent that are percent already.
pub(super) fn core_percent(percent: Option<f64>) -> String {
    percent.map_or(UNKNOWN.to_owned(), |percent| format!("{percent:.1}%"))
}

/// How long something takes, or took.
pub(super) fn time(seconds: Option<f64>) -> String {
    maybe_span(seconds)
}

/// How long until something happens: `now` when it has.
pub(super) fn time_left(seconds: Option<f64>) -> String {
    match seconds {
        None => UNKNOWN.to_owned(),
        Some(seconds) if seconds <= 0.0 => "now".to_owned(),
        Some(seconds) => span(seconds),
    }
}

/// A text from outside.
pub(super) fn text(text: Option<&str>) -> String {
    text.map_or(UNKNOWN.to_owned(), harmless_line)
}

/// What to call the process of a row.
pub(super) fn process(comm: Option<&str>, other: bool) -> String {
    match (comm, other) {
        (_, true) => "all others".to_owned(),
        (Some(comm), _) => harmless_line(comm),
        (None, _) => "(name unknown)".to_owned(),
    }
}

/// A process's number.
pub(super) fn pid(pid: Option<u32>) -> String {
    pid.map_or(UNKNOWN.to_owned(), |pid| pid.to_string())
}

/// A network namespace.
pub(super) fn netns(inode: Option<u32>) -> String {
    inode.map_or(UNKNOWN.to_owned(), |inode| inode.to_string())
}

/// `number` with what stands before one that is not exact, if it is known.
pub(super) fn marked(mark: &str, number: String) -> String {
    if number == UNKNOWN { number } else { mark.to_owned() + &number }
}

/// By how much something grows: with its sign.
pub(super) fn change(change: Option<f64>) -> String {
    match change {
        None => UNKNOWN.to_owned(),
        Some(change) if change < 0.0 => format!("-{}", rate(Some(-change))),
        Some(change) if change > 0.0 => format!("+{}", rate(Some(change))),
        Some(_) => "0".to_owned(),
    }
}

/// As much of a container id as `docker ps` shows.
pub(super) fn container(id: Option<&str>) -> String {
    text(id).chars().take(12).collect()
}
