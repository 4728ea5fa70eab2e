//! Who closes first.

use maud::{Markup, html};

use super::{
    format::{UNKNOWN, count, plain, process, span, unavailable, valued, whole},
    tables::{bar, table},
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
            (place(row))
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

/// Where it runs.
fn place(row: &Closer) -> Markup {
    let container = row
        .container
        .as_ref()
        .map(|id| format!("container {}", plain(id).chars().take(12).collect::<String>()));
    let cgroup = row.cgroup.as_deref().filter(|_| container.is_none()).map(plain);
    let words = [container, cgroup, row.netns.map(|netns| format!("netns {netns}"))];
    let words: Vec<String> = words.into_iter().flatten().collect();
    html! { @if !words.is_empty() { small { (words.join(" · ")) } } }
}
