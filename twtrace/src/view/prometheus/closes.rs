//! How connections began and ended.

use super::Family;
use crate::stats::snapshot::Snapshot;

pub(super) fn families(snapshot: &Snapshot) -> Vec<Family> {
    vec![closes(snapshot), connects(snapshot)]
}

fn closes(snapshot: &Snapshot) -> Family {
    let family = Family::counter("closes", "Sockets closed, by who sent the first FIN.");
    let Some(closes) = &snapshot.closes else { return family };
    [
        ("active", closes.active),
        ("passive", closes.passive),
        ("simultaneous", closes.simultaneous),
        ("reset", closes.reset),
    ]
    .into_iter()
    .fold(family, |family, (kind, count)| {
        family.with([("kind", kind), ("role", "unknown")], Some(count))
    })
}

fn connects(snapshot: &Snapshot) -> Family {
    let family = Family::counter("connects", "Connects that are over, by how they ended.");
    let Some(connects) = &snapshot.connects else { return family };
    [
        ("ok", Some(connects.ok)),
        ("refused", connects.refused),
        ("timed_out", connects.timed_out),
        ("no_port", connects.no_port),
        ("other", connects.other),
    ]
    .into_iter()
    .fold(family, |family, (result, count)| family.with([("result", result)], count))
}
