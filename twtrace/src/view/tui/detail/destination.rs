//! One destination: how full its ports are, when they run out, and who takes them.

use ratatui::text::{Line, Span};

use super::{contacts, fact, title};
use crate::{
    stats::{
        contacts::Contact,
        snapshot::{Destination, SearchRange},
    },
    view::{
        text::format::{count, maybe},
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
        (Some(left), _) if left <= 0.0 => theme.alarm(),
        (_, Some(left)) if left <= 0.0 => theme.watch(),
        _ => theme.fine(),
    };
    let filled = bar((full * 1e6) as u64, 1_000_000, BAR);
    let gauge = Line::from(vec![
        Span::styled(format!("{:<16}", "ports"), theme.label()),
        Span::styled(format!("{filled:·<BAR$}"), style),
        Span::raw(format!(" {}", cells::percent(row.used_ratio))),
    ]);
    let errors: Vec<String> =
        row.connect_errors.iter().map(|(name, n)| format!("{name} {}", count(*n))).collect();
    let errors = if errors.is_empty() { "none".to_owned() } else { errors.join("  ") };
    let found = row.found;
    vec![
        gauge,
        Line::from(vec![
            Span::styled(format!("{:<16}", ""), theme.label()),
            Span::styled(trend(model), theme.series(0)),
        ]),
        fact("knee in", cells::time_left(row.knee_in_s), theme),
        fact("no port in", cells::time_left(row.exhausted_in_s), theme),
        fact("taken", taken(row), theme),
        fact("range", range(row), theme),
        fact("opens per second", cells::rate(row.opens_per_s), theme),
        fact("connects failed", errors, theme),
        fact(
            "ports found",
            format!(
                "first half {}  second half {}",
                count(found.first_half),
                count(found.second_half)
            ),
            theme,
        ),
        fact("reused", count(row.reused), theme),
        fact(
            "last taken by",
            format!("{} ({})", cells::text(row.comm.as_deref()), cells::pid(row.pid)),
            theme,
        ),
    ]
}

/// How full it was since it is looked at.
fn trend(model: &Model) -> String {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let step = |ratio: Option<u64>| {
        ratio.map(|thousandths| STEPS[(thousandths as usize * STEPS.len() / 1_001).min(7)])
    };
    model.history().last(Series::UsedRatio, BAR).into_iter().filter_map(step).collect()
}

fn taken(row: &Destination) -> String {
    format!(
        "{} of {}  by TIME_WAIT {}  reusable now {}  bound {}",
        count(row.ports_used),
        maybe(row.ports_available),
        count(row.ports_time_wait),
        maybe(row.ports_reusable),
        maybe(row.ports_bound),
    )
}

fn range(row: &Destination) -> String {
    let from = row
        .laddr
        .as_deref()
        .map_or(String::new(), |it| format!("  from {}", cells::text(Some(it))));
    match row.range {
        None => format!("-{from}"),
        Some(SearchRange { low, high, own, .. }) => {
            let whose = if own { "  (the socket's own)" } else { "" };
            format!("{low} to {high}{whose}{from}")
        }
    }
}

fn process(contact: &Contact) -> String {
    let comm = cells::process(contact.comm.as_deref(), false);
    contact.pid.map_or(comm.clone(), |pid| format!("{comm} ({pid})"))
}
