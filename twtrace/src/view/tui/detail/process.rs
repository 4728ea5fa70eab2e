//! One process: how it closes, towards whom, how long what it leaves lives, and the last ones.

use ratatui::text::Line;

use super::{contacts, detail, fact, remote, title};
use crate::{
    stats::{
        contacts::Recent,
        snapshot::{CloseWait, Closer, SearchingProcess, Snapshot},
    },
    view::{
        text::format::{maybe, seconds, shortened, span},
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
    lines.extend(place(&rows).into_iter().map(|(label, value)| fact(label, value, theme)));
    for row in &rows {
        lines.push(fact(as_role(row), closes(row), theme));
        lines.push(fact("  TIME_WAIT", minis(row), theme));
    }
    let searches = s.port_search.iter().flat_map(|search| &search.by_process);
    let searches = searches.filter(|row| row.pid == Some(pid));
    lines.extend(searches.map(|row| fact("port searches", searched(row), theme)));
    let leaks = s.close_wait.iter().flatten().filter(|row| row.pid == Some(pid));
    lines.extend(leaks.map(|row| fact("CLOSE_WAIT", leaked(row), theme)));
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

fn closes(row: &Closer) -> String {
    let netns = row.netns.map_or(String::new(), |netns| format!("  in netns {netns}"));
    format!(
        "active {} ({} of all)  passive {}  resets {}{netns}",
        cells::count(row.active_closes),
        cells::percent(row.share),
        cells::count(row.peer_closes),
        cells::maybe_count(row.resets),
    )
}

fn minis(row: &Closer) -> String {
    let lived = row.lifetime_s.as_ref();
    let quantile = |name: &str, value: Option<f64>| {
        value.map(|value| format!("  {name} {}", span(value))).unwrap_or_default()
    };
    format!(
        "now {}  port-seconds {}  ended {}{}{}{}",
        maybe(row.time_wait_now),
        cells::rate(row.port_seconds),
        cells::maybe_count(lived.map(|lived| lived.count)),
        quantile("lived p50", lived.and_then(|lived| lived.p50)),
        quantile("p99", lived.and_then(|lived| lived.p99)),
        quantile("max", lived.and_then(|lived| lived.max)),
    )
}

fn searched(row: &SearchingProcess) -> String {
    let failed = row.failed.as_ref().map(|failed| failed.values().sum());
    format!(
        "{}  failed {}  p99 {}  CPU {}",
        cells::count(row.count),
        cells::maybe_count(failed),
        cells::time(row.latency_ns.p99.map(seconds)),
        cells::core_percent(row.cpu_core_pct),
    )
}

fn leaked(row: &CloseWait) -> String {
    format!(
        "{} not closed  oldest {}  {} a minute",
        cells::count(row.count),
        cells::time(row.oldest_s),
        cells::change(row.growth_per_min),
    )
}

fn closed_line(closed: &Recent, now_ns: u64) -> String {
    let ago = span(seconds(now_ns.saturating_sub(closed.time_ns)));
    format!("{ago:>8} ago  {:<8} {:<8} {}", closed.how, closed.role.name(), closed.tuple)
}
