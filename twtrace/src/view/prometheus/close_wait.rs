//! Who leaves sockets open or in TIME_WAIT, by the name of the process.

use super::{Family, ranked::ranked};
use crate::stats::snapshot::Snapshot;

pub(super) fn families(snapshot: &Snapshot, top: usize) -> Vec<Family> {
    let mut waits = Family::gauge(
        "close_wait_sockets",
        "Sockets whose peer has closed and whose process has not, by the name of the process.",
    );
    let rows = snapshot.close_wait.iter().flatten();
    for (comm, count) in ranked(rows.map(|row| (row.comm.as_deref(), row.count)), top) {
        waits.push("comm", &comm, count);
    }
    let mut left = Family::gauge(
        "closer_time_wait_sockets",
        "Mini-sockets alive by the name of the process that closed first.",
    );
    let rows = snapshot.closers.iter().flatten();
    let rows = rows.filter_map(|row| Some((row.comm.as_deref(), row.time_wait_now?)));
    for (comm, count) in ranked(rows.filter(|(_, count)| *count > 0), top) {
        left.push("comm", &comm, count);
    }
    vec![waits, left]
}
