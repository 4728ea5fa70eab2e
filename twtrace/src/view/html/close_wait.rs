//! Who does not close.

use maud::{Markup, html};

use super::{
    format::{UNKNOWN, count, process, span, valued},
    tables::{place, table},
};
use crate::{
    stats::snapshot::{CloseWait, Snapshot},
    view::text::{signed, slow},
};

const TITLES: [(&str, &str); 5] = [
    ("process", ""),
    ("CLOSE_WAIT", "number"),
    ("oldest", "number"),
    ("more each minute", "number"),
    ("not accepted yet", "number"),
];

/// Nothing where everybody closes, or nobody knows.
pub(super) fn section(s: &Snapshot) -> Markup {
    let rows = slow(s);
    html! {
        @if !rows.is_empty() {
            section {
                h2 { "Who does not close" }
                (table("leaks", "Whose peers have closed, by process and network namespace", &TITLES, &rows, |row| cells(s, row)))
            }
        }
    }
}

fn cells(s: &Snapshot, row: &CloseWait) -> Markup {
    html! {
        th scope="row" {
            @if row.other { "all others" } @else { (process(row.comm.as_deref(), row.pid)) }
            (place(row.container.as_deref(), row.cgroup.as_deref(), row.netns))
        }
        td.number { (valued(s, "close_wait", Some(count(row.count)))) }
        td.number { (valued(s, "close_wait.oldest_s", row.oldest_s.map(span))) }
        td.number { (row.growth_per_min.map_or(UNKNOWN.to_owned(), signed)) }
        td.number { (valued(s, "close_wait", Some(count(row.unaccepted)))) }
    }
}
