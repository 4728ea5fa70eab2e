//! How full port ranges are: towards destinations, from clients, and what may be reused.

use std::fmt;

use super::{
    format::{
        UNKNOWN, compact, count, endpoint, line, maybe_compact, rate, shortened, span, wrapped,
    },
    tables, why,
};
use crate::stats::snapshot::{Client, Destination, Proxy, Snapshot, TwReuse};

/// Clients and proxies that are named: who fills up is among the first.
const MAX_NAMED: usize = 3;

/// Which destination runs out of ports, and when, in at most `rows` rows.
pub(super) fn destinations(out: &mut String, s: &Snapshot, rows: usize) -> fmt::Result {
    let Some(destinations) = &s.destinations else {
        out.push('\n');
        let why = why(s, "nothing counts them; see `twtrace check`");
        return line(out, &format!("ports used unavailable: {why}"));
    };
    if destinations.is_empty() {
        return Ok(());
    }
    out.push('\n');
    let titles = ["PORTS TOWARDS", "USED", "OF", "%", "TW", "REUSE", "OPENS/S", "KNEE", "FULL IN"];
    destination_line(out, titles)?;
    destinations.iter().take(rows).try_for_each(|row| destination(out, row))
}

fn destination(out: &mut String, row: &Destination) -> fmt::Result {
    let name = match (&row.raddr, row.rport) {
        (Some(raddr), Some(rport)) => endpoint(raddr, rport),
        _ if row.other => "all others".to_owned(),
        _ => UNKNOWN.to_owned(),
    };
    destination_line(
        out,
        [
            &shortened(&name, 21),
            &compact(row.ports_used, 6),
            &maybe_compact(row.ports_available, 6),
            &row.used_ratio.map_or(UNKNOWN.to_owned(), |ratio| format!("{:.0}", ratio * 100.0)),
            &compact(row.ports_time_wait, 6),
            &maybe_compact(row.ports_reusable, 6),
            &rate(row.opens_per_s),
            &time_left(row.knee_in_s),
            &time_left(row.exhausted_in_s),
        ],
    )?;
    let laddr = row.laddr.as_deref().map(|laddr| format!("from {}", shortened(laddr, 39)));
    let errors = row.connect_errors.iter().filter(|(_, count)| **count > 0);
    let words: Vec<String> = laddr
        .into_iter()
        .chain(row.comm.as_deref().map(|comm| format!("by {}", process(comm, row.pid))))
        .chain(errors.map(|(error, n)| format!("{error} {}", count(*n))))
        .collect();
    if words.is_empty() { Ok(()) } else { wrapped(out, "", &words) }
}

fn process(comm: &str, pid: Option<u32>) -> String {
    let comm = shortened(comm, 16);
    match pid {
        Some(pid) => format!("{comm} ({pid})"),
        None => comm,
    }
}

fn destination_line(out: &mut String, cells: [&str; 9]) -> fmt::Result {
    let [name, used, of, percent, tw, reusable, opens, knee, full] = cells;
    line(
        out,
        &format!(
            "{name:<21} {used:>6} {of:>6} {percent:>3} {tw:>6} {reusable:>6} {opens:>7} \
             {knee:>8} {full:>8}"
        ),
    )
}

/// `now` when it is past.
fn time_left(seconds: Option<f64>) -> String {
    match seconds {
        None => UNKNOWN.to_owned(),
        Some(seconds) if seconds <= 0.0 => "now".to_owned(),
        Some(seconds) => span(seconds),
    }
}

/// Which client fills its half of the quadruplets of a listening port.
pub(super) fn clients(out: &mut String, s: &Snapshot) -> fmt::Result {
    let clients = s.clients.iter().flatten().filter(|client| !client.other).take(MAX_NAMED);
    let words: Vec<String> = clients.filter_map(client).collect();
    if words.is_empty() { Ok(()) } else { wrapped(out, "clients", &words) }
}

fn client(row: &Client) -> Option<String> {
    let (raddr, lport) = (row.raddr.as_deref()?, row.lport?);
    let (used, waiting) = (count(row.quadruplets_used), count(row.time_wait));
    Some(format!("{} has {used} ports to :{lport} ({waiting} in TIME_WAIT)", shortened(raddr, 39)))
}

/// Who pays on both sides.
pub(super) fn proxies(out: &mut String, s: &Snapshot) -> fmt::Result {
    let proxies = s.proxies.iter().flatten().take(MAX_NAMED);
    let words: Vec<String> = proxies.map(proxy).collect();
    if words.is_empty() { Ok(()) } else { wrapped(out, "proxies", &words) }
}

fn proxy(row: &Proxy) -> String {
    let comm = process(tables::name(row.comm.as_deref(), false), row.pid);
    let (outbound, inbound) = (count(row.outbound_time_wait), count(row.inbound_time_wait));
    format!("{comm}: TIME_WAIT outbound {outbound}, inbound {inbound}")
}

/// What tcp_tw_reuse lets connects take, and why not more.
pub(super) fn tw_reuse(out: &mut String, s: &Snapshot) -> fmt::Result {
    for row in s.tw_reuse.iter().flatten().take(MAX_NAMED) {
        wrapped(out, "tw_reuse", &reuse(row))?;
    }
    Ok(())
}

fn reuse(row: &TwReuse) -> Vec<String> {
    let setting = match row.setting {
        None => "setting unknown".to_owned(),
        Some(0) => "0 (never)".to_owned(),
        Some(1) => "1 (always)".to_owned(),
        Some(2) => "2 (on loopback)".to_owned(),
        Some(other) => other.to_string(),
    };
    let after = row.delay_ms.map(|ms| format!("after {}", span(ms as f64 / 1e3)));
    let reusable = row.reusable.map(|n| format!("reusable now {}", count(n)));
    let refused = &row.refused;
    let reasons = [
        ("not by the setting", refused.setting),
        ("without timestamps", refused.no_timestamps),
        ("too young", refused.too_young),
        ("in FIN_WAIT2", refused.fin_wait2),
        ("bound", refused.bound),
    ];
    let reasons = reasons.into_iter().filter_map(|(why, n)| Some((why, n.filter(|n| *n > 0)?)));
    [Some(setting), after, reusable, Some(format!("in netns {}", row.netns))]
        .into_iter()
        .flatten()
        .chain(reasons.map(|(why, n)| format!("{why} {}", count(n))))
        .collect()
}

/// How many searches found no port, and who has most of them: for a report of many things.
pub(super) fn failures(out: &mut String, s: &Snapshot) -> fmt::Result {
    let rows = s.port_search.as_ref().map_or(&[][..], |search| &search.failures);
    let Some(worst) = rows.first() else {
        return Ok(());
    };
    let total: u64 = rows.iter().map(|row| row.count).sum();
    let who = process(tables::name(worst.comm.as_deref(), worst.other), worst.pid);
    let mut words = vec![format!("no port found {}", count(total))];
    words.push(format!("most by {who}: {}", count(worst.count)));
    if let (Some(raddr), Some(rport)) = (&worst.raddr, worst.rport) {
        words.push(format!("towards {}", shortened(&endpoint(raddr, rport), 47)));
    }
    if let Some(last) = &worst.last {
        let (used, of) = (count(last.ports_used), count(last.ports_available));
        words.push(format!("{used} of {of} ports taken then"));
    }
    wrapped(out, "failures", &words)
}
