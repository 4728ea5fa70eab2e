//! Who closes first.

use maud::{Markup, html};

use super::{
    format::{UNKNOWN, count, process, span, unavailable, valued, whole},
    tables::{bar, place, table},
};
use crate::stats::snapshot::{Closer, Snapshot};

const TITLES: [(&str, &str); 9] = [
    ("process", ""),
    ("role", ""),
    ("active", "number"),
    ("share", "wide"),
    ("passive", "number"),
    ("resets", "number"),
    ("TIME_WAIT now", "number"),
    ("port-seconds", "number"),
    ("lifetime p50", "number"),
];

pub(super) fn section(s: &Snapshot) -> Markup {
    match &s.closers {
        None => unavailable("only transitions tell; see `twtrace check`"),
        Some(rows) if rows.is_empty() => html! { p.none { "nobody has closed" } },
        Some(rows) => {
            table("closers", "By process, network namespace and role", &TITLES, rows, |row| {
                cells(s, row)
            })
        }
    }
}

fn cells(s: &Snapshot, row: &Closer) -> Markup {
    let number = |key: &str, number: Option<u64>| {
        html! { td.number { (valued(s, &format!("closers.{key}"), number.map(count))) } }
    };
    let lived = row.lifetime_s.as_ref().and_then(|lived| lived.p50);
    html! {
        th scope="row" {
            @if row.other { "all others" } @else { (process(row.comm.as_deref(), row.pid)) }
            (place(row.container.as_deref(), row.cgroup.as_deref(), row.netns))
        }
        td { (row.role.unwrap_or(UNKNOWN)) }
        td.number { (valued(s, "closers", Some(count(row.active_closes)))) }
        td.wide { (bar(row.share)) }
        td.number { (valued(s, "closers", Some(count(row.peer_closes)))) }
        (number("resets", row.resets))
        (number("time_wait_now", row.time_wait_now))
        (number("port_seconds", row.port_seconds.map(whole)))
        td.number { (valued(s, "closers.lifetime_s", lived.map(span))) }
    }
}
