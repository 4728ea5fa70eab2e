//! What recordings cost.

use serde_json::{Value, json};

use super::super::number::{grouped, megabytes, shown};
use super::super::reading::{Reading, Report};
use super::super::recorder::Recorded;
use super::super::recording::{Churned, Recording, Run};
use super::super::table;

const RUNS: [&str; 8] = [
    "twtrace record",
    "conn/s",
    "CPU µs/conn",
    "events",
    "B/event",
    "CPU µs/event",
    "ring_full",
    "missed",
];
const READINGS: [&str; 6] =
    ["reading", "events", "M events/CPU s", "M events/s", "peak RSS MB", "closes, told/made"];

/// Two tables.
pub(super) fn text(recording: &Recording) -> String {
    let pairs = recording.bare.iter().zip(&recording.runs);
    let runs = pairs.flat_map(|(bare, run)| [bare_row(bare), row("beside a bare run", run)]);
    let (rotated, files) = &recording.rotated;
    let single = [row("one that lasts", &recording.sustained), row("a file a second", rotated)];
    let runs: Vec<Vec<String>> = runs.chain(single).collect();
    let reports = recording.reports.iter().map(report_row);
    let readings: Vec<Vec<String>> =
        reports.chain(recording.readings.iter().map(|reading| reading_row(reading, "-"))).collect();
    format!(
        "host-wide, default settings; recorded until the TIME_WAIT sockets ended with their namespace.\n\
         recorded / not recorded, pair by pair: connections per second {}; per CPU second of the churn\n\
         itself {}; CPU time it was given {}; a file a second: {files} files\n{}\n{}",
        ratios(&recording.ratios()),
        ratios(&recording.cpu_ratios()),
        ratios(&recording.share_ratios()),
        table::render(&RUNS, &runs),
        table::render(&READINGS, &readings)
    )
}

/// The same, unrounded.
pub(super) fn json(recording: &Recording) -> Value {
    let (rotated, files) = &recording.rotated;
    json!({
        "churn_recorded_by_not": recording.ratios(),
        "churn_per_cpu_s_recorded_by_not": recording.cpu_ratios(),
        "churn_cpu_share_recorded_by_not": recording.share_ratios(),
        "bare": recording.bare.iter().map(churned).collect::<Vec<_>>(),
        "bytes_per_event": recording.bytes_per_event(),
        "cpu_us_per_event": recording.cpu_us_per_event(),
        "runs": recording.runs.iter().map(run).collect::<Vec<_>>(),
        "sustained": run(&recording.sustained),
        "rotated": { "files": files, "run": run(rotated) },
        "reports": recording.reports.iter().map(report).collect::<Vec<_>>(),
        "readings": recording.readings.iter().map(reading).collect::<Vec<_>>(),
    })
}

fn ratios(ratios: &[f64]) -> String {
    ratios.iter().map(|ratio| format!("{ratio:.3}")).collect::<Vec<_>>().join(" ")
}

fn bare_row(bare: &Churned) -> Vec<String> {
    let mut row = vec!["-".to_owned(); RUNS.len()];
    row[0] = "bare".into();
    row[1] = grouped(bare.done.rate().round() as u64);
    row[2] = us_per_connection(bare);
    row
}

fn us_per_connection(churned: &Churned) -> String {
    shown(Some(churned.cpu_s * 1e6 / churned.done.connections as f64), 1)
}

fn row(what: &str, run: &Run) -> Vec<String> {
    let Recorded { events, ring_full, missed, bytes } = run.recorded;
    let per_event = |value: f64| value / events.max(1) as f64;
    vec![
        what.into(),
        grouped(run.churned.done.rate().round() as u64),
        us_per_connection(&run.churned),
        grouped(events),
        shown(Some(per_event(bytes as f64)), 2),
        shown(Some(per_event(run.cpu_ns as f64 / 1e3)), 3),
        ring_full.to_string(),
        missed.map_or_else(|| "?".into(), |missed| missed.to_string()),
    ]
}

fn report_row(report: &Report) -> Vec<String> {
    let Report { reading, closes, told } = report;
    reading_row(reading, &format!("{}/{}", grouped(*told), grouped(*closes)))
}

fn reading_row(reading: &Reading, closes: &str) -> Vec<String> {
    let millions = |rate: Option<f64>| shown(rate.map(|rate| rate / 1e6), 2);
    vec![
        reading.what.into(),
        grouped(reading.events),
        millions(reading.per_cpu_s()),
        millions(Some(reading.per_s())),
        shown(Some(megabytes(reading.rss as f64)), 1),
        closes.into(),
    ]
}

fn run(run: &Run) -> Value {
    json!({
        "churn": churned(&run.churned),
        "cpu_ns": run.cpu_ns,
        "events": run.recorded.events,
        "bytes": run.recorded.bytes,
        "ring_full": run.recorded.ring_full,
        "missed": run.recorded.missed,
    })
}

fn churned(churned: &Churned) -> Value {
    json!({
        "connections": churned.done.connections,
        "connections_per_s": churned.done.rate(),
        "cpu_s": churned.cpu_s,
    })
}

fn report(report: &Report) -> Value {
    json!({ "closes": report.closes, "told": report.told, "reading": reading(&report.reading) })
}

fn reading(reading: &Reading) -> Value {
    json!({
        "what": reading.what.trim(),
        "events": reading.events,
        "seconds": reading.seconds,
        "cpu_s": reading.cpu_s,
        "rss_bytes": reading.rss,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::recording::tests::recording;
    use super::*;

    fn cells(text: &str, start: &str) -> Vec<String> {
        let line = text.lines().find(|line| line.starts_with(start)).expect("a row");
        line[start.len()..].split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn each_run_and_each_way_to_read_has_a_row() {
        let text = text(&recording());
        assert!(text.contains("1.000 1.000; a file a second: 3 files"), "{text}");
        let run = cells(&text, "one that lasts");
        assert_eq!(run, ["10,000", "100.0", "1,000", "5.00", "0.400", "0", "0"]);
        let long = cells(&text, "  long");
        assert_eq!(long, ["100,000", "4.00", "1.00", "25.0", "20,000/20,000"]);
        assert_eq!(cells(&text, "verify").last().map(String::as_str), Some("-"));
    }

    #[test]
    fn machines_get_it_unrounded() {
        let json = json(&recording());
        assert_eq!(json["reports"][1]["told"], 20_000);
        assert_eq!(json["rotated"]["files"], 3);
        assert_eq!(json["readings"][0]["what"], "verify");
    }
}
