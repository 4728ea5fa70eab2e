//! What the runs come to: medians.

use super::churn::Done;
use super::endurance::Endurance;
use super::feed::Feed;
use super::knee::Knee;
use super::model::Model;
use super::number::median;
use super::population::Population;
use super::programs::Program;
use super::rates::Rate;
use super::recording::Recording;
use super::samples::{Failure, Memory, OfTracer, Run, Samples};
use super::sampling::Sampling;
use super::screen::Screen;
use super::serve::Serve;
use super::snapshot::Seen;
use super::states::States;
use super::tracer::Tracer;
use crate::vm::Tiers;

/// How far the runs of the program for transitions may be from the transitions counted: those of
/// sockets that are not TCP run it and are not counted, nor are those to the same state.
const NEAR: f64 = 0.02;

/// Everything that is reported.
#[derive(Default)]
pub(super) struct Summary {
    /// Connections per second without a tracer
    pub(super) bare_rate: Option<f64>,
    /// Each tracer
    pub(super) tracers: Vec<Figures>,
    /// Each program of twtrace
    pub(super) programs: Vec<ProgramFigures>,
    /// The run with many TIME_WAIT sockets
    pub(super) memory: Option<Memory>,
    /// Connects while the ports run out
    pub(super) knee: Option<Knee>,
    /// What CPU samples cost
    pub(super) sampling: Option<Sampling>,
    /// What recordings cost
    pub(super) recording: Option<Recording>,
    /// What the screen costs
    pub(super) screen: Option<Screen>,
    /// What serving metrics costs
    pub(super) serve: Option<Serve>,
    /// What listing sockets costs
    pub(super) states: Option<States>,
    /// A minute of connections, recorded
    pub(super) endurance: Option<Endurance>,
    /// What it costs as connections come faster
    pub(super) rates: Vec<Rate>,
    /// What events cost user space
    pub(super) feed: Option<Feed>,
    /// What it costs as TIME_WAIT sockets grow
    pub(super) population: Vec<Population>,
    /// What all of it comes to on a larger host
    pub(super) model: Option<Model>,
    /// What the tiers cost
    pub(super) tiers: Option<Tiers>,
    /// What could not be measured, and why
    pub(super) failures: Vec<Failure>,
}

/// One tracer.
pub(super) struct Figures {
    /// Which
    pub(super) tracer: Tracer,
    /// Connections per second with it
    pub(super) rate: Option<f64>,
    /// That by the rate without it, pair by pair
    pub(super) ratio: Option<f64>,
    /// BPF time of a run of a program
    pub(super) ns_per_run: Option<f64>,
    /// BPF time of a connection
    pub(super) bpf_us: Option<f64>,
    /// BPF time of a run of the one program that runs once per transition
    pub(super) ns_per_transition: Option<f64>,
    /// CPU time of its process for a connection
    pub(super) cpu_us: Option<f64>,
    /// The same for a transition, if it counts them
    pub(super) cpu_us_per_transition: Option<f64>,
    /// Its memory after a run, in bytes
    pub(super) rss: Option<f64>,
    /// What it saw and lost in all runs, if it tells
    pub(super) seen: Option<Seen>,
    /// Events that others said they lost, in a run whose output was kept
    pub(super) lost: Option<f64>,
}

/// One BPF program.
pub(super) struct ProgramFigures {
    /// Its name in the object
    pub(super) name: String,
    /// How often it runs for a connection
    pub(super) runs: Option<f64>,
    /// How long each time; nothing if it never ran
    pub(super) ns: Option<f64>,
    /// How long for a connection
    pub(super) us: Option<f64>,
}

impl Summary {
    /// Of all samples.
    pub(super) fn of(samples: &Samples) -> Self {
        let ours = samples.tracers.iter().find(|of| of.tracer == Tracer::Twtrace);
        // What a filter passes over is not counted as a transition, and has the same program.
        let on_transitions = ours
            .and_then(|of| of.cost.iter().find_map(Run::on_transitions))
            .map(|program| program.name.as_str());
        let summary = Self {
            bare_rate: median(samples.bare.iter().map(|done| done.rate())),
            tracers: samples.tracers.iter().map(|of| Figures::of(of, on_transitions)).collect(),
            programs: ours.map(|of| program_figures(&of.cost)).unwrap_or_default(),
            memory: samples.memory.clone(),
            knee: samples.knee.clone(),
            sampling: samples.sampling.clone(),
            recording: samples.recording.clone(),
            screen: samples.screen.clone(),
            serve: samples.serve.clone(),
            states: samples.states.clone(),
            endurance: samples.endurance.clone(),
            rates: samples.rates.clone(),
            feed: samples.feed.clone(),
            population: samples.population.clone(),
            model: None,
            tiers: None,
            failures: samples.failures.clone(),
        };
        Self { model: Model::of(&summary), ..summary }
    }

    /// What twtrace saw and lost in all its runs, if there was one.
    pub(super) fn seen(&self) -> Option<Seen> {
        let compared = self.tracer(Tracer::Twtrace).and_then(|ours| ours.seen);
        let all: Vec<Seen> =
            compared.into_iter().chain(self.memory.as_ref().map(|memory| memory.seen)).collect();
        (!all.is_empty()).then(|| all.into_iter().sum())
    }

    /// The figures of that tracer, if it was run.
    pub(super) fn tracer(&self, tracer: Tracer) -> Option<&Figures> {
        self.tracers.iter().find(|figures| figures.tracer == tracer)
    }
}

impl Figures {
    fn of(of: &OfTracer, on_transitions: Option<&str>) -> Self {
        // Of what is not compared with runs beside nothing there are no others.
        let used = if of.speed.is_empty() { &of.cost } else { &of.speed };
        let runs = of.speed.iter().chain(&of.cost);
        Self {
            tracer: of.tracer,
            rate: median(of.speed.iter().map(|run| run.done.rate())),
            ratio: median(of.ratios.iter().copied()),
            ns_per_run: median(of.cost.iter().filter_map(Run::ns_per_run)),
            bpf_us: median(of.cost.iter().map(|run| us_per(run.ns(), run.done))),
            ns_per_transition: median(of.cost.iter().filter_map(|run| {
                let by_name = || run.programs.iter().find(|it| on_transitions == Some(&it.name));
                let is_filtered = Tracer::FILTERED.contains(&of.tracer);
                let program = if is_filtered { by_name() } else { run.on_transitions() }?;
                per(program.ns, program.runs)
            })),
            cpu_us: median(used.iter().map(|run| us_per(run.cpu_ns, run.done))),
            cpu_us_per_transition: median(used.iter().filter_map(Run::cpu_us_per_transition)),
            rss: median(used.iter().filter_map(|run| Some(run.rss? as f64))),
            seen: runs.map(|run| run.seen).sum(),
            lost: median(of.cost.iter().filter_map(|run| Some(run.lost? as f64))),
        }
    }
}

impl Run {
    fn ns(&self) -> u64 {
        self.programs.iter().map(|program| program.ns).sum()
    }

    fn ns_per_run(&self) -> Option<f64> {
        per(self.ns(), self.programs.iter().map(|program| program.runs).sum())
    }

    /// A tracer with one program has it on transitions. Of several it is the one that ran as
    /// often as twtrace counted transitions: no name is needed, and a mean over programs for
    /// timers and transitions would say nothing about either.
    fn on_transitions(&self) -> Option<&Program> {
        match (&self.programs[..], self.seen) {
            ([only], _) => Some(only),
            (programs, Some(seen)) => {
                let away = |runs: u64| runs.abs_diff(seen.transitions);
                let nearest = programs.iter().min_by_key(|program| away(program.runs))?;
                let limit = seen.transitions as f64 * NEAR;
                (away(nearest.runs) as f64 <= limit).then_some(nearest)
            }
            (_, None) => None,
        }
    }

    fn cpu_us_per_transition(&self) -> Option<f64> {
        Some(per(self.cpu_ns, self.seen?.transitions)? / 1e3)
    }
}

/// Programs have other ids in every run, so they are told apart by name.
fn program_figures(runs: &[Run]) -> Vec<ProgramFigures> {
    let mut names: Vec<&str> = Vec::new();
    for program in runs.iter().flat_map(|run| &run.programs) {
        if !names.contains(&program.name.as_str()) {
            names.push(&program.name);
        }
    }
    names.into_iter().map(|name| program_figure(name, runs)).collect()
}

fn program_figure(name: &str, runs: &[Run]) -> ProgramFigures {
    let of_name: Vec<_> = runs
        .iter()
        .flat_map(|run| run.programs.iter().map(move |program| (run.done, program)))
        .filter(|(_, program)| program.name == name)
        .collect();
    ProgramFigures {
        name: name.to_owned(),
        runs: median(of_name.iter().map(|(done, p)| p.runs as f64 / done.connections as f64)),
        ns: median(of_name.iter().filter_map(|(_, p)| per(p.ns, p.runs))),
        us: median(of_name.iter().map(|(done, p)| us_per(p.ns, *done))),
    }
}

fn us_per(ns: u64, done: Done) -> f64 {
    ns as f64 / 1e3 / done.connections as f64
}

fn per(sum: u64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum as f64 / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(programs: &[(&str, u64, u64)], transitions: Option<u64>) -> Run {
        Run {
            done: Done { connections: 100, seconds: 0.01 },
            cpu_ns: 50_000,
            rss: Some(1_000_000),
            programs: programs
                .iter()
                .map(|&(name, runs, ns)| Program::of(name, runs, ns))
                .collect(),
            seen: transitions.map(|transitions| Seen { transitions, ..Seen::default() }),
            lost: None,
        }
    }

    fn of(cost: Vec<Run>) -> Figures {
        let speed = cost.clone();
        let ratios = vec![0.9, 1.0, 0.8];
        Figures::of(&OfTracer { tracer: Tracer::Twtrace, ratios, speed, cost }, None)
    }

    fn near(value: Option<f64>, wanted: f64) -> bool {
        value.is_some_and(|value| (value - wanted).abs() < 1e-9)
    }

    #[test]
    fn figures_are_medians_per_connection() {
        let cost = [100_000, 300_000, 200_000]
            .map(|ns| run(&[("state", 1_000, ns)], Some(1_000)))
            .to_vec();
        let figures = of(cost);
        assert!(near(figures.ratio, 0.9));
        assert!(near(figures.ns_per_run, 200.0));
        assert!(near(figures.bpf_us, 2.0));
        assert!(near(figures.cpu_us, 0.5));
        assert!(near(figures.cpu_us_per_transition, 0.05));
        assert_eq!(figures.seen.map(|seen| seen.transitions), Some(6_000));
    }

    #[test]
    fn the_program_for_transitions_is_found_by_its_runs() {
        let programs = [("timer", 1_300, 26_000), ("state", 1_003, 210_630), ("ops", 900, 9_000)];
        let figures = of(vec![run(&programs, Some(1_000))]);
        assert!(near(figures.ns_per_transition, 210.0));
        let unlike = of(vec![run(&programs[..1], Some(1_000)), run(&programs, Some(500))]);
        assert!(near(unlike.ns_per_transition, 20.0), "one program is on transitions by itself");
        assert!(of(vec![run(&programs, None)]).ns_per_transition.is_none());
    }

    #[test]
    fn what_passes_over_transitions_has_the_same_program() {
        let programs = [("idle", 0, 0), ("timer", 1_000, 20_000), ("state", 1_000, 90_000)];
        let cost = vec![run(&programs, Some(0))];
        let filtered = OfTracer { tracer: Tracer::OtherPid, ratios: vec![], speed: vec![], cost };
        assert!(near(Figures::of(&filtered, Some("state")).ns_per_transition, 90.0));
        assert!(Figures::of(&filtered, None).ns_per_transition.is_none());
    }

    #[test]
    fn each_program_has_its_own_figures() {
        let runs = [run(&[("state", 1_000, 200_000), ("idle", 0, 0)], None)];
        let figures = program_figures(&runs);
        assert_eq!(figures.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["state", "idle"]);
        assert!(near(figures[0].runs, 10.0) && near(figures[0].us, 2.0));
        assert!(near(figures[1].runs, 0.0) && figures[1].ns.is_none());
    }

    #[test]
    fn a_tracer_that_does_not_tell_has_no_losses() {
        assert!(of(vec![run(&[("state", 1, 1)], None)]).seen.is_none());
    }
}
