//! The numbers that matter, in plain words and as figures.

use maud::{Markup, html};

use super::{
    destinations,
    format::{count, duration, endpoint, mark, percent, process, rate, seconds, span, valued},
    time_axis::TimeAxis,
};
use crate::stats::{
    snapshot::{Closer, Destination, Snapshot},
    timeline::{Line, Timeline},
};

/// A few sentences.
pub(super) fn lede(s: &Snapshot, axis: &TimeAxis<'_>) -> Markup {
    let timeline = axis.timeline();
    html! {
        p.lede {
            (who_closes(s)) " " (how_many(s, timeline)) " "
            (who_ran_out(s, axis).unwrap_or_else(|| who_runs_out(s)))
        }
    }
}

/// The destination that had no port left first, unless it has none at the end either.
fn who_ran_out(s: &Snapshot, axis: &TimeAxis<'_>) -> Option<Markup> {
    let rows = s.destinations.as_deref().unwrap_or_default();
    let is_full = |row: &&Destination| row.exhausted_in_s == Some(0.0);
    let first = axis.timeline().passed().iter().filter(|passed| passed.line == Line::Exhausted);
    let first = first.min_by_key(|passed| passed.first_ns)?;
    if rows.iter().any(|row| is_full(&row)) {
        return None;
    }
    let name = endpoint(&first.destination.raddr, first.destination.rport);
    let failed = s.connects.as_ref().and_then(|connects| connects.no_port);
    Some(html! {
        strong.alarm { (name) " had no port left" } " at " (axis.clock(first.first_ns))
        @if let Some(failed) = failed.filter(|failed| *failed > 0) {
            "; " (count(failed)) " connects found none"
        }
        "."
    })
}

fn who_closes(s: &Snapshot) -> Markup {
    let Some(rows) = &s.closers else {
        return html! { "Who closes first is unavailable: only transitions tell." };
    };
    let closes = |row: &&Closer| !row.other && row.active_closes > 0;
    let Some(first) = rows.iter().find(closes) else {
        return html! { "Nobody has closed first." };
    };
    let role = first.role.filter(|role| *role != "unknown");
    html! {
        strong { (process(first.comm.as_deref(), first.pid)) }
        @if let Some(role) = role { ", as " (role) "," }
        " closes first most often: "
        @if let Some(share) = first.share {
            strong { (mark(s, "closers")) (percent(share)) } " of all active closes, "
        }
        (mark(s, "closers")) (average(first.active_closes, s)) "."
    }
}

fn average(number: u64, s: &Snapshot) -> String {
    if s.elapsed_s > 0.0 {
        format!("{} a second", rate(number as f64 / s.elapsed_s))
    } else {
        format!("{} times", count(number))
    }
}

fn how_many(s: &Snapshot, timeline: &Timeline) -> Markup {
    let Some(now) = s.time_wait.as_ref().and_then(|minis| minis.now) else {
        return html! { "How many sockets are in TIME_WAIT is unavailable." };
    };
    let peak = peak(timeline).filter(|peak| *peak > now);
    if (now, peak) == (0, None) {
        return html! { "No socket has been in TIME_WAIT." };
    }
    html! {
        strong { (valued(s, "time_wait.now", Some(count(now)))) }
        " sockets are in TIME_WAIT at the end"
        @if let Some(peak) = peak { "; the most were " (count(peak)) } @else { ", the most there were" }
        "."
    }
}

fn peak(timeline: &Timeline) -> Option<u64> {
    timeline.buckets().iter().filter_map(|bucket| bucket.time_wait_now).max()
}

fn who_runs_out(s: &Snapshot) -> Markup {
    let Some(rows) = &s.destinations else {
        return html! { "Which destination runs out of ports is unavailable." };
    };
    let Some(row) = nearest(rows) else {
        return html! { "No ports are taken towards anybody." };
    };
    let name = destinations::name(row);
    match row.exhausted_in_s {
        Some(left) if left <= 0.0 => html! {
            strong.alarm { (name) " has no port left" } " (" (taken(row)) ")."
        },
        Some(left) => html! {
            strong.alarm { (name) " runs out of ports in " (mark(s, "destinations.exhausted_in_s")) (duration(left)) }
            " if this goes on (" (taken(row)) ")."
        },
        None if row.knee_in_s == Some(0.0) => html! {
            strong { (name) } " is past the knee (" (taken(row)) "): each connect searches both halves of the range."
        },
        None => html! {
            strong { (name) } " is fullest (" (taken(row)) "), and is not running out of ports."
        },
    }
}

/// The one that runs out first, else the fullest.
fn nearest(rows: &[Destination]) -> Option<&Destination> {
    let named = || rows.iter().filter(|row| !row.other && row.raddr.is_some());
    let soon = named().filter_map(|row| Some((row, row.exhausted_in_s?)));
    let soonest = soon.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(row, _)| row);
    let ratio = |row: &&Destination| row.used_ratio.unwrap_or_default();
    soonest.or_else(|| named().max_by(|a, b| ratio(a).total_cmp(&ratio(b))))
}

fn taken(row: &Destination) -> String {
    match (row.ports_available, row.used_ratio) {
        (Some(available), Some(ratio)) => {
            format!("{} of {} ports taken", percent(ratio), count(available))
        }
        _ => format!("{} ports taken", count(row.ports_used)),
    }
}

/// One number, large.
struct Figure {
    name: &'static str,
    value: Markup,
    more: String,
}

/// Some numbers, large.
pub(super) fn figures(s: &Snapshot, timeline: &Timeline) -> Markup {
    let figures =
        [closes(s), alive(s, timeline), births(s), lifetime(s), searches(s), without_port(s)];
    html! {
        dl.figures {
            @for figure in figures {
                div { dt { (figure.name) } dd.value { (figure.value) } dd.more { (figure.more) } }
            }
        }
    }
}

fn closes(s: &Snapshot) -> Figure {
    let closes = s.closes.as_ref();
    Figure {
        name: "active closes",
        value: valued(s, "closes.active", closes.map(|closes| count(closes.active))),
        more: closes.map_or(unknown(), |closes| format!("passive {}", count(closes.passive))),
    }
}

fn alive(s: &Snapshot, timeline: &Timeline) -> Figure {
    let minis = s.time_wait.as_ref();
    Figure {
        name: "in TIME_WAIT",
        value: valued(s, "time_wait.now", minis.and_then(|minis| minis.now).map(count)),
        more: peak(timeline).map_or(unknown(), |peak| format!("peak {}", count(peak))),
    }
}

fn births(s: &Snapshot) -> Figure {
    let born = s.time_wait.as_ref().and_then(|minis| minis.born);
    let refused = s.time_wait.as_ref().and_then(|minis| minis.refused);
    Figure {
        name: "born",
        value: valued(s, "time_wait.born", born.map(count)),
        more: match refused {
            Some(refused) => {
                format!("refused {}{}", mark(s, "time_wait.refused"), count(refused))
            }
            None => "refused –".to_owned(),
        },
    }
}

fn lifetime(s: &Snapshot) -> Figure {
    let lived = s.time_wait.as_ref().and_then(|minis| minis.lifetime_s.as_ref());
    let [p50, p99] = [lived.and_then(|lived| lived.p50), lived.and_then(|lived| lived.p99)];
    Figure {
        name: "lifetime p50",
        value: valued(s, "time_wait.lifetime_s", p50.map(span)),
        more: match (p99, lived) {
            (Some(p99), _) => format!("p99 {}", span(p99)),
            (None, Some(_)) => "none has ended".to_owned(),
            (None, None) => unknown(),
        },
    }
}

fn searches(s: &Snapshot) -> Figure {
    let latency = s.port_search.as_ref().map(|search| &search.connect.latency_ns);
    let key = "port_search.connect.latency_ns";
    let [p50, p99] = [latency.and_then(|l| l.p50), latency.and_then(|l| l.p99)];
    let shown = |ns: u64| span(seconds(ns));
    Figure {
        name: "port search p99",
        value: valued(s, key, p99.map(shown)),
        more: match (p50, latency) {
            (Some(p50), _) => format!("p50 {}{}, connect", mark(s, key), shown(p50)),
            (None, Some(_)) => "no search was seen".to_owned(),
            (None, None) => unknown(),
        },
    }
}

fn without_port(s: &Snapshot) -> Figure {
    let connects = s.connects.as_ref();
    Figure {
        name: "found no port",
        value: valued(s, "connects.no_port", connects.and_then(|all| all.no_port).map(count)),
        more: connects.map_or(unknown(), |all| format!("connects ok {}", count(all.ok))),
    }
}

fn unknown() -> String {
    "unavailable".to_owned()
}
