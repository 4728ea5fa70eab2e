//! One object with everything, for machines. What is not known is null.

use serde_json::{Map, Value, json};

use super::super::knee::{Knee, Level};
use super::super::machine::Machine;
use super::super::plan::Plan;
use super::super::samples::{Failure, Memory};
use super::super::sampling::{Sampled, Sampling};
use super::super::snapshot::Seen;
use super::super::summary::{Figures, ProgramFigures, Summary};
use super::super::verdict::{self, Verdict};
use super::{endurances, growth, listings, models, recordings, screens, serving, tiers};

/// Everything, unrounded.
pub(in super::super) fn json(machine: &Machine, plan: &Plan, summary: &Summary) -> Value {
    json!({
        "machine": facts(machine),
        "quick": plan.quick,
        "rounds": plan.rounds,
        "connections_per_run": plan.connections,
        "bare": { "connections_per_s": summary.bare_rate },
        "tracers": summary.tracers.iter().map(tracer).collect::<Vec<_>>(),
        "programs": summary.programs.iter().map(program).collect::<Vec<_>>(),
        "memory": summary.memory.as_ref().map(memory),
        "knee": summary.knee.as_ref().map(knee),
        "sampling": summary.sampling.as_ref().map(sampling),
        "recording": summary.recording.as_ref().map(recordings::json),
        "screen": summary.screen.as_ref().map(screens::json),
        "serve": summary.serve.as_ref().map(serving::json),
        "states": summary.states.as_ref().map(listings::json),
        "lost": summary.endurance.as_ref().map(endurances::json),
        "scaling": growth::json(&summary.rates, summary.feed.as_ref(), &summary.population),
        "model": summary.model.as_ref().map(models::json),
        "tiers": summary.tiers.as_ref().map(tiers::json),
        "failures": summary.failures.iter().map(failure).collect::<Vec<_>>(),
        "verdicts": verdict::all(summary).iter().map(verdict).collect::<Vec<_>>(),
    })
}

fn facts(machine: &Machine) -> Value {
    let versions: Map<String, Value> = machine
        .versions
        .iter()
        .map(|(name, version)| ((*name).to_owned(), json!(version)))
        .collect();
    json!({
        "date": machine.date,
        "kernel": machine.kernel,
        "cpu": machine.cpu,
        "cores": machine.cores,
        "load": machine.load,
        "commit": machine.commit,
        "versions": versions,
    })
}

fn tracer(figures: &Figures) -> Value {
    json!({
        "name": figures.tracer.name(),
        "bpf_ns_per_run": figures.ns_per_run,
        "bpf_ns_per_transition": figures.ns_per_transition,
        "bpf_us_per_connection": figures.bpf_us,
        "connections_per_s": figures.rate,
        "churn_with_by_without": figures.ratio,
        "cpu_us_per_connection": figures.cpu_us,
        "cpu_us_per_transition": figures.cpu_us_per_transition,
        "rss_bytes": figures.rss,
        "seen": figures.seen.map(seen),
        "lost_told": figures.lost,
    })
}

fn failure(failure: &Failure) -> Value {
    json!({ "what": failure.what, "why": failure.why, "peer": failure.is_peers })
}

fn seen(seen: Seen) -> Value {
    json!({
        "transitions": seen.transitions,
        "ring_full": seen.ring_full,
        "missed": seen.missed,
        "unmatched": seen.unmatched,
        "evicted": seen.evicted,
    })
}

fn program(program: &ProgramFigures) -> Value {
    json!({
        "name": program.name,
        "runs_per_connection": program.runs,
        "ns_per_run": program.ns,
        "us_per_connection": program.us,
    })
}

fn memory(memory: &Memory) -> Value {
    json!({
        "time_wait_wanted": memory.wanted,
        "time_wait": memory.time_wait,
        "time_wait_known": memory.known,
        "rss_bytes": memory.rss,
        "seen": seen(memory.seen),
    })
}

fn knee(knee: &Knee) -> Value {
    let level = |level: &Level| self::level(knee, level);
    json!({
        "ports": knee.ports,
        "levels": knee.levels.iter().map(level).collect::<Vec<_>>(),
        "long": level(&knee.long),
    })
}

fn level(knee: &Knee, level: &Level) -> Value {
    let Level { percent, used, outside, searched } = level;
    json!({
        "used_pct": percent,
        "used": used,
        "client": {
            "connects": outside.connects,
            "mean_ns": outside.mean_ns(),
            "p50_ns": outside.p50_ns,
            "p99_ns": outside.p99_ns,
            "cpu_ns": outside.cpu_ns,
            "search_cpu_ns": knee.outside_cpu_ns(level),
            "elapsed_ns": outside.elapsed_ns,
        },
        "twtrace": {
            "searches": searched.count,
            "mean_ns": searched.mean_ns(),
            "p50_ns": searched.p50_ns,
            "p99_ns": searched.p99_ns,
            "samples": searched.samples,
            "hz": searched.hz,
            "search_cpu_ns": searched.cpu_ns(),
            "first_half": searched.first_half,
            "second_half": searched.second_half,
            "ports_used": searched.ports_used,
            "knee_in_s": searched.knee_in_s,
        },
    })
}

fn sampling(sampling: &Sampling) -> Value {
    json!({
        "cores": sampling.cores,
        "hz": sampling.hz,
        "loads": sampling.loads.iter().map(|load| sampled(load, sampling)).collect::<Vec<_>>(),
    })
}

fn sampled(sampled: &Sampled, &Sampling { cores, hz, .. }: &Sampling) -> Value {
    json!({
        "load": sampled.load.name(),
        "seconds": sampled.ran.elapsed.as_secs_f64(),
        "runs": sampled.ran.runs,
        "ns_per_run": sampled.ran.ns_per_run(),
        "runs_per_s_of_each_core": sampled.ran.rate(cores),
        "core_pct": sampled.ran.core_pct(hz),
        "met_a_search": sampled.met,
    })
}

fn verdict(verdict: &Verdict) -> Value {
    json!({
        "what": verdict.what.trim(),
        "figure": verdict.figure,
        "target": verdict.target,
        "verdict": verdict.word(),
    })
}
