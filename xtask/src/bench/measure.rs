//! The runs, one after the other.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::binaries::Binaries;
use super::bpf_stats::BpfStats;
use super::churn::{Churn, DESTINATIONS, Done};
use super::knee::Knee;
use super::number::grouped;
use super::plan::{Pair, Plan};
use super::process;
use super::programs::{self, Program};
use super::recording::Recording;
use super::sampling::Sampling;
use super::screen::Screen;
use super::serve::Serve;
use super::snapshot::Seen;
use super::states::States;
use super::tracer::Tracer;

/// Quiet time before the connections and after them. Before, a kernel worker may still take apart
/// the namespace of the last run; after, the tracer works off what it has not read yet, which
/// belongs to its cost. This run's namespace stays until then: that its TIME_WAIT sockets all end
/// at once is the bench's doing, not a connection's.
const SETTLE: Duration = Duration::from_secs(1);

/// What runs need.
pub(super) struct Bench {
    /// What is started
    pub(super) binaries: Binaries,
    /// The switch between the two kinds of runs
    pub(super) stats: BpfStats,
}

/// What all runs gave.
#[derive(Default)]
pub(super) struct Samples {
    /// Every run without a tracer
    pub(super) bare: Vec<Done>,
    /// Each tracer, in the order of its first run
    pub(super) tracers: Vec<OfTracer>,
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
}

/// The runs of one tracer.
pub(super) struct OfTracer {
    /// Which
    pub(super) tracer: Tracer,
    /// Its rate by that of the run without it, of each pair
    pub(super) ratios: Vec<f64>,
    /// Runs with the kernel's statistics off
    pub(super) speed: Vec<Run>,
    /// Runs with them on
    pub(super) cost: Vec<Run>,
}

/// One run with a tracer.
#[derive(Clone)]
pub(super) struct Run {
    /// The connections
    pub(super) done: Done,
    /// CPU time of the tracer's process, user and kernel
    pub(super) cpu_ns: u64,
    /// Its memory afterwards, in bytes
    pub(super) rss: u64,
    /// What its BPF programs did
    pub(super) programs: Vec<Program>,
    /// What it saw, if it is ours
    pub(super) seen: Option<Seen>,
}

/// The run with many TIME_WAIT sockets.
#[derive(Clone)]
pub(super) struct Memory {
    /// How many were wanted
    pub(super) wanted: u64,
    /// How many there were, as the kernel counts them
    pub(super) time_wait: u64,
    /// How many twtrace knew of; nothing if it cannot tell
    pub(super) known: Option<u64>,
    /// Its memory then, in bytes
    pub(super) rss: u64,
    /// What it saw and lost until then
    pub(super) seen: Seen,
}

/// What of a tracer is read before and after the connections.
struct Reading {
    cpu_ns: u64,
    programs: Vec<Program>,
}

impl Bench {
    /// Does what is planned; says on the error output how far it is.
    pub(super) fn run(&self, plan: &Plan) -> Result<Samples> {
        let mut samples = Samples::default();
        for round in 0..plan.rounds {
            self.speed(plan, round, &mut samples)?;
            self.cost(plan, round, &mut samples)?;
        }
        if let Some(sockets) = plan.memory {
            eprintln!("memory: making {} TIME_WAIT sockets", grouped(sockets));
            samples.memory = Some(self.stats.during(false, || self.memory(sockets))?);
        }
        if let Some(knee) = plan.knee {
            samples.knee = Some(self.stats.during(false, || knee.run(&self.binaries))?);
        }
        if let Some(sampling) = plan.sampling {
            samples.sampling = Some(self.stats.during(true, || sampling.run(&self.binaries))?);
        }
        if let Some(recording) = plan.recording {
            samples.recording = Some(self.stats.during(false, || recording.run(&self.binaries))?);
        }
        if let Some(screen) = plan.screen {
            samples.screen = Some(self.stats.during(false, || screen.run(&self.binaries))?);
        }
        if let Some(serve) = plan.serve {
            samples.serve = Some(self.stats.during(false, || serve.run(&self.binaries))?);
        }
        if let Some(states) = plan.states {
            samples.states = Some(self.stats.during(false, || states.run(&self.binaries))?);
        }
        Ok(samples)
    }

    fn speed(&self, plan: &Plan, round: usize, samples: &mut Samples) -> Result<()> {
        let churn = plan.churn();
        for pair in plan.pairs(round) {
            progress(plan, round, &format!("churn beside {}", pair.tracer.name()));
            let (bare, run) = self.stats.during(false, || self.pair(pair, &churn))?;
            samples.bare.push(bare);
            let of = samples.of(pair.tracer);
            of.ratios.push(run.done.rate() / bare.rate());
            of.speed.push(run);
        }
        if plan.only_bare() {
            progress(plan, round, "churn without a tracer");
            samples.bare.push(self.stats.during(false, || self.without(&churn))?);
        }
        Ok(())
    }

    fn cost(&self, plan: &Plan, round: usize, samples: &mut Samples) -> Result<()> {
        for tracer in plan.tracers(round) {
            progress(plan, round, &format!("BPF time of {}", tracer.name()));
            let run = self.stats.during(true, || self.with(tracer, &plan.churn()))?;
            samples.of(tracer).cost.push(run);
        }
        Ok(())
    }

    fn pair(&self, pair: Pair, churn: &Churn) -> Result<(Done, Run)> {
        if pair.bare_first {
            let bare = self.without(churn)?;
            return Ok((bare, self.with(pair.tracer, churn)?));
        }
        let run = self.with(pair.tracer, churn)?;
        Ok((self.without(churn)?, run))
    }

    fn without(&self, churn: &Churn) -> Result<Done> {
        thread::sleep(SETTLE);
        churn.run(&self.binaries.peer)?.release()
    }

    fn with(&self, tracer: Tracer, churn: &Churn) -> Result<Run> {
        let running = tracer.start(&self.binaries.twtrace)?;
        thread::sleep(SETTLE);
        let before = Reading::of(running.pid())?;
        let held = churn.run(&self.binaries.peer)?;
        thread::sleep(SETTLE);
        let after = Reading::of(running.pid())?;
        let rss = process::rss(running.pid())?;
        let done = held.release()?;
        if after.programs.is_empty() {
            bail!("{} holds no BPF program: it traces nothing", tracer.name());
        }
        let snapshots = running.stop()?;
        Ok(Run {
            done,
            cpu_ns: after.cpu_ns.saturating_sub(before.cpu_ns),
            rss,
            programs: programs::since(&before.programs, after.programs),
            seen: snapshots.map(|snapshots| snapshots.seen()).transpose()?,
        })
    }

    /// The sockets live for a minute from the first one on, so there is no time to lose: nothing
    /// is measured of their making.
    fn memory(&self, sockets: u64) -> Result<Memory> {
        let running = Tracer::Twtrace.start(&self.binaries.twtrace)?;
        let held = Churn { connections: sockets, threads: 2, destinations: DESTINATIONS }
            .run(&self.binaries.peer)?;
        let time_wait = held.time_wait()?;
        let rss = process::rss(running.pid())?;
        let snapshots = running.stop()?.context("twtrace printed nothing")?;
        held.release()?;
        let (known, seen) = (snapshots.time_wait()?, snapshots.seen()?);
        Ok(Memory { wanted: sockets, time_wait, known, rss, seen })
    }
}

impl Samples {
    fn of(&mut self, tracer: Tracer) -> &mut OfTracer {
        let known = self.tracers.iter().position(|of| of.tracer == tracer);
        let index = known.unwrap_or_else(|| {
            self.tracers.push(OfTracer {
                tracer,
                ratios: Vec::new(),
                speed: Vec::new(),
                cost: Vec::new(),
            });
            self.tracers.len() - 1
        });
        &mut self.tracers[index]
    }
}

impl Reading {
    fn of(pid: u32) -> Result<Self> {
        Ok(Self { cpu_ns: process::cpu_ns(pid)?, programs: programs::of(pid)? })
    }
}

fn progress(plan: &Plan, round: usize, what: &str) {
    eprintln!("round {}/{}: {what}", round + 1, plan.rounds);
}
