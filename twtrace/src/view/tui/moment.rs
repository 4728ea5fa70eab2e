//! What is true at one moment, as the screen gets it.

use std::time::Duration;

use crate::stats::{contacts::Detail, snapshot::Snapshot};

/// What the screen is made of. It never changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// What is known.
    pub snapshot: Snapshot,
    /// Records read since the moment before, per second; `None` where nothing is traced.
    pub events_per_s: Option<f64>,
    /// What watching takes.
    pub cost: Cost,
    /// Time between moments, as it was asked for.
    pub interval: Duration,
    /// What is known of the one thing that is looked at, if one is.
    pub detail: Option<Detail>,
    /// When this was, in nanoseconds on the clock of records.
    pub time_ns: u64,
    /// Whether the last minutes are kept, and can be written out.
    pub keeps_flight: bool,
    /// Of a recording, how far it was played.
    pub playback: Option<Playback>,
}

/// What watching takes; `None` where nobody can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Our own CPU, as a share of one core in percent.
    pub own_cpu_pct: Option<f64>,
    /// Our own memory in bytes.
    pub rss_bytes: Option<u64>,
    /// What our BPF programs take, as a share of one core in percent.
    pub bpf_cpu_pct: Option<f64>,
}

/// How far a recording was played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Playback {
    /// Whether it stands still.
    pub paused: bool,
    /// How many times as fast as it happened; `None` without waiting.
    pub speed: Option<f64>,
    /// Whether there is no more.
    pub ended: bool,
}
