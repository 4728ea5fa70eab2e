//! The tables: who closes first, and who searches for ports.

use std::{collections::BTreeSet, fmt};

use super::{
    format::{
        UNKNOWN, compact, count, line, maybe_compact, maybe_span, seconds, shortened, span, whole,
    },
    mark,
};
use crate::stats::snapshot::{Closer, SearchOp, SearchingProcess, Snapshot};

/// Who closes first, and whose mini-sockets keep ports.
pub(super) fn closers(out: &mut String, s: &Snapshot) -> fmt::Result {
    let Some(rows) = &s.closers else {
        return match s.probes.light {
            true => line(out, "\nclosers    unavailable: left out by --light"),
            false => Ok(()),
        };
    };
    out.push('\n');
    let title = format!("{}CLOSES FIRST", mark(s, "closers"));
    let titles =
        ["PID", &title, "ROLE", "ACTIVE", "SHARE", "PASSIVE", "RESETS", "TW NOW", "PORT-S"];
    closer_line(out, titles)?;
    if rows.is_empty() {
        return line(out, "        nobody has closed yet");
    }
    let namespaces: BTreeSet<u32> = rows.iter().filter_map(|row| row.netns).collect();
    let refused = mark(s, "closers.refused");
    rows.iter().try_for_each(|row| closer(out, row, namespaces.len() > 1, refused))
}

fn closer(out: &mut String, row: &Closer, with_netns: bool, refused: &str) -> fmt::Result {
    let comm = name(row.comm.as_deref(), row.other);
    let role = row.role.filter(|role| *role != "unknown");
    closer_line(
        out,
        [
            &row.pid.map_or(UNKNOWN.to_owned(), |pid| pid.to_string()),
            &shortened(comm, 15),
            role.unwrap_or(UNKNOWN),
            &compact(row.active_closes, 9),
            &row.share.map_or(UNKNOWN.to_owned(), |share| format!("{:.1}%", share * 100.0)),
            &compact(row.peer_closes, 7),
            &maybe_compact(row.resets, 6),
            &maybe_compact(row.time_wait_now, 8),
            &maybe_compact(row.port_seconds.map(whole), 8),
        ],
    )?;
    let more = [
        row.netns.filter(|_| with_netns).map(|netns| format!("netns {netns}")),
        row.container.as_deref().map(|id| format!("container {}", shown_start(id))),
        row.refused.filter(|n| *n > 0).map(|n| format!("{refused}refused {}", count(n))),
    ];
    let more: Vec<String> = more.into_iter().flatten().collect();
    if more.is_empty() { Ok(()) } else { line(out, &format!("{:8}{}", "", more.join("  "))) }
}

fn closer_line(out: &mut String, cells: [&str; 9]) -> fmt::Result {
    let [pid, comm, role, active, share, passive, resets, now, port_s] = cells;
    line(
        out,
        &format!(
            "{pid:>7} {comm:<15} {role:<6} {active:>9} {share:>6} {passive:>7} {resets:>6} \
             {now:>8} {port_s:>8}"
        ),
    )
}

/// What to call the process of a row.
pub(super) fn name(comm: Option<&str>, other: bool) -> &str {
    match (comm, other) {
        (_, true) => "all others",
        (Some(comm), _) => comm,
        (None, _) => "(name unknown)",
    }
}

/// As much of a container id as `docker ps` shows.
pub(super) fn shown_start(container: &str) -> String {
    shortened(&container.chars().take(12).collect::<String>(), 12)
}

/// The processes that spend most time on port searches, at most `most` of them.
pub(super) fn searchers(out: &mut String, s: &Snapshot, most: usize) -> fmt::Result {
    let rows = s.port_search.as_ref().map_or(&[][..], |search| &search.by_process);
    if rows.is_empty() {
        return Ok(());
    }
    out.push('\n');
    let bound = mark(s, "port_search.connect.latency_ns");
    let [total, p99, max] = ["TOTAL", "P99", "MAX"].map(|title| format!("{bound}{title}"));
    searcher_line(out, ["PID", "SEARCHES PORTS", "BY", "COUNT", "FAILED", &total, &p99, &max])?;
    rows.iter().take(most).try_for_each(|row| searcher(out, row))
}

fn searcher(out: &mut String, row: &SearchingProcess) -> fmt::Result {
    let failed = row.failed.as_ref().map(|failed| failed.values().sum());
    let by = match row.op {
        Some(SearchOp::Bind) => "bind",
        Some(SearchOp::Connect) => "connect",
        None => "any",
    };
    let comm = name(row.comm.as_deref(), row.other);
    let latency = &row.latency_ns;
    // Of a search whose end nobody saw, no time is known.
    let total = (latency.count > 0).then(|| seconds(row.total_ns));
    searcher_line(
        out,
        [
            &row.pid.map_or(UNKNOWN.to_owned(), |pid| pid.to_string()),
            &shortened(comm, 16),
            by,
            &compact(row.count, 9),
            &maybe_compact(failed, 7),
            &maybe_span(total),
            &maybe_span(latency.p99.map(seconds)),
            &latency.max.map_or(UNKNOWN.to_owned(), |max| span(seconds(max))),
        ],
    )
}

fn searcher_line(out: &mut String, cells: [&str; 8]) -> fmt::Result {
    let [pid, comm, by, searches, failed, total, p99, max] = cells;
    line(
        out,
        &format!(
            "{pid:>7} {comm:<16} {by:<7} {searches:>9} {failed:>7} {total:>9} {p99:>8} {max:>8}"
        ),
    )
}
