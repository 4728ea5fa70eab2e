//! What the figures of a run come to on a host with more processors.
//!
//! Nothing here is assumed but what a larger host has more of: what a connection costs is taken as
//! measured, and each bound is where one part of twtrace has no more to give.

use super::population::bytes_each;
use super::summary::Summary;
use super::tracer::Tracer;

/// Processors of the host that is asked about.
pub(super) const CORES: f64 = 64.0;
/// The ring's length, unless `--ring-size` says otherwise.
pub(super) const RING_BYTES: f64 = (8 << 20) as f64;
/// How long its reader looks away at most.
pub(super) const LOOKS_AWAY_S: f64 = 0.05;
/// How long a TIME_WAIT socket lives.
const TIME_WAIT_S: f64 = 60.0;
/// Connections per second on the whole host that are asked about.
const RATES: [f64; 5] = [10_000.0, 50_000.0, 100_000.0, 200_000.0, 400_000.0];

/// What was measured, for each connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Costs {
    /// BPF time of both its ends, on the processors where it happens
    pub(super) bpf_us: f64,
    /// CPU time of twtrace
    pub(super) cpu_us: f64,
    /// BPF time of a run that writes a transition
    pub(super) run_ns: f64,
    /// Transitions
    pub(super) transitions: f64,
    /// Records in the ring
    pub(super) records: f64,
    /// Bytes in the ring
    pub(super) ring_bytes: f64,
    /// Bytes of memory of a TIME_WAIT socket
    pub(super) memory_bytes: f64,
}

/// What follows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Model {
    /// From what
    pub(super) costs: Costs,
    /// Where each part has no more to give, in connections per second, the least first
    pub(super) bounds: Vec<Bound>,
    /// What rates take
    pub(super) loads: Vec<Load>,
}

/// Where one part has no more to give.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bound {
    /// Which part
    pub(super) what: Part,
    /// Connections per second on the whole host
    pub(super) connections_per_s: f64,
}

/// A part that can be the first to have no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The one thread that reads and the one that counts
    UserSpace,
    /// The room in the ring while its reader looks away
    Ring,
    /// The lock of the ring, if all of a run were under it
    Lock,
}

/// What one rate takes of a host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Load {
    /// Connections per second on the whole host
    pub(super) connections_per_s: f64,
    /// BPF time, in percent of the host's processors
    pub(super) bpf_pct: f64,
    /// CPU time of twtrace, in percent of one processor
    pub(super) cpu_pct: f64,
    /// The ring, in percent, when the reader looks again
    pub(super) ring_pct: f64,
    /// Memory for the TIME_WAIT sockets of a minute, in bytes
    pub(super) memory: f64,
}

impl Model {
    /// Of what was measured; nothing if a part of it was not.
    pub(super) fn of(summary: &Summary) -> Option<Self> {
        let ours = summary.tracer(Tracer::Twtrace)?;
        let feed = summary.feed.as_ref()?;
        let rate = summary.rates.last()?;
        let costs = Costs {
            bpf_us: ours.bpf_us?,
            cpu_us: ours.cpu_us?,
            run_ns: ours.ns_per_transition?,
            transitions: rate.transitions as f64 / rate.done.connections as f64,
            records: feed.events_per_connection(),
            ring_bytes: feed.ring_bytes_per_connection(),
            memory_bytes: bytes_each(&summary.population)?,
        };
        Some(Self::from(costs))
    }

    fn from(costs: Costs) -> Self {
        let bound = |what, connections_per_s| Bound { what, connections_per_s };
        let mut bounds = vec![
            bound(Part::UserSpace, 1e6 / costs.cpu_us),
            bound(Part::Ring, RING_BYTES / LOOKS_AWAY_S / costs.ring_bytes),
            bound(Part::Lock, 1e9 / (costs.run_ns * costs.records)),
        ];
        bounds.sort_by(|a, b| a.connections_per_s.total_cmp(&b.connections_per_s));
        Self { costs, bounds, loads: RATES.map(|rate| Load::of(&costs, rate)).into() }
    }

    /// The part that has no more to give before the others.
    pub(super) fn first(&self) -> Option<&Bound> {
        self.bounds.first()
    }
}

impl Load {
    fn of(costs: &Costs, rate: f64) -> Self {
        Self {
            connections_per_s: rate,
            bpf_pct: rate * costs.bpf_us / 1e6 / CORES * 100.0,
            cpu_pct: rate * costs.cpu_us / 1e6 * 100.0,
            ring_pct: rate * costs.ring_bytes * LOOKS_AWAY_S / RING_BYTES * 100.0,
            memory: rate * TIME_WAIT_S * costs.memory_bytes,
        }
    }
}

impl Part {
    /// What it is, in words.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::UserSpace => "twtrace's own CPU",
            Self::Ring => "room in the ring",
            Self::Lock => "the ring's lock",
        }
    }

    /// What its user can do about it.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::UserSpace => {
                "`--light`, or a filter (`--netns`, `--cgroup`, `-p`, ports): fewer records"
            }
            Self::Ring => "`--ring-size`: twice the ring takes twice the rate",
            Self::Lock => "`--light`, or a filter: fewer records",
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// User space is the first to have no more.
    pub(in super::super) fn model() -> Model {
        Model::from(Costs {
            bpf_us: 3.2,
            cpu_us: 5.0,
            run_ns: 200.0,
            transitions: 10.0,
            records: 20.0,
            ring_bytes: 800.0,
            memory_bytes: 100.0,
        })
    }

    #[test]
    fn the_least_bound_comes_first() {
        let model = model();
        let first = model.first().expect("there are bounds");
        assert_eq!((first.what, first.connections_per_s), (Part::UserSpace, 200_000.0));
        let bounds: Vec<f64> = model.bounds.iter().map(|it| it.connections_per_s).collect();
        assert_eq!(bounds[1..], [209_715.2, 250_000.0]);
    }

    #[test]
    fn a_load_is_a_share_of_each_part() {
        let load = model().loads[2];
        assert!((load.bpf_pct - 0.5).abs() < 1e-9, "{load:?}");
        assert!((load.cpu_pct - 50.0).abs() < 1e-9, "{load:?}");
        assert!((load.memory - 6e8).abs() < 1e-3, "{load:?}");
        assert!((load.ring_pct - 47.68).abs() < 0.01, "{load:?}");
    }

    #[test]
    fn nothing_follows_from_a_part() {
        assert_eq!(Model::of(&Summary::default()), None);
    }
}
