//! What is run, and in which order.

use clap::ValueEnum;

use super::churn::{Churn, DESTINATIONS};
use super::tracer::Tracer;
use super::{knee, reading, recording, sampling, screen, serve, states};

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// No tracer
    Bare,
    /// twtrace, host-wide, default settings
    Twtrace,
    /// tcplife of libbpf-tools
    Tcplife,
    /// tcpstates of libbpf-tools
    Tcpstates,
    /// A bpftrace script that only counts transitions
    Bpftrace,
    /// twtrace with 600,000 TIME_WAIT sockets
    Memory,
    /// What a connect costs while the ports run out, by twtrace and by the client's clocks
    Knee,
    /// What the CPU samples cost
    Sampling,
    /// twtrace record, host-wide, default settings, and what it costs to read its files
    Recording,
    /// What the screen of `top` costs, and how soon it answers
    Screen,
    /// What `serve` costs, and a scrape with half a million TIME_WAIT sockets
    Serve,
    /// What it takes to list half a million sockets, beside ss
    States,
    /// What a run of each program costs on each tier, in an emulated machine
    Tiers,
}

/// What is run.
pub(super) struct Plan {
    /// Whether figures are for a look only
    pub(super) quick: bool,
    /// How often everything is run
    pub(super) rounds: usize,
    /// Connections in each run
    pub(super) connections: u64,
    /// The tracers to compare; none leaves the runs without one
    tracers: Vec<Tracer>,
    bare: bool,
    /// TIME_WAIT sockets to make at once
    pub(super) memory: Option<u64>,
    /// The connects while the ports run out
    pub(super) knee: Option<knee::Scale>,
    /// The loads under which samples are taken
    pub(super) sampling: Option<sampling::Scale>,
    /// The recordings
    pub(super) recording: Option<recording::Scale>,
    /// The screens
    pub(super) screen: Option<screen::Scale>,
    /// The metrics
    pub(super) serve: Option<serve::Scale>,
    /// The listings
    pub(super) states: Option<states::Scale>,
    /// Whether every tier is run where there is one that has them all
    pub(super) tiers: bool,
}

/// A run with a tracer and one without, next to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// The tracer
    pub(super) tracer: Tracer,
    /// Whether the run without comes first
    pub(super) bare_first: bool,
}

impl Plan {
    /// Everything, or only the rows named.
    pub(super) fn new(quick: bool, only: &[Row]) -> Self {
        let asked = |row| only.is_empty() || only.contains(&row);
        let tracers: Vec<Tracer> =
            Tracer::ALL.into_iter().filter(|tracer| asked(tracer.row())).collect();
        let (rounds, connections) = if quick { (2, 20_000) } else { (5, 60_000) };
        let (knee, sampling) = if quick {
            (knee::Scale::QUICK, sampling::Scale::QUICK)
        } else {
            (knee::Scale::FULL, sampling::Scale::FULL)
        };
        let (recording, screen) = if quick {
            (recording::Scale::QUICK, screen::Scale::QUICK)
        } else {
            (recording::Scale::FULL, screen::Scale::FULL)
        };
        let serve = if quick { serve::Scale::QUICK } else { serve::Scale::FULL };
        let states = if quick { states::Scale::QUICK } else { states::Scale::FULL };
        Self {
            quick,
            rounds,
            connections,
            bare: asked(Row::Bare),
            tracers,
            memory: asked(Row::Memory).then_some(600_000),
            knee: asked(Row::Knee).then_some(knee),
            sampling: asked(Row::Sampling).then_some(sampling),
            recording: asked(Row::Recording).then_some(recording),
            screen: asked(Row::Screen).then_some(screen),
            serve: asked(Row::Serve).then_some(serve),
            states: asked(Row::States).then_some(states),
            tiers: asked(Row::Tiers),
        }
    }

    /// The commands that these runs need besides, and the Debian packages that have them.
    pub(super) fn commands(&self) -> Vec<(&'static str, &'static str)> {
        let timed = self.recording.is_some() || self.states.is_some();
        let readers = timed.then_some(reading::COMMAND);
        let terminals = self.screen.map(|_| screen::COMMAND);
        let tracers = self.tracers.iter().filter_map(|tracer| tracer.package());
        tracers.chain(readers).chain(terminals).collect()
    }

    /// The tracers in the order of that round: every second is reversed, so that none always
    /// follows the same other.
    pub(super) fn tracers(&self, round: usize) -> Vec<Tracer> {
        let mut tracers = self.tracers.clone();
        if round % 2 == 1 {
            tracers.reverse();
        }
        tracers
    }

    /// The runs that compare speed in that round.
    pub(super) fn pairs(&self, round: usize) -> Vec<Pair> {
        let bare_first = round.is_multiple_of(2);
        self.tracers(round).into_iter().map(|tracer| Pair { tracer, bare_first }).collect()
    }

    /// Whether the runs without a tracer are wanted for themselves.
    pub(super) fn only_bare(&self) -> bool {
        self.bare && self.tracers.is_empty()
    }

    /// The connections of one run: one client thread, so that its rate is that of the path a
    /// connection takes and not of how two clients share the processors.
    pub(super) fn churn(&self) -> Churn {
        Churn { connections: self.connections, threads: 1, destinations: DESTINATIONS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_run_by_default() {
        let plan = Plan::new(true, &[]);
        assert_eq!(plan.tracers(0), Tracer::ALL);
        assert!(plan.memory.is_some() && !plan.only_bare());
        assert!(plan.knee.is_some() && plan.sampling.is_some() && plan.recording.is_some());
    }

    #[test]
    fn every_second_round_is_reversed() {
        let plan = Plan::new(true, &[Row::Twtrace, Row::Tcplife]);
        let pair = |tracer, bare_first| Pair { tracer, bare_first };
        assert_eq!(plan.pairs(0), [pair(Tracer::Twtrace, true), pair(Tracer::Tcplife, true)]);
        assert_eq!(plan.pairs(1), [pair(Tracer::Tcplife, false), pair(Tracer::Twtrace, false)]);
    }

    #[test]
    fn only_the_rows_named_are_run() {
        let bare = Plan::new(false, &[Row::Bare]);
        assert!(bare.only_bare() && bare.memory.is_none());
        let memory = Plan::new(false, &[Row::Memory]);
        assert!(!memory.only_bare() && memory.pairs(0).is_empty() && memory.memory.is_some());
        assert!(memory.commands().is_empty() && !memory.tiers);
        assert!(memory.knee.is_none() && memory.sampling.is_none());
        let recording = Plan::new(false, &[Row::Recording]);
        assert!(recording.recording.is_some() && recording.memory.is_none());
        assert_eq!(recording.commands(), [reading::COMMAND]);
        let screen = Plan::new(false, &[Row::Screen]);
        assert!(screen.screen.is_some() && screen.recording.is_none());
        assert_eq!(screen.commands(), [screen::COMMAND]);
    }
}
