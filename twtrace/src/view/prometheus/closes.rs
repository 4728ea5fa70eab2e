//! How connections began and ended, and the mini-sockets that this left.

use super::Family;
use crate::stats::snapshot::{RoleCounts, Roles, Snapshot};

pub(super) fn families(snapshot: &Snapshot) -> Vec<Family> {
    vec![born(snapshot), closes(snapshot), connects(snapshot)]
}

/// By role, as far as records tell: their sum is what the Snapshot has without roles, but for
/// records that were lost or are under way.
fn closes(snapshot: &Snapshot) -> Family {
    let family = Family::counter("closes", "Sockets closed, by who sent the first FIN.");
    roles(snapshot).into_iter().fold(family, |family, (role, counts)| {
        [
            ("active", counts.active),
            ("passive", counts.passive),
            ("simultaneous", counts.simultaneous),
            ("reset", counts.reset),
        ]
        .into_iter()
        .fold(family, |family, (kind, count)| {
            family.with([("kind", kind), ("role", role)], Some(count))
        })
    })
}

fn born(snapshot: &Snapshot) -> Family {
    let family = Family::counter("time_wait_born", "Mini-sockets born, by the role of who closed.");
    let Some(roles) = &snapshot.roles else {
        // Polling sees births, and not whose.
        let born = snapshot.time_wait.as_ref().and_then(|it| it.born);
        return family.with([("role", "unknown")], born);
    };
    by_name(roles)
        .into_iter()
        .fold(family, |family, (role, counts)| family.with([("role", role)], counts.time_wait_born))
}

fn roles(snapshot: &Snapshot) -> Vec<(&'static str, &RoleCounts)> {
    snapshot.roles.iter().flat_map(by_name).collect()
}

fn by_name(roles: &Roles) -> [(&'static str, &RoleCounts); 3] {
    [("client", &roles.client), ("server", &roles.server), ("unknown", &roles.unknown)]
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
