//! The host: its sockets, its kernel's counters, what is traced of it, and what was lost.

use super::{Family, Kind};
use crate::{
    probes::Tier,
    stats::snapshot::{Kernel, Snapshot},
};

/// The kernel's name of the counter of mini-sockets that it did not make.
const OVERFLOW: &str = "TCPTimeWaitOverflow";

pub(super) fn families(snapshot: &Snapshot) -> Vec<Family> {
    vec![
        sockets(snapshot),
        overflow(snapshot.kernel.as_ref()),
        lost(snapshot),
        tiers(snapshot),
        host(snapshot),
    ]
}

fn sockets(snapshot: &Snapshot) -> Family {
    let family = Family::gauge("sockets", "TCP sockets by state, mini-sockets left out.");
    snapshot
        .states
        .iter()
        .fold(family, |family, (state, count)| family.with([("state", state)], *count))
}

fn overflow(kernel: Option<&Kernel>) -> Family {
    let counted = kernel.and_then(|kernel| kernel.counters.get(OVERFLOW).copied());
    Family::counter(
        "kernel_time_wait_overflow",
        "The kernel's own count of mini-sockets that it did not make, of one network namespace.",
    )
    .of(counted)
}

fn lost(snapshot: &Snapshot) -> Family {
    let family = Family::counter("lost", "What was not seen, by where it was lost.");
    let Some(loss) = &snapshot.loss else { return family };
    family
        .with([("loss", "ring_full")], Some(loss.ring_full))
        .with([("loss", "missed")], loss.missed)
        .with([("loss", "unmatched")], Some(loss.unmatched))
        .with([("loss", "evicted")], Some(loss.evicted))
}

fn tiers(snapshot: &Snapshot) -> Family {
    let probes = &snapshot.probes;
    let family =
        Family::new("hook_tier", Kind::Info, "The kind of hooks that each capability has.");
    [
        ("transitions", probes.transitions),
        ("time_wait", probes.time_wait),
        ("end_cause", probes.end_cause),
        ("port_search", probes.port_search),
        ("cpu_share", probes.cpu_share),
        ("ports_tried", probes.ports_tried),
    ]
    .into_iter()
    .fold(family, |family, (capability, tier)| {
        // Nobody delivers it: that is known.
        let tier = tier.unwrap_or(Tier::None).name();
        family.with([("capability", capability), ("tier", tier)], Some(1_u64))
    })
}

fn host(snapshot: &Snapshot) -> Family {
    let mut family = Family::new("host", Kind::Info, "The kernel that runs.");
    family.push("kernel", &snapshot.host.kernel, 1_u64);
    family
}
