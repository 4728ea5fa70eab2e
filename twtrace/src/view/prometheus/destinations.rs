//! Which destination runs out of local ports.
//!
//! A destination is what clients connect to: its address and its port are its name. Where there
//! are more ways to one, from several namespaces or local addresses, each has local ports of its
//! own; the worst of them is shown, and `/snapshot.json` has each.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::{Family, OTHER, Unit};
use crate::stats::snapshot::{Destination, Snapshot};

/// The ways to one destination.
#[derive(Clone, Copy, Debug)]
struct Way {
    ports_used: u64,
    used_ratio: Option<f64>,
    knee_in_s: Option<f64>,
    exhausted_in_s: Option<f64>,
}

pub(super) fn families(snapshot: &Snapshot, top: usize) -> Vec<Family> {
    let mut used = Family::gauge(
        "destination_ports_used",
        "Local ports taken towards a destination, by connections and by mini-sockets.",
    );
    let mut ratio = Family::gauge(
        "destination_ports_used",
        "The part taken of the local ports that a connect may get, on the fullest way there.",
    )
    .unit(Unit::Ratio);
    let mut knee = Family::gauge(
        "destination_knee_in",
        "Until half of the ports are taken, and each connect searches the other half too; 0: past.",
    )
    .unit(Unit::Seconds);
    let mut exhausted = Family::gauge(
        "destination_exhausted_in",
        "Until no local port is left towards a destination; absent where that does not approach.",
    )
    .unit(Unit::Seconds);
    let (named, rest) = ranked(snapshot.destinations.as_deref().unwrap_or_default(), top);
    for (name, way) in named {
        used.push("destination", &name, way.ports_used);
        let push = |family: &mut Family, value: Option<f64>| {
            if let Some(value) = value {
                family.push("destination", &name, value);
            }
        };
        push(&mut ratio, way.used_ratio);
        push(&mut knee, way.knee_in_s);
        push(&mut exhausted, way.exhausted_in_s);
    }
    if let Some(rest) = rest {
        used.push("destination", OTHER, rest);
    }
    vec![used, ratio, knee, exhausted]
}

/// Those that are fullest, and the ports taken towards all others, if there are any.
fn ranked(rows: &[Destination], top: usize) -> (Vec<(String, Way)>, Option<u64>) {
    let mut ways: HashMap<(&str, u16), Way, FixedState> = HashMap::default();
    let mut rest = None;
    for row in rows {
        let Some(end) = row.raddr.as_deref().zip(row.rport) else {
            *rest.get_or_insert(0) += row.ports_used;
            continue;
        };
        let way = Way::new(row);
        ways.entry(end).and_modify(|known| known.worst(way)).or_insert(way);
    }
    let mut ranked: Vec<((&str, u16), Way)> = ways.into_iter().collect();
    ranked.sort_unstable_by(|(a, a_way), (b, b_way)| {
        b_way
            .rank()
            .total_cmp(&a_way.rank())
            .then(b_way.ports_used.cmp(&a_way.ports_used))
            .then(a.cmp(b))
    });
    for (_, way) in ranked.iter().skip(top) {
        *rest.get_or_insert(0) += way.ports_used;
    }
    ranked.truncate(top);
    let named = ranked.into_iter().map(|((raddr, rport), way)| (name(raddr, rport), way));
    (named.collect(), rest)
}

fn name(raddr: &str, rport: u16) -> String {
    if raddr.contains(':') { format!("[{raddr}]:{rport}") } else { format!("{raddr}:{rport}") }
}

impl Way {
    fn new(row: &Destination) -> Self {
        Self {
            ports_used: row.ports_used,
            used_ratio: row.used_ratio,
            knee_in_s: row.knee_in_s,
            exhausted_in_s: row.exhausted_in_s,
        }
    }

    fn worst(&mut self, other: Self) {
        let earlier = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.ports_used += other.ports_used;
        self.used_ratio = match (self.used_ratio, other.used_ratio) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        self.knee_in_s = earlier(self.knee_in_s, other.knee_in_s);
        self.exhausted_in_s = earlier(self.exhausted_in_s, other.exhausted_in_s);
    }

    fn rank(&self) -> f64 {
        self.used_ratio.unwrap_or(-1.0)
    }
}
