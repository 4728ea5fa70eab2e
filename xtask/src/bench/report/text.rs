//! Text to paste.

use super::super::machine::Machine;
use super::super::measure::Memory;
use super::super::number::{grouped, megabytes, shown};
use super::super::plan::Plan;
use super::super::snapshot::Seen;
use super::super::summary::{Figures, ProgramFigures, Summary};
use super::super::table;
use super::super::verdict;
use super::{listings, recordings, screens, searches, serving};

const TRACERS: [&str; 8] = [
    "tracer",
    "BPF ns/run",
    "BPF µs/conn",
    "churn with/without",
    "conn/s",
    "own CPU µs/conn",
    "RSS MB",
    "lost*",
];
const LOSSES: &str = "ring_full/missed/unmatched/evicted";
const PROGRAMS: [&str; 4] = ["program of twtrace", "runs/conn", "ns/run", "µs/conn"];
const VERDICTS: [&str; 4] = ["target", "figure", "wanted", "verdict"];

/// Everything, in paragraphs.
pub(in super::super) fn text(machine: &Machine, plan: &Plan, summary: &Summary) -> String {
    let mut parts = vec![facts(machine)];
    if summary.bare_rate.is_some() {
        parts.extend([method(plan), tracers(summary)]);
    }
    if !summary.programs.is_empty() {
        parts.push(programs(summary));
    }
    parts.extend(summary.memory.as_ref().map(memory));
    parts.extend(summary.knee.as_ref().map(searches::knee));
    parts.extend(summary.sampling.as_ref().map(searches::sampling));
    parts.extend(summary.recording.as_ref().map(recordings::text));
    parts.extend(summary.screen.as_ref().map(screens::text));
    parts.extend(summary.serve.as_ref().map(serving::text));
    parts.extend(summary.states.as_ref().map(listings::text));
    parts.extend(verdicts(summary));
    parts.join("\n")
}

fn facts(machine: &Machine) -> String {
    let Machine { date, kernel, cpu, cores, load, versions } = machine;
    let version = |(name, version): &(&str, Option<String>)| {
        format!("{name} {}", version.as_deref().unwrap_or("-"))
    };
    let versions: Vec<String> = versions.iter().map(version).collect();
    format!(
        "twtrace bench, {date}\nLinux {kernel}, {cpu}, {cores} cores, load before {load}\n{}\n",
        versions.join(", ")
    )
}

fn method(plan: &Plan) -> String {
    let kind = if plan.quick { "quick, for a look only: " } else { "" };
    format!(
        "{kind}medians of {} rounds of {} loopback connections: one client thread, a byte each\n\
         way, the client closes first, both ends on this host, every run in a fresh network namespace.\n\
         churn, own CPU and RSS are from runs with kernel.bpf_stats_enabled=0; BPF time is from other\n\
         runs with it at 1, which adds some 60 ns to each run of a program. Losses: of both kinds.\n\
         What a TIME_WAIT costs when it ends, a minute later, is in none of them.\n",
        plan.rounds,
        grouped(plan.connections)
    )
}

fn tracers(summary: &Summary) -> String {
    let mut bare = vec!["-".to_owned(); TRACERS.len()];
    bare[0] = "bare".into();
    bare[3] = "1.000".into();
    bare[4] = rate(summary.bare_rate);
    let rows: Vec<Vec<String>> =
        [bare].into_iter().chain(summary.tracers.iter().map(tracer)).collect();
    format!("{}* {LOSSES}, as twtrace tells in its snapshots\n", table::render(&TRACERS, &rows))
}

fn tracer(figures: &Figures) -> Vec<String> {
    vec![
        figures.tracer.name().into(),
        shown(figures.ns_per_run, 0),
        shown(figures.bpf_us, 2),
        shown(figures.ratio, 3),
        rate(figures.rate),
        shown(figures.cpu_us, 2),
        shown(figures.rss.map(megabytes), 1),
        figures.seen.map_or_else(|| "-".into(), losses),
    ]
}

fn losses(seen: Seen) -> String {
    let missed = seen.missed.map_or_else(|| "?".into(), |missed| missed.to_string());
    format!("{}/{missed}/{}/{}", seen.ring_full, seen.unmatched, seen.evicted)
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".into(), |rate| grouped(rate.round() as u64))
}

fn programs(summary: &Summary) -> String {
    let row = |program: &ProgramFigures| {
        vec![
            program.name.clone(),
            shown(program.runs, 2),
            shown(program.ns, 0),
            shown(program.us, 3),
        ]
    };
    table::render(&PROGRAMS, &summary.programs.iter().map(row).collect::<Vec<_>>())
}

fn memory(memory: &Memory) -> String {
    let known = memory.known.map_or_else(
        || "which this twtrace does not count".into(),
        |known| format!("of which twtrace knew {}", grouped(known)),
    );
    format!(
        "memory: {:.1} MB RSS of twtrace with {} TIME_WAIT sockets, {known};\n\
         lost {} of {} transitions ({LOSSES})\n",
        megabytes(memory.rss as f64),
        grouped(memory.time_wait),
        losses(memory.seen),
        grouped(memory.seen.transitions)
    )
}

fn verdicts(summary: &Summary) -> Option<String> {
    let verdicts = verdict::all(summary);
    if verdicts.is_empty() {
        return None;
    }
    let row = |verdict: &verdict::Verdict| {
        let word = verdict.word().to_owned();
        vec![verdict.what.to_owned(), verdict.figure.clone(), verdict.target.clone(), word]
    };
    Some(table::render(&VERDICTS, &verdicts.iter().map(row).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_in_the_order_of_their_legend() {
        let seen = Seen { transitions: 9, ring_full: 1, missed: Some(2), unmatched: 3, evicted: 4 };
        assert_eq!(losses(seen), "1/2/3/4");
        assert_eq!(losses(Seen { missed: None, ..seen }), "1/?/3/4");
    }

    #[test]
    fn memory_alone_has_no_table_of_tracers() {
        let memory = Memory {
            wanted: 600_000,
            time_wait: 599_000,
            known: None,
            rss: 53_000_000,
            seen: Seen { transitions: 6_000_000, missed: Some(0), ..Seen::default() },
        };
        let summary = Summary { memory: Some(memory), ..Summary::default() };
        let machine = Machine {
            date: "today".into(),
            kernel: "6.18".into(),
            cpu: "EPYC".into(),
            cores: 2,
            load: "0 0 0".into(),
            versions: vec![("rustc", None)],
        };
        let text = text(&machine, &Plan::new(true, &[]), &summary);
        assert!(text.contains("53.0 MB RSS of twtrace with 599,000 TIME_WAIT"), "{text}");
        assert!(text.contains("lost 0/0/0/0 of 6,000,000 transitions"), "{text}");
        assert!(!text.contains("bare") && text.contains("rustc -"), "{text}");
    }
}
