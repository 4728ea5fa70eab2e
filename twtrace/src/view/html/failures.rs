//! Whose searches found no port, and how full the range was then.

use maud::{Markup, html};

use super::{
    format::{UNKNOWN, count, endpoint, plain, process, valued},
    tables::table,
};
use crate::stats::snapshot::{SearchFailure, Snapshot};

const TITLES: [(&str, &str); 6] = [
    ("process", ""),
    ("call", ""),
    ("error", ""),
    ("towards", ""),
    ("failed", "number"),
    ("ports taken then", "number"),
];

/// Nothing where none has failed, or nobody knows.
pub(super) fn section(s: &Snapshot) -> Markup {
    let rows = s.port_search.as_ref().map_or(&[][..], |search| &search.failures);
    html! {
        @if !rows.is_empty() {
            section {
                h2 { "Who found no port" }
                (table("failures", "By process, call and remote end", &TITLES, rows, |row| cells(s, row)))
            }
        }
    }
}

fn cells(s: &Snapshot, row: &SearchFailure) -> Markup {
    let key = format!("port_search.{}.failed", row.op.unwrap_or("connect"));
    let then = row
        .last
        .as_ref()
        .map(|range| format!("{} of {}", count(range.ports_used), count(range.ports_available)));
    html! {
        th scope="row" {
            @if row.other { "all others" } @else { (process(row.comm.as_deref(), row.pid)) }
            @if let Some(netns) = row.netns { small { "netns " (netns) } }
        }
        td { (row.op.unwrap_or(UNKNOWN)) }
        td { (row.error.unwrap_or(UNKNOWN)) }
        td { (towards(row)) }
        td.number { (valued(s, &key, Some(count(row.count)))) }
        td.number { (then.as_deref().unwrap_or(UNKNOWN)) }
    }
}

/// The remote end, or the port that was asked for.
fn towards(row: &SearchFailure) -> Markup {
    let from = row.laddr.as_deref().map(plain);
    match (&row.raddr, row.rport, row.lport) {
        (Some(raddr), Some(rport), _) => html! {
            (endpoint(raddr, rport)) @if let Some(from) = from { " from " (from) }
        },
        (_, _, Some(lport)) => html! { "port " (lport) },
        _ => html! { (UNKNOWN) },
    }
}
