//! A Snapshot for people: aligned, at most 80 columns, unknown named as such.

use std::fmt::{self, Write};

use crate::{
    probes::Exactness,
    stats::snapshot::{Closer, Snapshot},
};

/// Wide enough for what matters, narrow enough for any terminal.
const WIDTH: usize = 80;
/// What stands in the place of a number nobody knows.
const UNKNOWN: &str = "-";

/// `snapshot` as a block of lines, ended by an empty one.
pub fn snapshot(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_snapshot(&mut out, snapshot);
    out
}

fn write_snapshot(out: &mut String, s: &Snapshot) -> fmt::Result {
    header(out, s)?;
    loss(out, s)?;
    closes(out, s)?;
    connects(out, s)?;
    states(out, s)?;
    closers(out, s)?;
    out.push('\n');
    Ok(())
}

fn header(out: &mut String, s: &Snapshot) -> fmt::Result {
    let tier = match s.probes.transitions {
        Some(tier) => tier.name(),
        None => "none (sock_diag)",
    };
    let title = format!(
        "{}  {}  Linux {}  probes {tier}",
        // Milliseconds and zone are for machines.
        s.time.get(..19).unwrap_or(&s.time).replace('T', " "),
        shortened(&s.host.hostname, 12),
        shortened(&s.host.kernel, 14),
    );
    line(out, &title)?;
    let rates = format!(
        "after {:.1} s  opens {}/s  active closes {}/s",
        s.elapsed_s,
        rate(s.rates.opens_per_s),
        rate(s.rates.active_closes_per_s)
    );
    line(out, &rates)
}

fn loss(out: &mut String, s: &Snapshot) -> fmt::Result {
    let Some(loss) = &s.loss else {
        return line(out, "loss       unavailable: nothing is traced");
    };
    let words = [
        format!("ring_full {}", count(loss.ring_full)),
        format!("missed {}", maybe(loss.missed)),
        format!("unmatched {}", count(loss.unmatched)),
        format!("evicted {}", count(loss.evicted)),
    ];
    wrapped(out, "loss", &words)
}

fn closes(out: &mut String, s: &Snapshot) -> fmt::Result {
    let Some(closes) = &s.closes else {
        return line(out, "closes     unavailable: only transitions tell; see `twtrace check`");
    };
    let words = [
        format!("active {}", count(closes.active)),
        format!("passive {}", count(closes.passive)),
        format!("simultaneous {}", count(closes.simultaneous)),
        format!("reset {}", count(closes.reset)),
        format!("(local {}, remote {})", maybe(closes.reset_local), maybe(closes.reset_remote)),
    ];
    wrapped(out, "closes", &words)
}

fn connects(out: &mut String, s: &Snapshot) -> fmt::Result {
    let Some(connects) = &s.connects else {
        return line(out, "connects   unavailable: only transitions tell; see `twtrace check`");
    };
    let words = [
        format!("ok {}", count(connects.ok)),
        format!("refused {}", maybe(connects.refused)),
        format!("timed out {}", maybe(connects.timed_out)),
        format!("no port {}", maybe(connects.no_port)),
        format!("other {}", maybe(connects.other)),
    ];
    wrapped(out, "connects", &words)
}

/// States that some socket is in, the fullest first; then those nobody counts.
fn states(out: &mut String, s: &Snapshot) -> fmt::Result {
    let mut known: Vec<(&str, u64)> = s
        .states
        .iter()
        .filter_map(|(state, count)| Some((*state, (*count)?)))
        .filter(|(_, count)| *count > 0)
        .collect();
    known.sort_by_key(|(state, count)| (std::cmp::Reverse(*count), *state));
    let mut words: Vec<String> =
        known.iter().map(|(state, n)| format!("{state} {}", count(*n))).collect();
    if words.is_empty() {
        words.push("no sockets".to_owned());
    }
    let unknown: Vec<&str> =
        s.states.iter().filter(|(_, count)| count.is_none()).map(|(state, _)| *state).collect();
    if !unknown.is_empty() {
        words.push(format!("({} unavailable)", unknown.join(", ")));
    }
    wrapped(out, "states", &words)
}

fn closers(out: &mut String, s: &Snapshot) -> fmt::Result {
    let Some(rows) = &s.closers else {
        return Ok(());
    };
    let inferred = s.probes.exactness.get("closers") == Some(&Some(Exactness::Inferred));
    let mark = if inferred { "~" } else { "" };
    out.push('\n');
    line(
        out,
        &format!(
            "{:>8} {:<16} {:<7} {:>10} {:>10} {:>6} {:>9} {:>7}",
            "PID",
            format!("{mark}CLOSES FIRST"),
            "ROLE",
            "NETNS",
            "ACTIVE",
            "SHARE",
            "PEER 1ST",
            "RESETS"
        ),
    )?;
    if rows.is_empty() {
        return line(out, "         nobody has closed yet");
    }
    rows.iter().try_for_each(|row| closer(out, row))
}

fn closer(out: &mut String, row: &Closer) -> fmt::Result {
    let comm = match (&row.comm, row.other) {
        (_, true) => "all others",
        (Some(comm), _) => comm,
        (None, _) => "(name unknown)",
    };
    line(
        out,
        &format!(
            "{:>8} {:<16} {:<7} {:>10} {:>10} {:>6} {:>9} {:>7}",
            row.pid.map_or(UNKNOWN.to_owned(), |pid| pid.to_string()),
            shortened(comm, 16),
            row.role.unwrap_or(UNKNOWN),
            row.netns.map_or(UNKNOWN.to_owned(), |netns| netns.to_string()),
            count(row.active_closes),
            row.share.map_or(UNKNOWN.to_owned(), |share| format!("{:.1}%", share * 100.0)),
            count(row.peer_closes),
            maybe(row.resets)
        ),
    )?;
    match &row.container {
        Some(container) => line(out, &format!("{:>8} container {}", "", shown_start(container))),
        None => Ok(()),
    }
}

/// `label` and `words`, broken where a line is full.
fn wrapped(out: &mut String, label: &str, words: &[String]) -> fmt::Result {
    const INDENT: usize = 11;
    let mut current = format!("{label:<INDENT$}");
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

fn line(out: &mut String, text: &str) -> fmt::Result {
    writeln!(out, "{}", text.trim_end())
}

/// As much of a container id as `docker ps` shows.
fn shown_start(container: &str) -> String {
    container.chars().take(12).collect()
}

/// At most `width` characters, none of which a terminal would obey.
fn shortened(text: &str, width: usize) -> String {
    let text: String = text.chars().map(harmless).collect();
    if text.chars().count() <= width {
        return text;
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn harmless(c: char) -> char {
    if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }
}

fn maybe(number: Option<u64>) -> String {
    number.map_or(UNKNOWN.to_owned(), count)
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or(UNKNOWN.to_owned(), |rate| count(rate.round().max(0.0) as u64))
}

/// Digits in groups of three.
fn count(number: u64) -> String {
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
    fn long_names_are_cut_with_a_mark() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcd", 3), "ab…");
        assert_eq!(shortened("äöüß", 3), "äö…");
    }
}
