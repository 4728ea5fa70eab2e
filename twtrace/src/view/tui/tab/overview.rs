//! What matters now, who closes first, and which destination fills up.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::destinations::Destinations;
use crate::{
    stats::snapshot::Snapshot,
    view::{
        tui::{
            draw::paragraph,
            table::{self, TableState},
            theme::Theme,
        },
        verdict::{Severity, Verdict},
    },
};

/// More lines would leave none for rows.
const MOST_LINES: usize = 5;

/// Lines that [`draw_above`] would like to have.
pub(in crate::view::tui) fn lines_above(verdict: &Verdict, width: u16) -> u16 {
    let letters = said(verdict).chars().count();
    // Words are broken where a line is full, which leaves some of it empty.
    let lines = (letters + letters / 10).div_ceil(usize::from(width.max(1)));
    (lines.clamp(1, MOST_LINES) + 1) as u16
}

pub(in crate::view::tui) fn draw_above(
    frame: &mut Frame<'_>,
    area: Rect,
    verdict: &Verdict,
    theme: Theme,
) {
    let style = match verdict.severity {
        Severity::Fine => theme.fine(),
        Severity::Watch => theme.watch(),
        Severity::Alarm => theme.alarm(),
    };
    paragraph(frame, area, Line::from(Span::styled(said(verdict), style)));
}

fn said(verdict: &Verdict) -> String {
    let mark = match verdict.severity {
        Severity::Fine => "✔",
        Severity::Watch => "▲",
        Severity::Alarm => "✖",
    };
    format!("{mark} {}", verdict.text)
}

/// The fullest destinations.
pub(in crate::view::tui) fn draw_below(
    frame: &mut Frame<'_>,
    area: Rect,
    snapshot: &Snapshot,
    theme: Theme,
) {
    let mut state = TableState::default();
    state.arrange::<Destinations>(snapshot, "");
    table::draw::<Destinations>(frame, area, snapshot, &state, theme, false);
}
