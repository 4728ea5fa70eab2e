//! One process, or one destination, and all that is known of it.

mod destination;
mod process;

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span, Text},
};

use super::{cells, model::Model, moment::Moment, theme::Theme};
use crate::{
    event::Role,
    stats::contacts::{Contact, Detail, Focus},
    view::text::format::{endpoint, shortened},
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, moment: &Moment) {
    let lines = lines(model, moment).into_iter().skip(model.detail_offset);
    frame.render_widget(Text::from_iter(lines.take(usize::from(area.height))), area);
}

/// What there is to be seen, a line each.
pub(super) fn lines(model: &Model, moment: &Moment) -> Vec<Line<'static>> {
    match &model.focus {
        None => Vec::new(),
        Some(Focus::Process { pid, start_time }) => {
            process::lines(model, moment, *pid, start_time.as_deref())
        }
        Some(Focus::Destination { netns, raddr, rport, .. }) => {
            destination::lines(model, moment, *netns, &endpoint(raddr, *rport))
        }
    }
}

/// A title over a part of the page.
fn title(text: &str, theme: Theme) -> Line<'static> {
    Line::styled(text.to_owned(), theme.columns())
}

/// Columns of what a number is about.
const LABEL: usize = 18;

/// What is known of one thing: as many lines as it takes on a screen of `width` columns.
fn fact(label: &str, words: &[String], theme: Theme, width: u16) -> Vec<Line<'static>> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if LABEL + columns(line) + 2 + columns(word) <= usize::from(width) => {
                line.push_str("  ");
                line.push_str(word);
            }
            _ => lines.push(word.clone()),
        }
    }
    let labels = std::iter::once(label).chain(std::iter::repeat(""));
    let line = |(label, text)| {
        Line::from(vec![Span::styled(format!("{label:<LABEL$}"), theme.label()), Span::raw(text)])
    };
    labels.zip(lines).map(line).collect()
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

/// Columns of the numbers beside a name, and of the name.
const NUMBERS: usize = 27;
const NARROWEST: usize = 12;
const WIDEST: usize = 48;

/// Who closed towards whom.
fn contacts(
    model: &Model,
    named: impl Fn(&Contact) -> String,
    name: &'static str,
) -> Vec<Line<'static>> {
    let theme = model.theme;
    let Some(detail) = detail(model) else {
        return vec![Line::styled("waiting for the next moment …", theme.label())];
    };
    let wide = usize::from(model.area.width).saturating_sub(NUMBERS).clamp(NARROWEST, WIDEST);
    let line = |name: &str, [active, passive, reset]: [&str; 3]| {
        format!("{:<wide$} {active:>8} {passive:>8} {reset:>8}", shortened(name, wide))
    };
    let mut lines = vec![title(&line(name, ["ACTIVE", "PASSIVE", "RESETS"]), theme)];
    for contact in &detail.contacts {
        let closes = contact.closes;
        let [active, passive, reset] =
            [closes.active, closes.passive, closes.reset].map(cells::count);
        lines.push(Line::raw(line(&named(contact), [&active, &passive, &reset])));
    }
    if detail.contacts.is_empty() {
        lines.push(Line::styled("none seen yet: it counts from the first look on", theme.label()));
    }
    lines
}

fn detail(model: &Model) -> Option<&Detail> {
    model.latest()?.detail.as_ref()
}

/// The remote end of a contact, or the port at which it accepts.
fn remote(contact: &Contact) -> String {
    match (&contact.raddr, contact.role) {
        (Some(raddr), _) => endpoint(raddr, contact.port),
        (None, Role::Server | Role::Client | Role::Unknown) => {
            format!("accepted at :{}", contact.port)
        }
    }
}
