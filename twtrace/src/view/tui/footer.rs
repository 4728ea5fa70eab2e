//! The last line: what was said, what is typed, or what keys there are.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::model::Model;
use crate::view::text::format::harmless_line;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    frame.render_widget(line(model), area);
}

fn line(model: &Model) -> Line<'static> {
    let theme = model.theme;
    if model.is_typing {
        return Line::from(vec![
            Span::styled("show only rows with: ", theme.label()),
            Span::raw(harmless_line(&model.needle)),
            Span::styled(" ", theme.selected()),
            Span::styled("  Enter keeps it, Esc ends it", theme.label()),
        ]);
    }
    if let Some(notice) = &model.notice {
        let style = if notice.is_failure { theme.alarm() } else { theme.fine() };
        return Line::styled(harmless_line(&notice.text), style);
    }
    let mut words = Vec::new();
    if !model.needle.is_empty() {
        let only = format!("only \"{}\"  ", harmless_line(&model.needle));
        words.push(Span::styled(only, theme.watch()));
    }
    for (key, what) in keys(model) {
        words.push(Span::styled(*key, theme.key()));
        words.push(Span::styled(format!(" {what}  "), theme.label()));
    }
    Line::from(words)
}

/// The keys that help most here; what comes last is what a narrow screen lacks.
fn keys(model: &Model) -> &'static [(&'static str, &'static str)] {
    let is_replay = model.latest().is_some_and(|moment| moment.playback.is_some());
    match (model.focus.is_some(), is_replay) {
        (true, _) => &[("Esc", "back"), ("↑↓", "scroll"), ("?", "help"), ("q", "quit")],
        (false, true) => &[
            ("?", "help"),
            ("q", "quit"),
            ("space", "pause"),
            ("←→", "seek"),
            ("+-", "speed"),
            ("Tab", "view"),
            ("Enter", "look at"),
            ("/", "filter"),
        ],
        (false, false) => &[
            ("?", "help"),
            ("q", "quit"),
            ("Tab", "view"),
            ("Enter", "look at"),
            ("s", "sort"),
            ("/", "filter"),
            ("space", "pause"),
            ("e", "export"),
        ],
    }
}
