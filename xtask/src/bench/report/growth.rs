//! What it costs as connections, events and sockets grow.

use serde_json::{Value, json};

use super::super::feed::{Fed, Feed};
use super::super::number::{grouped, megabytes, shown};
use super::super::population::{Population, bytes_each};
use super::super::rates::Rate;
use super::super::table::Render;

const RATES: [&str; 6] = [
    "connections/s wanted",
    "made",
    "transitions/s",
    "BPF ns/transition, all programs",
    "own CPU ns/transition",
    "RSS MB",
];
const FEED: [&str; 5] =
    ["events/s wanted", "events/s", "% of a core", "CPU ns/event", "peak RSS MB"];
const POPULATION: [&str; 5] =
    ["TIME_WAITs wanted", "there", "known to twtrace", "RSS MB", "CPU ms/refresh"];

/// By connections per second.
pub(super) fn rates(rates: &[Rate], render: Render) -> String {
    let row = |rate: &Rate| {
        vec![
            grouped(rate.wanted),
            grouped(rate.done.rate().round() as u64),
            grouped(rate.transitions_per_s().round() as u64),
            shown(rate.bpf_ns_per_transition(), 0),
            shown(rate.cpu_ns_per_transition(), 0),
            shown(Some(megabytes(rate.rss as f64)), 1),
        ]
    };
    render(&RATES, &rates.iter().map(row).collect::<Vec<_>>())
}

/// Which of the rates were too many for the machine.
pub(super) fn saturation(rates: &[Rate]) -> String {
    let beyond = rates.iter().find(|rate| !rate.is_reached());
    match beyond {
        Some(rate) => format!(
            "{} connections a second were wanted and {} made: the machine makes no more, with \
             clients, servers and twtrace on the same processors.",
            grouped(rate.wanted),
            grouped(rate.done.rate().round() as u64)
        ),
        None => "Every rate that was wanted was made.".into(),
    }
}

/// By events per second.
pub(super) fn feed(feed: &Feed, render: Render) -> String {
    let row = |fed: &Fed| {
        vec![
            fed.wanted.map_or_else(|| "as fast as it goes".into(), grouped),
            grouped(fed.reading.per_s().round() as u64),
            shown(Some(fed.core_pct()), 1),
            shown(Some(fed.cpu_ns_per_event()), 0),
            shown(Some(megabytes(fed.reading.rss as f64)), 1),
        ]
    };
    render(&FEED, &feed.levels.iter().map(row).collect::<Vec<_>>())
}

/// By TIME_WAIT sockets.
pub(super) fn population(levels: &[Population], render: Render) -> String {
    let row = |level: &Population| {
        vec![
            grouped(level.wanted),
            grouped(level.time_wait),
            level.known.map_or_else(|| "?".into(), grouped),
            shown(Some(megabytes(level.rss as f64)), 1),
            shown(Some(level.refresh_ms), 2),
        ]
    };
    render(&POPULATION, &levels.iter().map(row).collect::<Vec<_>>())
}

/// What a socket more takes.
pub(super) fn each(levels: &[Population]) -> Option<String> {
    let bytes = bytes_each(levels)?;
    Some(format!("Each TIME_WAIT socket more takes {bytes:.0} bytes of memory."))
}

/// Unrounded.
pub(super) fn json(rates: &[Rate], feed: Option<&Feed>, population: &[Population]) -> Value {
    json!({
        "rates": rates.iter().map(rate).collect::<Vec<_>>(),
        "feed": feed.map(|feed| json!({
            "events_per_connection": feed.events_per_connection(),
            "ring_bytes_per_connection": feed.ring_bytes_per_connection(),
            "levels": feed.levels.iter().map(fed).collect::<Vec<_>>(),
        })),
        "population": population.iter().map(level).collect::<Vec<_>>(),
        "bytes_per_time_wait": bytes_each(population),
    })
}

fn rate(rate: &Rate) -> Value {
    json!({
        "wanted_per_s": rate.wanted,
        "connections_per_s": rate.done.rate(),
        "transitions_per_s": rate.transitions_per_s(),
        "bpf_ns_per_transition": rate.bpf_ns_per_transition(),
        "cpu_ns_per_transition": rate.cpu_ns_per_transition(),
        "rss_bytes": rate.rss,
    })
}

fn fed(fed: &Fed) -> Value {
    json!({
        "wanted_per_s": fed.wanted,
        "events": fed.reading.events,
        "seconds": fed.reading.seconds,
        "cpu_s": fed.reading.cpu_s,
        "rss_bytes": fed.reading.rss,
    })
}

fn level(level: &Population) -> Value {
    json!({
        "time_wait_wanted": level.wanted,
        "time_wait": level.time_wait,
        "time_wait_known": level.known,
        "rss_bytes": level.rss,
        "refresh_cpu_ms": level.refresh_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::feed::tests as feeds;
    use super::super::super::population::tests::population as sockets;
    use super::super::super::rates::tests::rate as at;
    use super::super::super::table;
    use super::*;

    #[test]
    fn each_level_has_a_row() {
        let levels = [at(1_000, 1_000), at(25_000, 18_000)];
        let text = rates(&levels, table::markdown);
        assert!(text.contains("| 25,000 | 18,000 | 180,000 | 300 | 400 | 50.0 |"), "{text}");
        assert!(saturation(&levels).contains("25,000 connections a second were wanted and 18,000"));
        assert!(saturation(&levels[..1]).starts_with("Every rate"));
        let text = feed(&feeds::feed(), table::markdown);
        assert!(text.contains("| 100,000 | 100,000 | 5.0 | 500 | 60.0 |"), "{text}");
        assert!(text.contains("| as fast as it goes | 3,200,000 | 96.0 |"), "{text}");
        let levels = [sockets(10_000), sockets(100_000)];
        let text = population(&levels, table::markdown);
        assert!(text.contains("| 100,000 | 100,000 | 100,000 | 40.0 | 2.00 |"), "{text}");
        assert!(each(&levels).is_some_and(|text| text.contains("100 bytes")));
    }

    #[test]
    fn machines_get_it_unrounded() {
        let json = json(&[at(1_000, 1_000)], Some(&feeds::feed()), &[sockets(10_000)]);
        assert_eq!(json["rates"][0]["bpf_ns_per_transition"], 300.0);
        assert_eq!(json["feed"]["levels"][2]["wanted_per_s"], Value::Null);
        assert_eq!(json["bytes_per_time_wait"], Value::Null);
    }
}
