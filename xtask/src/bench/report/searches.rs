//! Tables of port searches, and of what it costs to sample them.

use super::super::knee::{Knee, Level};
use super::super::number::{grouped, shown};
use super::super::sampling::{Sampled, Sampling};
use super::super::table;

const LEVELS: [&str; 11] = [
    "ports in use",
    "connects",
    "connect() µs",
    "p50",
    "p99",
    "search µs*",
    "p50*",
    "p99*",
    "CPU µs",
    "CPU µs*",
    "samples*",
];
const LOADS: [&str; 6] =
    ["sampling under", "ns/run", "runs/s of each core", "% of its core", "runs", "met a search"];

/// What connects cost at each level.
pub(super) fn knee(knee: &Knee) -> String {
    let rows: Vec<Vec<String>> = knee.all().map(|level| row(knee, level)).collect();
    format!(
        "connects towards one destination with {} ports, {} of them searched first: by the client's\n\
         own clocks, and * by twtrace, whose CPU samples are taken {} times a second. CPU is of the\n\
         search alone: of the client, what connect() takes more than with no port in use. The last\n\
         row is a longer run.\n{}\
         twtrace's ports in use: {}; past half of them: {}\n",
        grouped(knee.ports),
        grouped(knee.ports / 2),
        knee.long.searched.hz,
        table::render(&LEVELS, &rows),
        each(knee, |level| grouped(level.searched.ports_used)),
        each(knee, |level| known_past(level).into())
    )
}

/// What each load made the program cost.
pub(super) fn sampling(sampling: &Sampling) -> String {
    let rows: Vec<Vec<String>> =
        sampling.loads.iter().map(|load| load_row(load, sampling)).collect();
    format!(
        "{} cores, each looked at {} times a second, less often while it is idle;\n\
         kernel.bpf_stats_enabled=1\n{}",
        sampling.cores,
        sampling.hz,
        table::render(&LOADS, &rows)
    )
}

fn row(knee: &Knee, level: &Level) -> Vec<String> {
    let Level { percent, used, outside, searched } = level;
    let us = |ns: Option<f64>| shown(ns.map(|ns| ns / 1e3), 1);
    let whole = |ns: u64| us(Some(ns as f64));
    let cpu = knee.outside_cpu_ns(level).map(|ns| ns / outside.connects.max(1) as f64);
    vec![
        format!("{percent} %, {}", grouped(*used)),
        grouped(outside.connects),
        us(outside.mean_ns()),
        whole(outside.p50_ns),
        whole(outside.p99_ns),
        us(searched.mean_ns()),
        whole(searched.p50_ns),
        whole(searched.p99_ns),
        us(cpu),
        us(searched.mean_cpu_ns()),
        grouped(searched.samples),
    ]
}

fn each(knee: &Knee, show: impl Fn(&Level) -> String) -> String {
    knee.all().map(show).collect::<Vec<_>>().join(" ")
}

fn known_past(level: &Level) -> &'static str {
    if level.known_past() { "yes" } else { "no" }
}

fn load_row(sampled: &Sampled, &Sampling { cores, hz, .. }: &Sampling) -> Vec<String> {
    let ran = sampled.ran;
    vec![
        sampled.load.name().into(),
        shown(ran.ns_per_run(), 0),
        shown(Some(ran.rate(cores)), 1),
        shown(ran.core_pct(hz), 3),
        grouped(ran.runs),
        grouped(sampled.met),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::super::knee::tests as knees;
    use super::super::super::sampling::{Load, tests as samplings};
    use super::*;

    #[test]
    fn each_level_has_both_views() {
        let text = knee(&knees::knee());
        let line = text.lines().find(|line| line.starts_with("51 %")).expect("a row");
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(cells[..5], ["51", "%,", "510", "1,000", "2010.0"]);
        assert_eq!(cells[7..], ["2000.0", "0.0", "0.0", "2000.0", "2000.0", "200"]);
        assert!(text.contains("no no yes yes"), "{text}");
    }

    #[test]
    fn a_load_has_its_share_of_each_core() {
        let loads = vec![samplings::sampled(Load::Idle, 6_000)];
        let text = sampling(&Sampling { cores: 2, hz: 99, loads });
        let line = text.lines().find(|line| line.starts_with("idle")).expect("a row");
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(cells, ["idle", "6000", "99.0", "0.059", "1,980", "0"]);
    }
}
