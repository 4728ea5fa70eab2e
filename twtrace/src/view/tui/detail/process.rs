//! One process: how it closes, towards whom, how long what it leaves lives, and the last ones.

use ratatui::text::Line;

use super::{contacts, detail, fact, remote, title};
use crate::{
    stats::{
        contacts::Recent,
        snapshot::{CloseWait, Closer, SearchingProcess, Snapshot},
    },
    view::{
        text::{
            format::{maybe, seconds, shortened, span},
            mark,
        },
        tui::{cells, model::Model, moment::Moment},
    },
};

pub(super) fn lines(
    model: &Model,
    moment: &Moment,
    pid: u32,
    start_time: Option<&str>,
) -> Vec<Line<'static>> {
    let (s, theme) = (&moment.snapshot, model.theme);
    let is_meant = |row: &&Closer| {
        row.pid == Some(pid) && start_time.is_none_or(|it| row.start_time.as_deref() == Some(it))
    };
    let rows: Vec<&Closer> = s.closers.iter().flatten().filter(is_meant).collect();
    let mut lines = vec![title(&name(s, &rows, pid), theme)];
    let width = model.area.width;
    let mut add = |label: &str, words: &[String]| lines.extend(fact(label, words, theme, width));
    place(&rows).into_iter().for_each(|(label, value)| add(label, &[value]));
    for row in &rows {
        add(as_role(row), &closes(row));
        add("  TIME_WAIT", &minis(row));
    }
    let searches = s.port_search.iter().flat_map(|search| &search.by_process);
    let searches = searches.filter(|row| row.pid == Some(pid));
    searches.for_each(|row| add("port searches", &searched(s, row)));
    let leaks = s.close_wait.iter().flatten().filter(|row| row.pid == Some(pid));
    leaks.for_each(|row| add("CLOSE_WAIT", &leaked(row)));
    lines.push(Line::default());
    lines.extend(contacts(model, remote, "TOWARDS"));
    lines.push(Line::default());
    lines.push(title("CLOSED LAST", theme));
    let recent = detail(model).into_iter().flat_map(|detail| &detail.recent);
    let now_ns = model.latest().map_or(moment.time_ns, |latest| latest.time_ns);
    lines.extend(recent.map(|closed| Line::raw(closed_line(closed, now_ns))));
    lines
}

fn name(s: &Snapshot, rows: &[&Closer], pid: u32) -> String {
    let of_searches = s.port_search.iter().flat_map(|search| &search.by_process);
    let comm = rows.first().and_then(|row| row.comm.as_deref()).or_else(|| {
        of_searches.filter(|row| row.pid == Some(pid)).find_map(|row| row.comm.as_deref())
    });
    let leaks = || s.close_wait.iter().flatten().filter(|row| row.pid == Some(pid));
    let comm = comm.or_else(|| leaks().find_map(|row| row.comm.as_deref()));
    format!("{} (pid {pid})", cells::process(comm, false))
}

/// Where and since when it runs.
fn place(rows: &[&Closer]) -> Vec<(&'static str, String)> {
    let first = rows.first();
    let text = |text: &Option<String>| text.as_deref().map(|it| shortened(it, 100));
    let facts = [
        ("started", first.and_then(|row| text(&row.start_time))),
        ("cgroup", first.and_then(|row| text(&row.cgroup))),
        ("container", first.and_then(|row| text(&row.container))),
    ];
    facts.into_iter().filter_map(|(label, value)| Some((label, value?))).collect()
}

fn as_role(row: &Closer) -> &'static str {
    match row.role {
        Some("client") => "as client",
        Some("server") => "as server",
        _ => "role unknown",
    }
}

fn closes(row: &Closer) -> Vec<String> {
    let mut words = vec![
        format!("active {} ({})", cells::count(row.active_closes), cells::percent(row.share)),
        format!("passive {}", cells::count(row.peer_closes)),
        format!("resets {}", cells::maybe_count(row.resets)),
    ];
    words.extend(row.netns.map(|netns| format!("in netns {netns}")));
    words
}

fn minis(row: &Closer) -> Vec<String> {
    let lived = row.lifetime_s.as_ref();
    let mut words = vec![
        format!("now {}", maybe(row.time_wait_now)),
        format!("port-seconds {}", cells::rate(row.port_seconds)),
        format!("ended {}", cells::maybe_count(lived.map(|lived| lived.count))),
    ];
    let named = lived.map(|lived| [("p50", lived.p50), ("p99", lived.p99), ("max", lived.max)]);
    let known = named.into_iter().flatten().filter_map(|(name, value)| Some((name, value?)));
    words.extend(known.map(|(name, value)| format!("lived {name} {}", span(value))));
    words
}

fn searched(s: &Snapshot, row: &SearchingProcess) -> Vec<String> {
    let failed = row.failed.as_ref().map(|failed| failed.values().sum());
    let bound = mark(s, "port_search.connect.latency_ns");
    vec![
        cells::count(row.count),
        format!("failed {}", cells::maybe_count(failed)),
        format!("p99 {}", cells::marked(bound, cells::time(row.latency_ns.p99.map(seconds)))),
        format!("CPU {}", cells::core_percent(row.cpu_core_pct)),
    ]
}

fn leaked(row: &CloseWait) -> Vec<String> {
    vec![
        format!("{} not closed", cells::count(row.count)),
        format!("oldest {}", cells::time(row.oldest_s)),
        format!("{} a minute", cells::change(row.growth_per_min)),
    ]
}

fn closed_line(closed: &Recent, now_ns: u64) -> String {
    let ago = span(seconds(now_ns.saturating_sub(closed.time_ns)));
    format!("{ago:>8} ago  {:<8} {:<8} {}", closed.how, closed.role.name(), closed.tuple)
}
