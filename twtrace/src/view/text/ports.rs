//! The report of `twtrace ports`: what searches cost, whom, and why.

use std::{collections::BTreeMap, fmt};

use super::{
    format::{
        UNKNOWN, compact, count, endpoint, line, maybe_compact, maybe_span, seconds, shortened,
        span, wrapped,
    },
    histogram, loss, mark, marked, ranges, tables, title,
};
use crate::stats::snapshot::{
    BoundConnects, Failures, Halves, PortSearch, PortSearchKind, RangeState, SearchFailure,
    SearchOp, SearchedDestination, SearchedNetns, Snapshot,
};

/// Whose searches a report counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those of all processes.
    Everybody,
    /// Those of this command and what it started.
    Command(String),
    /// Those of all processes while this command ran.
    EverybodyDuring {
        /// The command.
        command: String,
        /// Why its own cannot be told from others'.
        why: String,
    },
}

/// `snapshot` as the report of a whole run.
pub fn report(snapshot: &Snapshot, whose: &Whose) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_report(&mut out, snapshot, whose);
    out
}

fn write_report(out: &mut String, s: &Snapshot, whose: &Whose) -> fmt::Result {
    header(out, s, whose)?;
    loss(out, s)?;
    if let Some(search) = &s.port_search {
        searches(out, s, search)?;
        histogram::latencies(out, s)?;
        tables::searchers(out, s, usize::MAX)?;
        by_destination(out, s, &search.by_destination)?;
        by_netns(out, s, &search.by_netns)?;
        failures(out, &search.failures)?;
        bound(out, &search.bind_before_connect)?;
    } else {
        line(out, "ports      unavailable: nothing sees searches; see `twtrace check`")?;
    }
    if matches!(whose, Whose::Command(_)) {
        line(out, "\nof all processes:")?;
    }
    ranges::destinations(out, s, usize::MAX)?;
    ranges::clients(out, s)?;
    ranges::proxies(out, s)?;
    ranges::tw_reuse(out, s)
}

fn header(out: &mut String, s: &Snapshot, whose: &Whose) -> fmt::Result {
    let tier = s.probes.port_search.map_or("none", |tier| tier.name());
    title(out, s, tier)?;
    let searches = format!("port searches of {:.1} s,", s.elapsed_s);
    match whose {
        Whose::Everybody => line(out, &format!("{searches} of all processes")),
        Whose::Command(command) => {
            line(out, &format!("{searches} of `{}` and what it started", shortened(command, 27)))
        }
        Whose::EverybodyDuring { command, why } => {
            let title = format!("{searches} of all processes of the host: {why}");
            let words: Vec<String> =
                title.split_whitespace().map(|word| shortened(word, 60)).collect();
            paragraph(out, &words)?;
            line(out, &format!("while `{}` ran", shortened(command, 60)))
        }
    }
}

/// Words with one space between them, broken where a line is full.
fn paragraph(out: &mut String, words: &[String]) -> fmt::Result {
    const WIDTH: usize = 80;
    let mut current = String::new();
    for word in words {
        if !current.is_empty() && current.chars().count() + 1 + word.chars().count() > WIDTH {
            line(out, &current)?;
            current.clear();
        }
        if !current.is_empty() {
            current.push(' ');
        }
        current.push_str(word);
    }
    line(out, &current)
}

/// What the calls cost, and how far they had to look.
fn searches(out: &mut String, s: &Snapshot, search: &PortSearch) -> fmt::Result {
    out.push('\n');
    let titles = ["SEARCHES BY", "COUNT", "FAILED", "P50", "P90", "P99", "MAX", "TOTAL", "CPU %"];
    kind_line(out, titles)?;
    let kinds = [("connect", &search.connect), ("bind", &search.bind)];
    kinds.iter().try_for_each(|(op, kind)| kind_row(out, s, op, kind))?;
    let explicit = &search.bind_explicit;
    let key = "port_search.bind_explicit";
    let checks = marked(s, &format!("{key}.count"), compact(explicit.count, 8));
    let failed = explicit.failed.as_ref().map(|failed| failed.values().sum());
    let failed = marked(s, &format!("{key}.failed"), maybe_compact(failed, 6));
    kind_line(out, ["(own port)", &checks, &failed, "", "", "", "", "", ""])?;
    errors(
        out,
        &[
            ("connect", search.connect.failed.as_ref()),
            ("bind", search.bind.failed.as_ref()),
            ("own port", explicit.failed.as_ref()),
        ],
    )?;
    line(out, "latency is wall time: waits for locks and for a CPU are in it, not in CPU %")?;
    if kinds.iter().all(|(_, kind)| kind.cpu_core_pct.is_none()) {
        line(out, "CPU % unavailable: no samples are taken")?;
    }
    for (op, kind) in kinds {
        looked(out, op, kind)?;
    }
    Ok(())
}

fn kind_row(out: &mut String, s: &Snapshot, op: &str, kind: &PortSearchKind) -> fmt::Result {
    let key = |name: &str| format!("port_search.{op}.{name}");
    let failed = kind.failed.as_ref().map(|failed| failed.values().sum());
    let bound = mark(s, &key("latency_ns"));
    let at_most = |value: Option<u64>| {
        value.map_or(UNKNOWN.to_owned(), |value| format!("{bound}{}", span(seconds(value))))
    };
    let latency = &kind.latency_ns;
    // Of a search whose end nobody saw, no time is known.
    let total = (latency.count > 0).then_some(kind.total_ns);
    kind_line(
        out,
        [
            op,
            &marked(s, &key("count"), compact(kind.count, 8)),
            &marked(s, &key("failed"), maybe_compact(failed, 6)),
            &at_most(latency.p50),
            &at_most(latency.p90),
            &at_most(latency.p99),
            &at_most(latency.max),
            &at_most(total),
            &kind.cpu_core_pct.map_or(UNKNOWN.to_owned(), |pct| format!("{pct:.1}")),
        ],
    )
}

fn kind_line(out: &mut String, cells: [&str; 9]) -> fmt::Result {
    let [op, searches, failed, p50, p90, p99, max, total, cpu] = cells;
    line(
        out,
        &format!(
            "{op:<11} {searches:>9} {failed:>7} {p50:>8} {p90:>8} {p99:>8} {max:>8} {total:>8} \
             {cpu:>5}"
        ),
    )
}

/// What failed searches failed with.
fn errors(out: &mut String, kinds: &[(&str, Option<&Failures>)]) -> fmt::Result {
    let mut words = Vec::new();
    for (op, failed) in kinds {
        let failed = failed.iter().flat_map(|failed| failed.iter());
        let seen = failed.filter(|(_, count)| **count > 0);
        words.extend(seen.map(|(error, n)| format!("{op} {error} {}", count(*n))));
    }
    if words.is_empty() { Ok(()) } else { wrapped(out, "failed", &words) }
}

/// Where the ports lie that were found, and how many were taken on the way.
fn looked(out: &mut String, op: &str, kind: &PortSearchKind) -> fmt::Result {
    let Halves { first_half, second_half, unknown } = kind.found;
    if first_half + second_half > 0 {
        let second = if op == "connect" { "in the second, past the knee" } else { "in the second" };
        let mut words = vec![
            format!("{op} in the first half {}", count(first_half)),
            format!("{second} {}", count(second_half)),
        ];
        if unknown > 0 {
            words.push(format!("not known {}", count(unknown)));
        }
        wrapped(out, "found", &words)?;
    }
    let Some(tried) = kind.tried.as_ref().filter(|tried| tried.count > 0) else {
        return Ok(());
    };
    let quantiles =
        [("p50", tried.p50), ("p90", tried.p90), ("p99", tried.p99), ("max", tried.max)];
    let known = quantiles.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let known = known.map(|(name, n)| format!("{name} {}", count(n)));
    let words: Vec<String> =
        [format!("{op} looked at taken ports:")].into_iter().chain(known).collect();
    wrapped(out, "tried", &words)
}

fn by_destination(out: &mut String, s: &Snapshot, rows: &[SearchedDestination]) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    out.push('\n');
    let bound = mark(s, "port_search.connect.latency_ns");
    let titles = cost_titles(bound);
    cost_line(out, "SEARCHES TOWARDS", titles.each_ref().map(String::as_str))?;
    for row in rows {
        let name = match (&row.raddr, row.rport) {
            (Some(raddr), Some(rport)) => endpoint(raddr, rport),
            _ => "all others".to_owned(),
        };
        let failed = Some(row.failed.values().sum());
        let latency = &row.latency_ns;
        let total = (latency.count > 0).then_some(row.total_ns);
        cost_row(out, &name, row.count, failed, [total, latency.p99, latency.max])?;
    }
    Ok(())
}

fn by_netns(out: &mut String, s: &Snapshot, rows: &[SearchedNetns]) -> fmt::Result {
    let namespaces: BTreeMap<_, _> = rows.iter().map(|row| (row.netns, ())).collect();
    if namespaces.len() < 2 {
        return Ok(());
    }
    out.push('\n');
    let titles = cost_titles(mark(s, "port_search.connect.latency_ns"));
    cost_line(out, "SEARCHES IN NETNS", titles.each_ref().map(String::as_str))?;
    for row in rows {
        let name = match (row.netns, row.op) {
            (Some(netns), Some(op)) => format!("{netns} by {}", op_name(op)),
            _ => "all others".to_owned(),
        };
        let failed = row.failed.as_ref().map(|failed| failed.values().sum());
        let latency = &row.latency_ns;
        let total = (latency.count > 0).then_some(row.total_ns);
        cost_row(out, &name, row.count, failed, [total, latency.p99, latency.max])?;
    }
    Ok(())
}

fn op_name(op: SearchOp) -> &'static str {
    match op {
        SearchOp::Bind => "bind",
        SearchOp::Connect => "connect",
    }
}

/// Of `COUNT`, `FAILED` and times with the mark of these.
fn cost_titles(bound: &str) -> [String; 5] {
    let [total, p99, max] = ["TOTAL", "P99", "MAX"].map(|title| format!("{bound}{title}"));
    ["COUNT".to_owned(), "FAILED".to_owned(), total, p99, max]
}

fn cost_row(
    out: &mut String,
    name: &str,
    searches: u64,
    failed: Option<u64>,
    times: [Option<u64>; 3],
) -> fmt::Result {
    let [total, p99, max] = times.map(|time| maybe_span(time.map(seconds)));
    let (searches, failed) = (compact(searches, 9), maybe_compact(failed, 7));
    cost_line(out, &shortened(name, 32), [&searches, &failed, &total, &p99, &max])
}

fn cost_line(out: &mut String, name: &str, cells: [&str; 5]) -> fmt::Result {
    let [searches, failed, total, p99, max] = cells;
    line(out, &format!("{name:<32} {searches:>9} {failed:>7} {total:>9} {p99:>8} {max:>8}"))
}

/// Who found no port, and how full the range was at that moment.
fn failures(out: &mut String, rows: &[SearchFailure]) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    out.push('\n');
    failure_line(out, ["PID", "FOUND NO PORT", "BY", "COUNT", "FOR", "TAKEN THEN"])?;
    rows.iter().try_for_each(|row| failure(out, row))
}

fn failure(out: &mut String, row: &SearchFailure) -> fmt::Result {
    let target = match (&row.raddr, row.rport, row.lport) {
        (Some(raddr), Some(rport), _) => endpoint(raddr, rport),
        (_, _, Some(lport)) => format!("port {lport}"),
        _ => UNKNOWN.to_owned(),
    };
    let taken = row.last.as_ref().map_or(UNKNOWN.to_owned(), |last: &RangeState| {
        format!("{} of {}", count(last.ports_used), count(last.ports_available))
    });
    failure_line(
        out,
        [
            &row.pid.map_or(UNKNOWN.to_owned(), |pid| pid.to_string()),
            &shortened(tables::name(row.comm.as_deref(), row.other), 15),
            row.op.map_or("any", |op| if op == "bind_explicit" { "own port" } else { op }),
            &compact(row.count, 6),
            &shortened(&target, 22),
            &taken,
        ],
    )?;
    match (row.error, &row.last) {
        (Some(error), Some(last)) => {
            line(out, &format!("{:8}{error}, range {} to {}", "", last.low, last.high))
        }
        (Some(error), None) => line(out, &format!("{:8}{error}", "")),
        (None, _) => Ok(()),
    }
}

fn failure_line(out: &mut String, cells: [&str; 6]) -> fmt::Result {
    let [pid, comm, by, times, target, taken] = cells;
    line(out, &format!("{pid:>7} {comm:<15} {by:<8} {times:>6} {target:<22} {taken:>16}"))
}

/// Who takes ports away from all destinations at once.
fn bound(out: &mut String, rows: &[BoundConnects]) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    out.push('\n');
    line(out, "bound before connect: the port is kept from every other destination")?;
    line(out, "(IP_BIND_ADDRESS_NO_PORT leaves the choice to connect)")?;
    for row in rows {
        let comm = shortened(tables::name(row.comm.as_deref(), row.other), 15);
        let pid = row.pid.map_or(UNKNOWN.to_owned(), |pid| pid.to_string());
        let in_range =
            row.in_range.map_or(String::new(), |n| format!("  in the range {}", count(n)));
        line(out, &format!("{pid:>7} {comm:<15} connects {}{in_range}", count(row.count)))?;
    }
    Ok(())
}
