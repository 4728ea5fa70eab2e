//! What is run, and in which order.

use clap::ValueEnum;

use super::churn::Churn;
use super::tracer::{Measured, Tracer};
use super::{
    endurance, feed, knee, population, rates, reading, recording, sampling, screen, serve, states,
};

/// Rounds of tracers that no target names.
const FEW: usize = 2;

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
    /// twtrace top --light
    Light,
    /// tcpconnlat of libbpf-tools
    Tcpconnlat,
    /// bindsnoop of libbpf-tools
    Bindsnoop,
    /// A bpftrace script that only counts transitions
    Bpftrace,
    /// A bpftrace script that prints each transition
    Stream,
    /// ss, once a second
    Ss,
    /// nstat and sockstat, once a second
    Nstat,
    /// twtrace asked for something else than happens, and a program that does nothing
    Filtered,
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
    /// A minute of connections at full speed, recorded: what is lost
    Lost,
    /// What it costs as connections, events and sockets grow
    Scaling,
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
    /// The minute that is recorded
    pub(super) endurance: Option<endurance::Scale>,
    /// The growing loads
    pub(super) scaling: Option<Scaling>,
    /// Whether every tier is run where there is one that has them all
    pub(super) tiers: bool,
}

/// What grows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scaling {
    /// Connections per second
    pub(super) rates: rates::Scale,
    /// Events per second
    pub(super) feed: feed::Scale,
    /// TIME_WAIT sockets
    pub(super) population: population::Scale,
}

impl Scaling {
    const FULL: Self = Self {
        rates: rates::Scale::FULL,
        feed: feed::Scale::FULL,
        population: population::Scale::FULL,
    };
    const QUICK: Self = Self {
        rates: rates::Scale::QUICK,
        feed: feed::Scale::QUICK,
        population: population::Scale::QUICK,
    };
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
        // What is passed over is compared with what is not.
        let compared = |tracer| tracer == Tracer::Twtrace && asked(Row::Filtered);
        let wanted = |tracer: &Tracer| asked(tracer.row()) || compared(*tracer);
        let tracers: Vec<Tracer> = Tracer::ALL.into_iter().filter(wanted).collect();
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
        let (endurance, scaling) = if quick {
            (endurance::Scale::QUICK, Scaling::QUICK)
        } else {
            (endurance::Scale::FULL, Scaling::FULL)
        };
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
            endurance: asked(Row::Lost).then_some(endurance),
            scaling: asked(Row::Scaling).then_some(scaling),
            tiers: asked(Row::Tiers),
        }
    }

    /// The commands that these runs need besides, and the Debian packages that have them.
    pub(super) fn commands(&self) -> Vec<(&'static str, &'static str)> {
        let timed = self.recording.is_some() || self.states.is_some() || self.scaling.is_some();
        let readers = timed.then_some(reading::COMMAND);
        let terminals = self.screen.map(|_| screen::COMMAND);
        let tracers = self.tracers.iter().filter_map(|tracer| tracer.package());
        tracers.chain(readers).chain(terminals).collect()
    }

    /// The tracers in the order of that round: every second is reversed, so that none always
    /// follows the same other. Those that decide nothing are in few.
    pub(super) fn tracers(&self, round: usize) -> Vec<Tracer> {
        let mut tracers = self.tracers.clone();
        tracers.retain(|tracer| round < FEW || tracer.decides());
        if round % 2 == 1 {
            tracers.reverse();
        }
        tracers
    }

    /// The runs that compare speed in that round.
    pub(super) fn pairs(&self, round: usize) -> Vec<Pair> {
        let bare_first = round.is_multiple_of(2);
        let compared = |tracer: &Tracer| tracer.measured() != Measured::Cost;
        let tracers = self.tracers(round).into_iter().filter(compared);
        tracers.map(|tracer| Pair { tracer, bare_first }).collect()
    }

    /// Whether the runs without a tracer are wanted for themselves.
    pub(super) fn only_bare(&self) -> bool {
        self.bare && self.tracers.is_empty()
    }

    /// The connections of one run: one client thread, so that its rate is that of the path a
    /// connection takes and not of how two clients share the processors.
    pub(super) fn churn(&self) -> Churn {
        Churn::of(self.connections, 1)
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
