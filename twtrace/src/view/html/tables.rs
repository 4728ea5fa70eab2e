//! What tables have in common: a title, rows up to a limit, and a bar in a cell.

use maud::{Markup, html};

use super::format::{count, percent, plain};

/// Rows that a page shows: what matters is among the first.
const MAX_ROWS: usize = 100;

/// A table of `rows`, the first of them, each drawn by `row`.
pub(super) fn table<T>(
    id: &str,
    caption: &str,
    titles: &[(&str, &str)],
    rows: &[T],
    row: impl Fn(&T) -> Markup,
) -> Markup {
    html! {
        div.scroll id=(id) tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead { tr { @for (title, class) in titles { th scope="col" class=(class) { (title) } } } }
                tbody { @for one in rows.iter().take(MAX_ROWS) { tr { (row(one)) } } }
            }
        }
        @if rows.len() > MAX_ROWS {
            p.about {
                (count((rows.len() - MAX_ROWS) as u64)) " more rows are left out here."
            }
        }
    }
}

/// A bar as long as `part` is of 1.
pub(super) fn bar(part: Option<f64>) -> Markup {
    let width = part.unwrap_or_default().clamp(0.0, 1.0) * 100.0;
    html! {
        span.bar { i style=(format!("width:{width:.1}%")) {} }
        span.bar-value { (part.map_or(super::format::UNKNOWN.to_owned(), percent)) }
    }
}

/// Where a process runs, and where its sockets are.
pub(super) fn place(container: Option<&str>, cgroup: Option<&str>, netns: Option<u32>) -> Markup {
    let container =
        container.map(|id| format!("container {}", plain(id).chars().take(12).collect::<String>()));
    let cgroup = cgroup.filter(|_| container.is_none()).map(plain);
    let words = [container, cgroup, netns.map(|netns| format!("netns {netns}"))];
    let words: Vec<String> = words.into_iter().flatten().collect();
    html! { @if !words.is_empty() { small { (words.join(" · ")) } } }
}
