//! What all runs gave, before anything is made of it.

use anyhow::Result;

use super::churn::Done;
use super::endurance::Endurance;
use super::feed::Feed;
use super::knee::Knee;
use super::population::Population;
use super::programs::Program;
use super::rates::Rate;
use super::recording::Recording;
use super::sampling::Sampling;
use super::screen::Screen;
use super::serve::Serve;
use super::snapshot::Seen;
use super::states::States;
use super::tracer::Tracer;

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
    /// A minute of connections, recorded
    pub(super) endurance: Option<Endurance>,
    /// What it costs as connections come faster
    pub(super) rates: Vec<Rate>,
    /// What events cost user space
    pub(super) feed: Option<Feed>,
    /// What it costs as TIME_WAIT sockets grow
    pub(super) population: Vec<Population>,
    /// What could not be measured, and why
    pub(super) failures: Vec<Failure>,
}

/// What could not be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// What
    pub(super) what: &'static str,
    /// Why, in the words of who failed
    pub(super) why: String,
    /// Whether this is nothing of ours: a peer that does not run here
    pub(super) is_peers: bool,
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
    /// Its memory afterwards, in bytes; nothing of what comes and goes
    pub(super) rss: Option<u64>,
    /// What its BPF programs did
    pub(super) programs: Vec<Program>,
    /// What it saw, if it is ours
    pub(super) seen: Option<Seen>,
    /// Events that it said it lost, if it is another's and told
    pub(super) lost: Option<u64>,
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

impl Samples {
    /// It is told, and passed over from then on.
    pub(super) fn fail(&mut self, what: &'static str, error: &anyhow::Error, is_peers: bool) {
        eprintln!("{what}: {error:#}");
        self.failures.push(Failure { what, why: format!("{error:#}"), is_peers });
    }

    /// What was measured; else it is told why not.
    pub(super) fn or_fail<T>(&mut self, what: &'static str, measured: Result<T>) -> Option<T> {
        measured.map_err(|error| self.fail(what, &error, false)).ok()
    }

    /// Whether that one could not be measured before.
    pub(super) fn has_failed(&self, tracer: Tracer) -> bool {
        self.failures.iter().any(|failure| failure.what == tracer.name())
    }

    /// The runs of a tracer, none at first.
    pub(super) fn of(&mut self, tracer: Tracer) -> &mut OfTracer {
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
