//! The runs, one after the other.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::binaries::Binaries;
use super::bpf_stats::BpfStats;
use super::cgroup::Cgroup;
use super::churn::{Churn, Done};
use super::number::grouped;
use super::plan::{Pair, Plan, Scaling};
use super::poller::Poller;
use super::process;
use super::programs::{self, Program};
use super::samples::{Memory, Run, Samples};
use super::tracer::{Measured, Tracer};

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

/// What of a tracer is read before and after the connections.
struct Reading {
    cpu_ns: u64,
    programs: Vec<Program>,
}

impl Bench {
    /// Does what is planned; says on the error output how far it is.
    pub(super) fn run(&self, plan: &Plan) -> Result<Samples> {
        let mut samples = Samples::default();
        let cgroup = Cgroup::make();
        for round in 0..plan.rounds {
            self.speed(plan, round, &mut samples)?;
            self.cost(plan, round, &mut samples);
        }
        drop(cgroup);
        if let Some(sockets) = plan.memory {
            eprintln!("memory: making {} TIME_WAIT sockets", grouped(sockets));
            samples.memory = self.attempt(&mut samples, false, "memory", || self.memory(sockets));
        }
        if let Some(knee) = plan.knee {
            let run = || knee.run(&self.binaries);
            samples.knee = self.attempt(&mut samples, false, "knee", run);
        }
        if let Some(sampling) = plan.sampling {
            let run = || sampling.run(&self.binaries);
            samples.sampling = self.attempt(&mut samples, true, "sampling", run);
        }
        if let Some(recording) = plan.recording {
            let run = || recording.run(&self.binaries);
            samples.recording = self.attempt(&mut samples, false, "recording", run);
        }
        if let Some(screen) = plan.screen {
            let run = || screen.run(&self.binaries);
            samples.screen = self.attempt(&mut samples, false, "screen", run);
        }
        if let Some(serve) = plan.serve {
            let run = || serve.run(&self.binaries);
            samples.serve = self.attempt(&mut samples, false, "serve", run);
        }
        if let Some(states) = plan.states {
            let run = || states.run(&self.binaries);
            samples.states = self.attempt(&mut samples, false, "states", run);
        }
        if let Some(endurance) = plan.endurance {
            let run = || endurance.run(&self.binaries);
            samples.endurance = self.attempt(&mut samples, false, "lost", run);
        }
        if let Some(Scaling { rates, feed, population }) = plan.scaling {
            let rates = self.attempt(&mut samples, true, "scaling by rate", || rates.run(self));
            samples.rates = rates.unwrap_or_default();
            let run = || feed.run(&self.binaries);
            samples.feed = self.attempt(&mut samples, false, "scaling by events", run);
            let run = || population.run(&self.binaries);
            let population = self.attempt(&mut samples, false, "scaling by sockets", run);
            samples.population = population.unwrap_or_default();
        }
        Ok(samples)
    }

    /// What fails is told with the rest: one row must not take all others with it.
    fn attempt<T>(
        &self,
        samples: &mut Samples,
        stats: bool,
        what: &'static str,
        work: impl Fn() -> Result<T>,
    ) -> Option<T> {
        samples.or_fail(what, self.stats.during(stats, work))
    }

    fn speed(&self, plan: &Plan, round: usize, samples: &mut Samples) -> Result<()> {
        let churn = plan.churn();
        for pair in plan.pairs(round) {
            if samples.has_failed(pair.tracer) {
                continue;
            }
            progress(plan, round, &format!("churn beside {}", pair.tracer.name()));
            match self.stats.during(false, || self.pair(pair, &churn)) {
                Ok((bare, run)) => {
                    samples.bare.push(bare);
                    let of = samples.of(pair.tracer);
                    of.ratios.push(run.done.rate() / bare.rate());
                    of.speed.push(run);
                }
                Err(error) => samples.fail(pair.tracer.name(), &error, !pair.tracer.is_ours()),
            }
        }
        if plan.only_bare() {
            progress(plan, round, "churn without a tracer");
            samples.bare.push(self.stats.during(false, || self.without(&churn))?);
        }
        Ok(())
    }

    fn cost(&self, plan: &Plan, round: usize, samples: &mut Samples) {
        for tracer in plan.tracers(round) {
            if tracer.measured() == Measured::Speed || samples.has_failed(tracer) {
                continue;
            }
            progress(plan, round, &format!("BPF time of {}", tracer.name()));
            match self.stats.during(true, || self.with(tracer, &plan.churn(), true)) {
                Ok(run) => samples.of(tracer).cost.push(run),
                Err(error) => samples.fail(tracer.name(), &error, !tracer.is_ours()),
            }
        }
    }

    fn pair(&self, pair: Pair, churn: &Churn) -> Result<(Done, Run)> {
        if pair.bare_first {
            let bare = self.without(churn)?;
            return Ok((bare, self.with(pair.tracer, churn, false)?));
        }
        let run = self.with(pair.tracer, churn, false)?;
        Ok((self.without(churn)?, run))
    }

    fn without(&self, churn: &Churn) -> Result<Done> {
        thread::sleep(SETTLE);
        churn.run(&self.binaries.peer)?.release()
    }

    /// Connections beside what asks once a second.
    fn polled(&self, script: &str, churn: &Churn) -> Result<Run> {
        thread::sleep(SETTLE);
        let churning = churn.start(&self.binaries.peer)?;
        let poller = Poller::start(churning.pid(), script)?;
        let held = churning.finish()?;
        // What it had not waited for would not count.
        thread::sleep(SETTLE);
        let cpu_ns = poller.cpu_ns()?;
        drop(poller);
        let (done, programs) = (held.release()?, Vec::new());
        Ok(Run { done, cpu_ns, rss: None, programs, seen: None, lost: None })
    }

    /// Connections beside a tracer; what others print is kept or thrown away.
    pub(super) fn with(&self, tracer: Tracer, churn: &Churn, keep: bool) -> Result<Run> {
        if let Some(script) = tracer.polled() {
            return self.polled(script, churn);
        }
        let running = if keep && !tracer.is_ours() {
            tracer.start_and_keep(&self.binaries.twtrace)?
        } else {
            tracer.start(&self.binaries.twtrace)?
        };
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
        let (snapshots, lost) = running.stop_and_count()?;
        Ok(Run {
            done,
            cpu_ns: after.cpu_ns.saturating_sub(before.cpu_ns),
            rss: Some(rss),
            programs: programs::since(&before.programs, after.programs),
            seen: snapshots.map(|snapshots| snapshots.seen()).transpose()?,
            lost,
        })
    }

    /// The sockets live for a minute from the first one on, so there is no time to lose: nothing
    /// is measured of their making.
    fn memory(&self, sockets: u64) -> Result<Memory> {
        let running = Tracer::Twtrace.start(&self.binaries.twtrace)?;
        let held = Churn::of(sockets, 2).run(&self.binaries.peer)?;
        let time_wait = held.time_wait()?;
        let rss = process::rss(running.pid())?;
        let snapshots = running.stop()?.context("twtrace printed nothing")?;
        held.release()?;
        let (known, seen) = (snapshots.time_wait()?, snapshots.seen()?);
        Ok(Memory { wanted: sockets, time_wait, known, rss, seen })
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
