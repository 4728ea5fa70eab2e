//! twtrace itself: its version, what it takes, and what scrapes cost.

use super::{Family, Kind, Unit};

/// What is known of ourselves, besides the Snapshot; `None` where nobody can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Own {
    /// When the Snapshot was taken, in seconds since 1970.
    pub taken_s: f64,
    /// CPU time of all our threads.
    pub cpu_s: f64,
    /// Our memory that is in RAM, in bytes.
    pub rss_bytes: Option<u64>,
    /// What our BPF programs take of one core, when that was measured last.
    pub bpf_cpu_ratio: Option<f64>,
    /// Answers to `/metrics`.
    pub scrapes: u64,
    /// Wall time of writing families as what scrapers read.
    pub rendering_s: f64,
    /// Connections that were closed to make room for others.
    pub crowded_out: u64,
    /// Whether the privileged helper is there; `None` without one.
    pub helper_up: Option<bool>,
    /// Entries of connection tracking, and how many there may be in all namespaces.
    pub conntrack: Option<(u64, u64)>,
}

pub(super) fn families(own: &Own) -> Vec<Family> {
    let conntrack = own.conntrack;
    vec![
        Family::gauge(
            "conntrack_entries",
            "Entries of connection tracking, of one network namespace.",
        )
        .of(conntrack.map(|(entries, _)| entries)),
        Family::gauge(
            "conntrack_entries_limit",
            "How many entries of connection tracking there may be.",
        )
        .of(conntrack.map(|(_, limit)| limit).filter(|limit| *limit > 0)),
        Family::new("build", Kind::Info, "The version of twtrace.")
            .with([("version", env!("CARGO_PKG_VERSION"))], Some(1_u64)),
        Family::gauge(
            "snapshot_timestamp",
            "When what is told here was true, in seconds since 1970.",
        )
        .unit(Unit::Seconds)
        .of(Some(own.taken_s)),
        Family::counter("cpu", "CPU time that twtrace has taken.")
            .unit(Unit::Seconds)
            .of(Some(own.cpu_s)),
        Family::gauge("resident_memory", "Memory of twtrace that is in RAM.")
            .unit(Unit::Bytes)
            .of(own.rss_bytes),
        Family::gauge(
            "bpf_cpu",
            "What the BPF programs of twtrace take of one core, over one interval of five.",
        )
        .unit(Unit::Ratio)
        .of(own.bpf_cpu_ratio),
        Family::gauge(
            "helper_up",
            "Whether the privileged helper is there: without it other network namespaces and who \
             holds sockets are unknown.",
        )
        .of(own.helper_up.map(u64::from)),
        Family::counter("scrapes", "Answers to scrapes.").of(Some(own.scrapes)),
        Family::counter("scrape_rendering", "Time that writing what scrapers read has taken.")
            .unit(Unit::Seconds)
            .of(Some(own.rendering_s)),
        Family::counter(
            "http_crowded_out",
            "Connections that were closed to make room for others.",
        )
        .of(Some(own.crowded_out)),
    ]
}
