//! Who spends most time on port searches.

use maud::{Markup, html};

use super::{
    format::{UNKNOWN, count, process, seconds, span, unavailable, valued},
    tables::{bar, table},
};
use crate::stats::snapshot::{SearchOp, SearchingProcess, Snapshot};

const TITLES: [(&str, &str); 8] = [
    ("process", ""),
    ("by", ""),
    ("searches", "number"),
    ("failed", "number"),
    ("time spent", "number"),
    ("of all", "wide"),
    ("p99", "number"),
    ("CPU", "number"),
];

pub(super) fn section(s: &Snapshot) -> Markup {
    let Some(search) = &s.port_search else {
        return unavailable("nothing sees searches; see `twtrace check`");
    };
    let rows = &search.by_process;
    if rows.is_empty() {
        return html! { p.none { "nobody has searched a port" } };
    }
    let total_ns = search.bind.total_ns.saturating_add(search.connect.total_ns);
    table("searchers", "By process and call", &TITLES, rows, |row| cells(s, row, total_ns))
}

fn cells(s: &Snapshot, row: &SearchingProcess, total_ns: u64) -> Markup {
    let (op, key) = match row.op {
        Some(SearchOp::Bind) => ("bind", "port_search.bind"),
        Some(SearchOp::Connect) => ("connect", "port_search.connect"),
        None => ("any", "port_search.connect"),
    };
    let key = |name: &str| format!("{key}.{name}");
    let failed = row.failed.as_ref().map(|failed| count(failed.values().sum()));
    // Of a search whose end nobody saw, no time is known.
    let timed = row.latency_ns.count > 0;
    let total = timed.then(|| span(seconds(row.total_ns)));
    let part = (timed && total_ns > 0).then(|| row.total_ns as f64 / total_ns as f64);
    let p99 = row.latency_ns.p99.map(|ns| span(seconds(ns)));
    html! {
        th scope="row" { @if row.other { "all others" } @else { (process(row.comm.as_deref(), row.pid)) } }
        td { (op) }
        td.number { (valued(s, &key("count"), Some(count(row.count)))) }
        td.number { (valued(s, &key("failed"), failed)) }
        td.number { (valued(s, &key("latency_ns"), total)) }
        td.wide { (bar(part)) }
        td.number { (valued(s, &key("latency_ns"), p99)) }
        td.number { (row.cpu_core_pct.map_or(UNKNOWN.to_owned(), |pct| format!("{pct:.1} %"))) }
    }
}
