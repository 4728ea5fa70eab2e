//! Which part of the screen is for what, on small screens and on large ones.

use ratatui::layout::{Constraint, Layout, Rect};

/// Below this many lines the sparklines leave their place to rows.
const ENOUGH_LINES: u16 = 20;
/// Narrower screens get short words.
pub(super) const NARROW: u16 = 70;

/// The parts of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Screen {
    /// Who, where, how exact, and what it takes.
    pub(super) header: Rect,
    /// How many TIME_WAITs there are, are born and end; of no height on a small screen.
    pub(super) population: Rect,
    pub(super) tabs: Rect,
    pub(super) body: Rect,
    pub(super) footer: Rect,
}

impl Screen {
    pub(super) fn of(area: Rect) -> Self {
        let population = if area.height < ENOUGH_LINES { 0 } else { 3 };
        let heights = [
            Constraint::Length(2),
            Constraint::Length(population),
            Constraint::Length(1),
            Constraint::Fill(1),
            Constraint::Length(1),
        ];
        let [header, population, tabs, body, footer] = Layout::vertical(heights).areas(area);
        Self { header, population, tabs, body, footer }
    }
}
