//! What an event costs as connections come faster, until the machine makes no more of them.

use anyhow::Result;

use super::churn::{Churn, Done};
use super::measure::Bench;
use super::number::grouped;
use super::samples::Run;
use super::tracer::Tracer;

/// From here on one client thread is not enough.
const TWO_CLIENTS: u64 = 15_000;
/// Of the connections wanted in a second, so many are as good as all.
const ENOUGH: f64 = 0.98;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// Connections per second
    rates: &'static [u64],
    /// How long, in seconds
    seconds: u64,
}

/// One rate.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    /// Connections per second that were wanted
    pub(super) wanted: u64,
    /// Those that were made
    pub(super) done: Done,
    /// State transitions
    pub(super) transitions: u64,
    /// BPF time of all programs, in nanoseconds
    pub(super) bpf_ns: u64,
    /// CPU time of twtrace, user and kernel
    pub(super) cpu_ns: u64,
    /// Its memory afterwards, in bytes
    pub(super) rss: u64,
}

impl Scale {
    /// As the issue of scaling has them.
    pub(super) const FULL: Self = Self { rates: &[1_000, 5_000, 10_000, 25_000], seconds: 8 };
    /// For a look.
    pub(super) const QUICK: Self = Self { rates: &[1_000, 10_000, 25_000], seconds: 3 };

    /// Measures, and says on the error output how far it is. The kernel's statistics must be on.
    pub(super) fn run(self, bench: &Bench) -> Result<Vec<Rate>> {
        self.rates.iter().map(|&wanted| self.rate(bench, wanted)).collect()
    }

    fn rate(self, bench: &Bench, wanted: u64) -> Result<Rate> {
        eprintln!("scaling: {} connections a second", grouped(wanted));
        let threads = if wanted >= TWO_CLIENTS { 2 } else { 1 };
        let churn = Churn::paced(wanted, self.seconds, threads);
        Ok(Rate::of(wanted, &bench.with(Tracer::Twtrace, &churn, false)?))
    }
}

impl Rate {
    fn of(wanted: u64, run: &Run) -> Self {
        Self {
            wanted,
            done: run.done,
            transitions: run.seen.map_or(0, |seen| seen.transitions),
            bpf_ns: run.programs.iter().map(|program| program.ns).sum(),
            cpu_ns: run.cpu_ns,
            rss: run.rss.unwrap_or(0),
        }
    }

    /// Whether the machine made as many as were wanted.
    pub(super) fn is_reached(&self) -> bool {
        self.done.rate() >= self.wanted as f64 * ENOUGH
    }

    /// Transitions per second.
    pub(super) fn transitions_per_s(&self) -> f64 {
        self.transitions as f64 / self.done.seconds
    }

    /// BPF time, of all programs, for each transition.
    pub(super) fn bpf_ns_per_transition(&self) -> Option<f64> {
        self.per_transition(self.bpf_ns)
    }

    /// CPU time of twtrace for each transition, in nanoseconds.
    pub(super) fn cpu_ns_per_transition(&self) -> Option<f64> {
        self.per_transition(self.cpu_ns)
    }

    fn per_transition(&self, ns: u64) -> Option<f64> {
        (self.transitions > 0).then(|| ns as f64 / self.transitions as f64)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// So many connections a second for a second, of as many as were wanted.
    pub(in super::super) fn rate(wanted: u64, made: u64) -> Rate {
        Rate {
            wanted,
            done: Done { connections: made, seconds: 1.0 },
            transitions: made * 10,
            bpf_ns: made * 3_000,
            cpu_ns: made * 4_000,
            rss: 50_000_000,
        }
    }

    #[test]
    fn figures_are_per_transition() {
        let rate = rate(1_000, 990);
        assert!(rate.is_reached());
        assert_eq!(rate.bpf_ns_per_transition(), Some(300.0));
        assert_eq!(rate.cpu_ns_per_transition(), Some(400.0));
        assert!((rate.transitions_per_s() - 9_900.0).abs() < 1e-9);
    }

    #[test]
    fn a_rate_that_is_not_reached_is_told() {
        assert!(!rate(25_000, 18_000).is_reached());
        assert_eq!(rate(25_000, 0).cpu_ns_per_transition(), None);
    }
}
