//! A screen of a model.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span, Text},
    widgets::{Paragraph, Wrap},
};

use super::{
    detail, footer, header, help,
    layout::{NARROW, Screen},
    model::{Model, Shown, with_table},
    tab::{
        Tab, causes::Causes, closers::Closers, destinations::Destinations, leaks, leaks::Leaks,
        lifetimes, lifetimes::Lifetimes, overview, ports, ports::Searchers,
    },
    table,
};

/// What stands between the names of tabs.
const TAB_GAP: &str = " ";
/// Lines that rows keep, however much there is to be shown above them.
const LEAST_ROWS: u16 = 6;

/// Draws what `model` shows.
pub fn draw(frame: &mut Frame<'_>, model: &Model) {
    let screen = Screen::of(frame.area());
    header::draw(frame, screen.header, screen.population, model);
    tabs(frame, screen.tabs, model);
    footer::draw(frame, screen.footer, model);
    if model.shows_help {
        help::draw(frame, screen.body, model.theme);
        return;
    }
    let Some(shown) = model.shown() else {
        let text = Text::styled("waiting for the first moment …", model.theme.label());
        frame.render_widget(text, screen.body);
        return;
    };
    if model.focus.is_some() {
        detail::draw(frame, screen.body, model, &shown.moment);
        return;
    }
    body(frame, screen.body, model, shown);
}

fn body(frame: &mut Frame<'_>, area: Rect, model: &Model, shown: &Shown) {
    let (snapshot, theme) = (&shown.moment.snapshot, model.theme);
    let [above, rows, below] = parts(model.tab, area, shown);
    match model.tab {
        Tab::Overview => {
            overview::draw_above(frame, above, &shown.verdict, theme);
            overview::draw_below(frame, below, snapshot, theme);
        }
        Tab::Lifetimes => lifetimes::draw_above(frame, above, snapshot, theme),
        Tab::Ports => ports::draw_above(frame, above, snapshot, theme),
        Tab::Leaks => leaks::draw_above(frame, above, snapshot, theme),
        Tab::Closers | Tab::Destinations | Tab::Causes => {}
    }
    with_table!(model.tab, T => table::draw::<T>(frame, rows, snapshot, model.table(), theme, true));
}

/// Where the rows of a tab are.
pub(super) fn table_area(tab: Tab, body: Rect, shown: &Shown) -> Rect {
    let [_, rows, _] = parts(tab, body, shown);
    rows
}

/// What is above the rows, the rows, and what is below.
fn parts(tab: Tab, body: Rect, shown: &Shown) -> [Rect; 3] {
    let snapshot = &shown.moment.snapshot;
    let above = match tab {
        Tab::Overview => overview::lines_above(&shown.verdict, body.width),
        Tab::Lifetimes => lifetimes::lines_above(snapshot),
        Tab::Ports => ports::lines_above(snapshot.port_search.as_ref()),
        Tab::Leaks => leaks::LINES_ABOVE,
        Tab::Closers | Tab::Destinations | Tab::Causes => 0,
    };
    let room = body.height.saturating_sub(LEAST_ROWS);
    let above = above.min(room);
    let below = match tab {
        Tab::Overview => (body.height - above) / 2,
        _ => 0,
    };
    let heights = [Constraint::Length(above), Constraint::Fill(1), Constraint::Length(below)];
    Layout::vertical(heights).areas(body)
}

fn tab_names(width: u16) -> impl Iterator<Item = (Tab, String)> {
    Tab::ALL.into_iter().enumerate().map(move |(place, tab)| {
        let name = if width < NARROW { tab.short_name() } else { tab.name() };
        (tab, format!("{} {name}", place + 1))
    })
}

fn tabs(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let mut words = Vec::new();
    for (tab, name) in tab_names(area.width) {
        let style = if tab == model.tab { model.theme.selected() } else { Style::new() };
        words.extend([Span::styled(name, style), Span::raw(TAB_GAP)]);
    }
    frame.render_widget(Line::from(words), area);
}

/// The tab whose name is at the column `x`.
pub(super) fn tab_at(area: Rect, x: u16) -> Option<Tab> {
    let mut end = area.x;
    tab_names(area.width).find_map(|(tab, name)| {
        end += (name.chars().count() + TAB_GAP.len()) as u16;
        (x < end).then_some(tab)
    })
}

/// Lines of the detail that is looked at.
pub(super) fn detail_lines(model: &Model) -> usize {
    model.moment().map_or(0, |moment| detail::lines(model, moment).len())
}

/// Text that is broken between words.
pub(super) fn paragraph(frame: &mut Frame<'_>, area: Rect, text: Line<'_>) {
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
}
