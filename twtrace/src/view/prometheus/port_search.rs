//! What the search for a free local port costs, and where it found none.

use super::{Family, Kind, Unit, Value, buckets::Distribution};
use crate::stats::snapshot::{Encoded, Failures, PortSearch, PortSearchKind, Snapshot};

/// Upper bounds in seconds: a search takes a microsecond, and milliseconds near the end of the
/// range.
const BOUNDS: &[f64] = &[
    1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1,
    1.0,
];
/// Latencies are kept in nanoseconds.
const NANOSECOND: f64 = 1e-9;

pub(super) fn families(snapshot: &Snapshot) -> Vec<Family> {
    vec![latencies(snapshot), cpu(snapshot), failures(snapshot)]
}

fn latencies(snapshot: &Snapshot) -> Family {
    let family = Family::new(
        "port_search",
        Kind::Histogram,
        "How long searches for a free local port took, or took at most; docs/serve.md says which.",
    );
    let family = family.unit(Unit::Seconds);
    let Some((search, hdr)) = snapshot.port_search.as_ref().zip(snapshot.hdr.as_ref()) else {
        return family;
    };
    family
        .with([("op", "bind")], distribution(&search.bind, hdr.port_search_bind.as_ref()))
        .with([("op", "connect")], distribution(&search.connect, hdr.port_search_connect.as_ref()))
}

fn distribution(of: &PortSearchKind, kept: Option<&Encoded>) -> Option<Value> {
    let sum = of.total_ns as f64 * NANOSECOND;
    kept.map(|kept| Value::Distribution(Distribution::new(kept, NANOSECOND, sum, BOUNDS)))
}

fn cpu(snapshot: &Snapshot) -> Family {
    let family = Family::counter(
        "port_search_cpu",
        "CPU time of searches for a free local port, by samples of all processors.",
    );
    let family = family.unit(Unit::Seconds);
    let samples = snapshot.port_search.as_ref().and_then(|it| it.samples.as_ref());
    let Some(samples) = samples.filter(|samples| samples.hz > 0) else { return family };
    let seconds = |count: u64| count as f64 / samples.hz as f64;
    family
        .with([("op", "bind")], Some(seconds(samples.bind)))
        .with([("op", "connect")], Some(seconds(samples.connect)))
}

fn failures(snapshot: &Snapshot) -> Family {
    let family = Family::counter(
        "port_search_failures",
        "Searches for a free local port, and checks of one, that failed.",
    );
    let Some(search) = &snapshot.port_search else { return family };
    by_op(search).into_iter().fold(family, |family, (op, failed)| {
        let failed = failed.into_iter().flatten();
        failed.fold(family, |family, (errno, count)| {
            family.with([("op", op), ("errno", errno)], Some(*count))
        })
    })
}

fn by_op(search: &PortSearch) -> [(&'static str, Option<&Failures>); 3] {
    [
        ("bind", search.bind.failed.as_ref()),
        ("bind_explicit", search.bind_explicit.failed.as_ref()),
        ("connect", search.connect.failed.as_ref()),
    ]
}
