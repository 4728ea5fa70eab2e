//! What it costs to look at each processor 99 times a second, for the CPU time of port searches.
//!
//! The kernel's statistics count the runs of the program and their time. Each processor pays for
//! its own, so the share of its time is what a run takes, as often as it is looked at. Not the time
//! of all runs by that of all processors: one that is idle and looked at less often would make up
//! for another. What the timer's interrupt itself costs, before and after the program, is not in
//! it.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::binaries::Binaries;
use super::churn::Churn;
use super::netns::Ports;
use super::programs;
use super::searched::Searched;
use super::searcher::{Limits, Searcher};
use super::tracer::Tracer;
use crate::command;

/// The program's name in the object.
const PROGRAM: &str = "cpu_sample";
/// What the last load left behind has come to rest by then.
const SETTLE: Duration = Duration::from_secs(1);
/// Past the knee a search walks some thousand ports.
const PORTS: Ports = Ports { low: 32_768, high: 40_767 };
/// In use by then.
const USED: u64 = 4_800;

/// What the processors do meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// Nothing that the bench starts
    Idle,
    /// System calls, on each
    Syscalls,
    /// Connections, as many pairs of threads as processors
    Churn,
    /// Connects past the knee by one client: each sample on its processor is a record
    Searches,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// How long each load runs, in seconds
    seconds: f64,
    /// How many connections are made as a load
    connections: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Sampling {
    /// Processors that are looked at
    pub(super) cores: u64,
    /// How often each, per second
    pub(super) hz: u64,
    /// What the program did under each load
    pub(super) loads: Vec<Sampled>,
}

/// What the program did under one load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampled {
    /// Which
    pub(super) load: Load,
    /// How often and how long it ran
    pub(super) ran: Ran,
    /// How often that met a search by connect
    pub(super) met: u64,
    hz: u64,
}

/// Runs of the program, on all processors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ran {
    /// For how long it was looked at
    pub(super) elapsed: Duration,
    /// How often it ran
    pub(super) runs: u64,
    /// How long, in sum
    pub(super) ns: u64,
}

impl Load {
    const ALL: [Self; 4] = [Self::Idle, Self::Syscalls, Self::Churn, Self::Searches];

    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Syscalls => "system calls on each core",
            Self::Churn => "connections on each core",
            Self::Searches => "searches past the knee on one",
        }
    }

    /// Whether no processor has time to be idle.
    pub(super) fn keeps_all_busy(self) -> bool {
        matches!(self, Self::Syscalls | Self::Churn)
    }
}

impl Scale {
    /// More than a thousand samples of each load.
    pub(super) const FULL: Self = Self { seconds: 15.0, connections: 250_000 };
    /// For a look.
    pub(super) const QUICK: Self = Self { seconds: 4.0, connections: 60_000 };

    /// Measures, and says on the error output how far it is. The kernel's statistics must be on.
    pub(super) fn run(self, binaries: &Binaries) -> Result<Sampling> {
        let cores = command::capture(Command::new("getconf").arg("_NPROCESSORS_ONLN"))?;
        let cores = cores.trim().parse().context("getconf printed no number")?;
        let loads: Result<Vec<Sampled>> =
            Load::ALL.iter().map(|&load| self.sampled(binaries, load, cores)).collect();
        let loads = loads?;
        let hz = loads.first().context("no loads")?.hz;
        Ok(Sampling { cores, hz, loads })
    }

    fn sampled(self, binaries: &Binaries, load: Load, cores: u64) -> Result<Sampled> {
        eprintln!("sampling: {}", load.name());
        let running = Tracer::Twtrace.start(&binaries.twtrace)?;
        thread::sleep(SETTLE);
        let watch = || Watch::start(running.pid());
        let ran = match load {
            Load::Idle => self.nothing(watch)?,
            Load::Syscalls => self.syscalls(watch, cores)?,
            Load::Churn => self.churn(watch, binaries, cores)?,
            Load::Searches => self.searches(watch, binaries)?,
        };
        thread::sleep(SETTLE);
        let searched = Searched::of(&running.stop()?.context("twtrace printed nothing")?)?;
        Ok(Sampled { load, ran, met: searched.samples, hz: searched.hz })
    }

    fn nothing(self, watch: impl Fn() -> Result<Watch>) -> Result<Ran> {
        let watched = watch()?;
        thread::sleep(Duration::from_secs_f64(self.seconds));
        watched.end()
    }

    fn syscalls(self, watch: impl Fn() -> Result<Watch>, cores: u64) -> Result<Ran> {
        let busy = (0..cores).map(|_| Busy::start()).collect::<Result<Vec<Busy>>>()?;
        let done = self.nothing(watch);
        drop(busy);
        done
    }

    fn churn(
        self,
        watch: impl Fn() -> Result<Watch>,
        binaries: &Binaries,
        cores: u64,
    ) -> Result<Ran> {
        let watched = watch()?;
        let held = Churn::of(self.connections, cores).run(&binaries.peer)?;
        let done = watched.end();
        held.release()?;
        done
    }

    fn searches(self, watch: impl Fn() -> Result<Watch>, binaries: &Binaries) -> Result<Ran> {
        let mut searcher = Searcher::start(&binaries.peer, PORTS)?;
        searcher.fill(USED)?;
        let watched = watch()?;
        searcher.measure(Limits { elapsed: self.seconds, cpu: self.seconds })?;
        watched.end()
    }
}

impl Ran {
    /// How long each run took.
    pub(super) fn ns_per_run(self) -> Option<f64> {
        (self.runs > 0).then(|| self.ns as f64 / self.runs as f64)
    }

    /// How often each processor was looked at, per second.
    pub(super) fn rate(self, cores: u64) -> f64 {
        self.runs as f64 / self.elapsed.as_secs_f64() / cores as f64
    }

    /// The part of its time that a processor gives for being looked at so often, in percent.
    pub(super) fn core_pct(self, hz: u64) -> Option<f64> {
        self.ns_per_run().map(|ns| ns * hz as f64 / 1e9 * 100.0)
    }
}

/// A process that does nothing but system calls, a read and a write of one byte in turn; it ends
/// with this value, or with the bench.
struct Busy(Child);

impl Busy {
    fn start() -> Result<Self> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "dd", "if=/dev/zero", "of=/dev/null", "bs=1"]);
        let child = command.stderr(Stdio::null()).spawn();
        Ok(Self(child.context("cannot start setpriv of util-linux")?))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // Both fail only if the child is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The counts of the program when a load began.
struct Watch {
    pid: u32,
    begun: Instant,
    runs: u64,
    ns: u64,
}

impl Watch {
    fn start(pid: u32) -> Result<Self> {
        let (runs, ns) = Self::counts(pid)?;
        Ok(Self { pid, begun: Instant::now(), runs, ns })
    }

    /// For how long, how often and for how much time the program ran.
    fn end(self) -> Result<Ran> {
        let (runs, ns) = Self::counts(self.pid)?;
        Ok(Ran { elapsed: self.begun.elapsed(), runs: runs - self.runs, ns: ns - self.ns })
    }

    fn counts(pid: u32) -> Result<(u64, u64)> {
        let all = programs::of(pid)?;
        let program = all.iter().find(|program| program.name == PROGRAM);
        let program = program.with_context(|| format!("twtrace holds no program {PROGRAM}"))?;
        Ok((program.runs, program.ns))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn sampled(load: Load, ns_per_run: u64) -> Sampled {
        let elapsed = Duration::from_secs(10);
        let ran = Ran { elapsed, runs: 1_980, ns: 1_980 * ns_per_run };
        Sampled { load, ran, met: 0, hz: 99 }
    }

    #[test]
    fn each_core_pays_for_its_own_samples() {
        let ran = sampled(Load::Idle, 5_000).ran;
        assert_eq!(ran.ns_per_run(), Some(5_000.0));
        assert!((ran.rate(2) - 99.0).abs() < 1e-9);
        assert!(ran.core_pct(99).is_some_and(|pct| (pct - 0.0495).abs() < 1e-9));
        assert_eq!(Ran { runs: 0, ..ran }.ns_per_run(), None);
    }
}
