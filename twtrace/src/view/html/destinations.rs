//! Which destination runs out of ports, and when.

use maud::{Markup, html};

use super::{
    format::{
        UNKNOWN, count, duration, endpoint, percent, plain, process, rate, unavailable, valued,
    },
    tables::table,
};
use crate::stats::snapshot::{Destination, Snapshot};

const TITLES: [(&str, &str); 8] = [
    ("towards", ""),
    ("ports taken", "wide"),
    ("of", "number"),
    ("in TIME_WAIT", "number"),
    ("opens/s", "number"),
    ("knee in", "number"),
    ("no port left in", "number"),
    ("connects failed", "number"),
];

pub(super) fn section(s: &Snapshot) -> Markup {
    match &s.destinations {
        None => unavailable("nothing counts ports; see `twtrace check`"),
        Some(rows) if rows.is_empty() => html! { p.none { "no ports are taken towards anybody" } },
        Some(rows) => table(
            "destinations",
            "By network namespace, local address and remote end, at the end of the recording",
            &TITLES,
            rows,
            |row| cells(s, row),
        ),
    }
}

fn cells(s: &Snapshot, row: &Destination) -> Markup {
    let opens = valued(s, "destinations.opens_per_s", row.opens_per_s.map(rate));
    html! {
        th scope="row" { (name(row)) (details(row)) }
        td.wide { (meter(row)) }
        td.number { (row.ports_available.map_or(UNKNOWN.to_owned(), count)) }
        td.number { (count(row.ports_time_wait)) }
        td.number { (opens) }
        td.number { (left(s, "destinations.knee_in_s", row.knee_in_s, "past")) }
        td.number { (left(s, "destinations.exhausted_in_s", row.exhausted_in_s, "now")) }
        td.number { (errors(row)) }
    }
}

/// What to call it.
pub(super) fn name(row: &Destination) -> String {
    match (&row.raddr, row.rport) {
        (Some(raddr), Some(rport)) => endpoint(raddr, rport),
        _ if row.other => "all others".to_owned(),
        _ => UNKNOWN.to_owned(),
    }
}

fn details(row: &Destination) -> Markup {
    let words = [
        row.laddr.as_ref().map(|laddr| format!("from {}", plain(laddr))),
        row.comm.as_ref().map(|comm| format!("by {}", process(Some(comm), row.pid))),
        row.netns.map(|netns| format!("netns {netns}")),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    html! { @if !words.is_empty() { small { (words.join(" · ")) } } }
}

/// How full it is; the line across is the knee.
fn meter(row: &Destination) -> Markup {
    let width = row.used_ratio.unwrap_or_default().clamp(0.0, 1.0) * 100.0;
    let past = row.exhausted_in_s == Some(0.0);
    let has_knee = row.range.is_some_and(|range| range.step == Some(2));
    html! {
        span.bar.knee[has_knee] { i.full[past] style=(format!("width:{width:.1}%")) {} }
        span.bar-value {
            (count(row.ports_used))
            @if let Some(ratio) = row.used_ratio { " · " (percent(ratio)) }
        }
    }
}

/// A forecast, or that it has come true.
fn left(s: &Snapshot, key: &str, seconds: Option<f64>, past: &str) -> Markup {
    match seconds {
        None => {
            html! { span.unknown title="not approaching within an hour, or not known" { (UNKNOWN) } }
        }
        Some(seconds) if seconds <= 0.0 => html! { strong.alarm { (past) } },
        Some(seconds) => valued(s, key, Some(duration(seconds))),
    }
}

fn errors(row: &Destination) -> Markup {
    let failed: Vec<_> = row.connect_errors.iter().filter(|(_, count)| **count > 0).collect();
    html! {
        @if failed.is_empty() { "0" }
        @for (at, (error, failed)) in failed.iter().enumerate() {
            @if at > 0 { br; }
            (error) " " (count(**failed))
        }
    }
}
