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
        Some(Focus::Destination { netns, raddr, rport }) => {
            destination::lines(model, moment, *netns, &endpoint(raddr, *rport))
        }
    }
}

/// A title over a part of the page.
fn title(text: &str, theme: Theme) -> Line<'static> {
    Line::styled(text.to_owned(), theme.columns())
}

/// A number with what it is about.
fn fact(label: &str, value: String, theme: Theme) -> Line<'static> {
    Line::from(vec![Span::styled(format!("{label:<16}"), theme.label()), Span::raw(value)])
}

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
    let head = format!("{name:<32} {:>8} {:>8} {:>8}", "ACTIVE", "PASSIVE", "RESETS");
    let mut lines = vec![title(&head, theme)];
    for contact in &detail.contacts {
        let closes = contact.closes;
        let numbers = [closes.active, closes.passive, closes.reset].map(cells::count);
        let [active, passive, reset] = &numbers;
        let name = shortened(&named(contact), 32);
        lines.push(Line::raw(format!("{name:<32} {active:>8} {passive:>8} {reset:>8}")));
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
