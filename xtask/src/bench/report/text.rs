//! Text to paste.

use super::super::machine::Machine;
use super::super::model::Model;
use super::super::number::{grouped, megabytes, shown};
use super::super::plan::{Plan, Row};
use super::super::samples::{Failure, Memory};
use super::super::snapshot::Seen;
use super::super::summary::{Figures, ProgramFigures, Summary};
use super::super::table::{self, Render};
use super::super::tracer::Tracer;
use super::super::verdict::{self, Verdict};
use super::{
    comparison, endurances, growth, listings, models, recordings, screens, searches, serving, tiers,
};

const TRACERS: [&str; 8] = [
    "tracer",
    "BPF ns/run",
    "BPF µs/conn",
    "churn with/without",
    "conn/s",
    "own CPU µs/conn",
    "RSS MB",
    "lost",
];
const LOSSES: &str = "ring_full/missed/unmatched/evicted";
const PROGRAMS: [&str; 4] = ["program of twtrace", "runs/conn", "ns/run", "µs/conn"];
const FILTERED: [&str; 5] =
    ["asked for", "BPF ns/transition", "over an empty one", "BPF µs/conn", "own CPU µs/conn"];
const VERDICTS: [&str; 4] = ["target", "figure", "wanted", "verdict"];

/// Everything, in paragraphs.
pub(in super::super) fn text(machine: &Machine, plan: &Plan, summary: &Summary) -> String {
    let mut parts = vec![facts(machine)];
    if summary.bare_rate.is_some() {
        parts.extend([method(plan), tracers(summary, table::render)]);
    }
    parts.extend(comparison::text(summary, table::render));
    if !summary.programs.is_empty() {
        parts.push(programs(summary, table::render));
    }
    parts.extend(filtered(summary, table::render));
    parts.extend(summary.memory.as_ref().map(memory));
    parts.extend(summary.knee.as_ref().map(searches::knee));
    parts.extend(summary.sampling.as_ref().map(searches::sampling));
    parts.extend(summary.recording.as_ref().map(recordings::text));
    parts.extend(summary.screen.as_ref().map(screens::text));
    parts.extend(summary.serve.as_ref().map(serving::text));
    parts.extend(summary.states.as_ref().map(listings::text));
    parts.extend(summary.endurance.as_ref().map(|run| endurances::text(run, table::render)));
    parts.extend(growing(summary));
    parts.extend(summary.model.as_ref().map(modelled));
    parts.extend(summary.tiers.as_ref().map(|it| tiers::text(it, table::render)));
    parts.extend(summary.failures.iter().map(failure));
    let verdicts = verdict::all(summary);
    if !verdicts.is_empty() {
        parts.push(self::verdicts(&verdicts, table::render));
    }
    parts.join("\n")
}

fn facts(machine: &Machine) -> String {
    let Machine { date, kernel, cpu, cores, load, commit, versions } = machine;
    let commit = commit.as_deref().unwrap_or("unknown");
    let version = |(name, version): &(&str, Option<String>)| {
        format!("{name} {}", version.as_deref().unwrap_or("-"))
    };
    let versions: Vec<String> = versions.iter().map(version).collect();
    format!(
        "twtrace bench at {commit}, {date}\nLinux {kernel}, {cpu}, {cores} cores, load before {load}\n{}\n",
        versions.join(", ")
    )
}

/// How the tracers are compared.
pub(super) fn method(plan: &Plan) -> String {
    let kind = if plan.quick { "quick, for a look only: " } else { "" };
    format!(
        "{kind}medians of {} rounds (of 2, of what no target names) of {} loopback connections: one\n\
         client thread, a byte each way, the client closes first, both ends on this host, every run in a fresh network namespace.\n\
         churn, own CPU and RSS are from runs with kernel.bpf_stats_enabled=0; BPF time is from other\n\
         runs with it at 1, which adds some 60 ns to each run of a program. Losses: of both kinds.\n\
         What a TIME_WAIT costs when it ends, a minute later, is in none of them.\n",
        plan.rounds,
        grouped(plan.connections)
    )
}

/// Every tracer that is compared.
pub(super) fn tracers(summary: &Summary, render: Render) -> String {
    let mut bare = vec!["-".to_owned(); TRACERS.len()];
    bare[0] = "bare".into();
    bare[3] = "1.000".into();
    bare[4] = rate(summary.bare_rate);
    let rows: Vec<Vec<String>> = [bare].into_iter().chain(compared(summary).map(tracer)).collect();
    format!(
        "{}\nLost: {LOSSES}, as twtrace tells in its snapshots; of others, what they say they\n\
         lost in a run.\n",
        render(&TRACERS, &rows)
    )
}

/// Those that pass over what happens have a table of their own.
fn compared(summary: &Summary) -> impl Iterator<Item = &Figures> {
    summary.tracers.iter().filter(|figures| figures.tracer.row() != Row::Filtered)
}

/// What passes over what happens, and what does nothing; nothing if none was run.
pub(super) fn filtered(summary: &Summary, render: Render) -> Option<String> {
    let floor = summary.tracer(Tracer::Nothing).and_then(|figures| figures.ns_per_transition);
    let row = |figures: &Figures| {
        let over = figures.ns_per_transition.zip(floor).map(|(ns, floor)| ns - floor);
        vec![
            figures.tracer.name().to_owned(),
            shown(figures.ns_per_transition, 0),
            shown(over, 0),
            shown(figures.bpf_us, 2),
            shown(figures.cpu_us, 2),
        ]
    };
    let shown = [Tracer::Twtrace].into_iter().chain(Tracer::FILTERED).chain([Tracer::Nothing]);
    let rows: Vec<Vec<String>> = shown.filter_map(|it| summary.tracer(it)).map(row).collect();
    let any = Tracer::FILTERED.into_iter().any(|it| summary.tracer(it).is_some());
    any.then(|| render(&FILTERED, &rows))
}

fn growing(summary: &Summary) -> Vec<String> {
    let mut parts = Vec::new();
    if !summary.rates.is_empty() {
        let saturation = growth::saturation(&summary.rates);
        parts.push(format!("{}{saturation}\n", growth::rates(&summary.rates, table::render)));
    }
    parts.extend(summary.feed.as_ref().map(|feed| growth::feed(feed, table::render)));
    if !summary.population.is_empty() {
        let each = growth::each(&summary.population).unwrap_or_default();
        parts.push(format!("{}{each}\n", growth::population(&summary.population, table::render)));
    }
    parts
}

fn modelled(model: &Model) -> String {
    let [costs, bounds, loads] =
        [models::costs, models::bounds, models::loads].map(|of| of(model, table::render));
    format!("{costs}\n{}\n{bounds}\n{loads}", models::sentence(model).unwrap_or_default())
}

fn failure(failure: &Failure) -> String {
    let word = if failure.is_peers { "unavailable" } else { "failed" };
    format!("{}: {word}: {}\n", failure.what, failure.why)
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
        figures.seen.map(losses).or_else(|| told(figures.lost)).unwrap_or_else(|| "-".into()),
    ]
}

fn losses(seen: Seen) -> String {
    let missed = seen.missed.map_or_else(|| "?".into(), |missed| missed.to_string());
    format!("{}/{missed}/{}/{}", seen.ring_full, seen.unmatched, seen.evicted)
}

fn told(lost: Option<f64>) -> Option<String> {
    lost.map(|lost| grouped(lost.round() as u64))
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".into(), |rate| grouped(rate.round() as u64))
}

/// What each program costs.
pub(super) fn programs(summary: &Summary, render: Render) -> String {
    let row = |program: &ProgramFigures| {
        vec![
            program.name.clone(),
            shown(program.runs, 2),
            shown(program.ns, 0),
            shown(program.us, 3),
        ]
    };
    render(&PROGRAMS, &summary.programs.iter().map(row).collect::<Vec<_>>())
}

/// What many sockets cost.
pub(super) fn memory(memory: &Memory) -> String {
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

/// Every target.
pub(super) fn verdicts(verdicts: &[Verdict], render: Render) -> String {
    let row = |verdict: &Verdict| {
        let word = verdict.word().to_owned();
        vec![verdict.what.to_owned(), verdict.figure.clone(), verdict.target.clone(), word]
    };
    render(&VERDICTS, &verdicts.iter().map(row).collect::<Vec<_>>())
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
            commit: None,
            versions: vec![("rustc", None)],
        };
        let text = text(&machine, &Plan::new(true, &[]), &summary);
        assert!(text.contains("53.0 MB RSS of twtrace with 599,000 TIME_WAIT"), "{text}");
        assert!(text.contains("lost 0/0/0/0 of 6,000,000 transitions"), "{text}");
        assert!(!text.contains("bare") && text.contains("rustc -"), "{text}");
    }
}
