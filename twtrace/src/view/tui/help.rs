//! What each key does.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span, Text},
};

use super::{keys::HELP, theme::Theme};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, theme: Theme) {
    let line = |(keys, what): &(&'static str, &'static str)| {
        Line::from(vec![Span::styled(format!("{keys:>11}  "), theme.key()), Span::raw(*what)])
    };
    let marks =
        Line::styled("~ before a number: inferred; ≤: at most that; -: not known", theme.label());
    frame.render_widget(Text::from_iter(HELP.iter().map(line).chain([marks])), area);
}
