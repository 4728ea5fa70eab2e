//! One destination: how full its ports are, when they run out, and who takes them.

use ratatui::text::{Line, Span};

use super::{LABEL, contacts, fact, title};
use crate::{
    stats::{
        contacts::Contact,
        snapshot::{Destination, SearchRange},
    },
    view::{
        text::format::{UNKNOWN, count, maybe},
        tui::{bars::bar, cells, history::Series, model::Model, moment::Moment},
    },
};

/// Columns of the bar that shows how full it is.
const BAR: usize = 40;

pub(super) fn lines(
    model: &Model,
    moment: &Moment,
    netns: Option<u32>,
    name: &str,
) -> Vec<Line<'static>> {
    let theme = model.theme;
    let place = netns.map_or(String::new(), |netns| format!("  in netns {netns}"));
    let mut lines = vec![title(&format!("{name}{place}"), theme)];
    match model.looked_at(&moment.snapshot) {
        None => {
            let why = "no local port is taken towards it now, or others take more";
            lines.push(Line::styled(why, theme.label()));
        }
        Some(row) => lines.extend(clock(model, row)),
    }
    lines.push(Line::default());
    lines.extend(contacts(model, process, "CLOSED BY"));
    lines
}

/// How full, and when it is full.
fn clock(model: &Model, row: &Destination) -> Vec<Line<'static>> {
    let theme = model.theme;
    let full = row.used_ratio.unwrap_or(0.0);
    let style = match (row.exhausted_in_s, row.knee_in_s) {
        _ if row.used_ratio.is_none() => theme.label(),
        (Some(left), _) if left <= 0.0 => theme.alarm(),
        (_, Some(left)) if left <= 0.0 => theme.watch(),
        _ => theme.fine(),
    };
    let filled = bar((full * 1e6) as u64, 1_000_000, BAR);
    let gauge = Line::from(vec![
        Span::styled(format!("{:<LABEL$}", "ports"), theme.label()),
        Span::styled(format!("{filled:·<BAR$}"), style),
        Span::raw(format!(" {}", cells::percent(row.used_ratio))),
    ]);
    let mut lines = vec![
        gauge,
        Line::from(vec![Span::raw(" ".repeat(LABEL)), Span::styled(trend(model), theme.series(0))]),
    ];
    // Where connects are not seen, these are not known.
    let seen = |number: u64| maybe(row.opens_per_s.map(|_| number));
    let last = format!("{} ({})", cells::text(row.comm.as_deref()), cells::pid(row.pid));
    let facts = [
        ("knee in", vec![cells::time_left(row.knee_in_s)]),
        ("no port in", vec![cells::time_left(row.exhausted_in_s)]),
        ("taken", taken(row)),
        ("range", range(row)),
        ("opens per second", vec![cells::rate(row.opens_per_s)]),
        ("connects failed", errors(row)),
        (
            "ports found",
            vec![
                format!("first half {}", seen(row.found.first_half)),
                format!("second half {}", seen(row.found.second_half)),
            ],
        ),
        ("reused", vec![seen(row.reused)]),
        ("last taken by", vec![last]),
    ];
    let width = model.area.width;
    lines.extend(facts.iter().flat_map(|(label, words)| fact(label, words, theme, width)));
    lines
}

fn errors(row: &Destination) -> Vec<String> {
    let errors: Vec<String> =
        row.connect_errors.iter().map(|(name, n)| format!("{name} {}", count(*n))).collect();
    match (errors.is_empty(), row.opens_per_s) {
        (false, _) => errors,
        (true, Some(_)) => vec!["none".to_owned()],
        (true, None) => vec![UNKNOWN.to_owned()],
    }
}

/// How full it was since it is looked at.
fn trend(model: &Model) -> String {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let step = |ratio: Option<u64>| {
        ratio.map(|thousandths| STEPS[(thousandths as usize * STEPS.len() / 1_001).min(7)])
    };
    model.history().last(Series::UsedRatio, BAR).into_iter().filter_map(step).collect()
}

fn taken(row: &Destination) -> Vec<String> {
    vec![
        format!("{} of {}", count(row.ports_used), maybe(row.ports_available)),
        format!("by TIME_WAIT {}", count(row.ports_time_wait)),
        format!("reusable now {}", maybe(row.ports_reusable)),
        format!("bound {}", maybe(row.ports_bound)),
    ]
}

fn range(row: &Destination) -> Vec<String> {
    let range = row.range.map_or(UNKNOWN.to_owned(), |SearchRange { low, high, own, .. }| {
        format!("{low} to {high}{}", if own { " (the socket's own)" } else { "" })
    });
    let from = row.laddr.as_deref().map(|laddr| format!("from {}", cells::text(Some(laddr))));
    [range].into_iter().chain(from).collect()
}

fn process(contact: &Contact) -> String {
    let comm = cells::process(contact.comm.as_deref(), false);
    contact.pid.map_or(comm.clone(), |pid| format!("{comm} ({pid})"))
}
