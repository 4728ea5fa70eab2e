//! Who does not close: only where anybody does not.

use std::{collections::BTreeSet, fmt};

use super::{
    format::{UNKNOWN, compact, count, line, maybe_span, shortened, whole},
    mark,
    tables::{name, shown_start},
};
use crate::stats::snapshot::{CloseWait, Snapshot};

/// Who closes sooner does not leak.
const SLOW_S: f64 = 5.0;

/// Those who hold some for longer than any that closes.
pub(in crate::view) fn slow(s: &Snapshot) -> Vec<&CloseWait> {
    let rows = s.close_wait.as_deref().unwrap_or_default();
    let is_slow = |row: &&CloseWait| row.oldest_s.is_some_and(|oldest_s| oldest_s >= SLOW_S);
    rows.iter().filter(is_slow).collect()
}

/// At most `most` of them.
pub(super) fn leaks(out: &mut String, s: &Snapshot, most: usize) -> fmt::Result {
    let mut slow = slow(s);
    if slow.is_empty() {
        return Ok(());
    }
    slow.truncate(most);
    out.push('\n');
    let title = format!("{}DOES NOT CLOSE", mark(s, "close_wait"));
    let oldest = format!("{}OLDEST", mark(s, "close_wait.oldest_s"));
    leak_line(out, ["PID", &title, "CLOSE_WAIT", &oldest, "MORE/MIN"])?;
    let namespaces: BTreeSet<u32> = slow.iter().filter_map(|row| row.netns).collect();
    slow.iter().try_for_each(|row| leak(out, row, namespaces.len() > 1))
}

fn leak(out: &mut String, row: &CloseWait, with_netns: bool) -> fmt::Result {
    leak_line(
        out,
        [
            &row.pid.map_or(UNKNOWN.to_owned(), |pid| pid.to_string()),
            &shortened(name(row.comm.as_deref(), row.other), 16),
            &compact(row.count, 10),
            &maybe_span(row.oldest_s),
            &row.growth_per_min.map_or(UNKNOWN.to_owned(), signed),
        ],
    )?;
    let more = [
        row.netns.filter(|_| with_netns).map(|netns| format!("netns {netns}")),
        row.container.as_deref().map(|id| format!("container {}", shown_start(id))),
        (row.unaccepted > 0).then(|| format!("not accepted yet {}", count(row.unaccepted))),
    ];
    let more: Vec<String> = more.into_iter().flatten().collect();
    if more.is_empty() { Ok(()) } else { line(out, &format!("{:8}{}", "", more.join("  "))) }
}

pub(in crate::view) fn signed(growth: f64) -> String {
    let shown = compact(whole(growth.abs()), 8);
    match growth {
        _ if shown == "0" => shown,
        less if less < 0.0 => format!("-{shown}"),
        _ => format!("+{shown}"),
    }
}

fn leak_line(out: &mut String, cells: [&str; 5]) -> fmt::Result {
    let [pid, comm, sockets, oldest, growth] = cells;
    line(out, &format!("{pid:>7} {comm:<16} {sockets:>10} {oldest:>9} {growth:>9}"))
}
