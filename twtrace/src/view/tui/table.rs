//! Tables of many rows: what their columns are, in which order the rows come, and which of
//! them are on the screen.

use std::{borrow::Cow, cmp::Ordering, hash::BuildHasher};

use foldhash::fast::FixedState;
use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Rect},
    text::{Line, Text},
    widgets::{Cell, Row, Table},
};

use super::theme::Theme;
use crate::{
    stats::{contacts::Focus, snapshot::Snapshot},
    view::text::{format::shortened, mark},
};

/// What rows are compared by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Key<'a> {
    Unknown,
    Number(f64),
    Text(&'a str),
}

impl From<u64> for Key<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number as f64)
    }
}

impl From<Option<u64>> for Key<'_> {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::Unknown, Self::from)
    }
}

impl From<Option<f64>> for Key<'_> {
    fn from(number: Option<f64>) -> Self {
        number.map_or(Self::Unknown, Self::Number)
    }
}

impl<'a> From<Option<&'a str>> for Key<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Self::Unknown, Self::Text)
    }
}

impl Key<'_> {
    /// Large numbers come first, and texts by the alphabet; the other way round if
    /// `reversed`. What is unknown is last in any case.
    pub(super) fn order(self, other: Self, reversed: bool) -> Ordering {
        let order = match (self, other) {
            (Self::Unknown, Self::Unknown) => return Ordering::Equal,
            (Self::Unknown, _) => return Ordering::Greater,
            (_, Self::Unknown) => return Ordering::Less,
            (Self::Number(one), Self::Number(other)) => other.total_cmp(&one),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
        };
        if reversed { order.reverse() } else { order }
    }
}

/// A column of a table of `R`.
pub(super) struct Column<R: 'static> {
    pub(super) title: &'static str,
    /// Columns of the screen; 0 for all that the others leave.
    pub(super) width: u16,
    /// Whether its text begins at the left.
    pub(super) is_text: bool,
    /// On a narrow screen those with the largest go first; those with 0 never go.
    pub(super) rank: u8,
    /// The key of the Snapshot that says how exact it is.
    pub(super) exactness: &'static str,
    pub(super) key: fn(&R) -> Key<'_>,
    pub(super) cell: fn(&R) -> String,
}

/// A table that people sort, filter, and select rows of.
pub(super) trait Tabular {
    type Row: Clone + 'static;
    const COLUMNS: &'static [Column<Self::Row>];
    /// What it is sorted by until somebody asks.
    const SORTED_BY: usize;
    /// What the column that takes what others leave keeps at the least.
    const NARROWEST: u16;

    /// `None` where nobody can tell.
    fn rows(snapshot: &Snapshot) -> Option<Cow<'_, [Self::Row]>>;
    /// Why they are not known.
    fn unavailable() -> &'static str;
    /// What stands in the place of no rows.
    fn nothing() -> &'static str;
    /// What finds a row: names, addresses, numbers.
    fn names(row: &Self::Row) -> Vec<String>;
    /// What tells it from others, from one moment to the next.
    fn id(row: &Self::Row) -> RowId;
    /// Whether it sums the rows that are not there: it is always the last.
    fn is_rest(row: &Self::Row) -> bool;
    /// What there is to be seen of it alone.
    fn focus(row: &Self::Row) -> Option<Focus>;
}

/// What tells rows apart, from one moment to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowId(u64);

impl RowId {
    pub(super) fn of(what: impl std::hash::Hash) -> Self {
        Self(FixedState::default().hash_one(what))
    }
}

/// How a table is sorted, and which row of it is selected.
#[derive(Clone, Debug, Default)]
pub(super) struct TableState {
    /// The column; `None` for the table's own.
    pub(super) sort: Option<usize>,
    pub(super) reversed: bool,
    /// Rows of the Snapshot, in the order of the screen.
    order: Vec<u32>,
    /// A place in `order`.
    pub(super) selected: usize,
    selected_id: Option<RowId>,
    /// The place of the first row that is on the screen.
    pub(super) offset: usize,
}

impl TableState {
    /// Takes in the rows of another moment, or other wishes: the row that was selected is
    /// still so, wherever it is now.
    pub(super) fn arrange<T: Tabular>(&mut self, snapshot: &Snapshot, needle: &str) {
        let rows = T::rows(snapshot).unwrap_or_default();
        let key = T::COLUMNS[self.sort.unwrap_or(T::SORTED_BY)].key;
        let needle = needle.to_lowercase();
        let found = |row: &T::Row| {
            needle.is_empty() || T::names(row).iter().any(|it| it.to_lowercase().contains(&needle))
        };
        let places = rows.iter().enumerate().filter(|(_, row)| found(row));
        self.order = places.map(|(place, _)| place as u32).collect();
        self.order.sort_by(|one, other| {
            let (one, other) = (&rows[*one as usize], &rows[*other as usize]);
            let rest_last = T::is_rest(one).cmp(&T::is_rest(other));
            rest_last.then_with(|| key(one).order(key(other), self.reversed))
        });
        let again = self
            .selected_id
            .filter(|_| self.selected > 0)
            .and_then(|id| self.order.iter().position(|place| T::id(&rows[*place as usize]) == id));
        self.select::<T>(snapshot, again.unwrap_or(self.selected));
    }

    /// Selects a row by its place on the screen, or the nearest there is.
    pub(super) fn select<T: Tabular>(&mut self, snapshot: &Snapshot, place: usize) {
        self.selected = place.min(self.order.len().saturating_sub(1));
        self.selected_id = self.row::<T>(snapshot).as_ref().map(T::id);
    }

    /// The row that is selected.
    pub(super) fn row<T: Tabular>(&self, snapshot: &Snapshot) -> Option<T::Row> {
        let place = *self.order.get(self.selected)?;
        T::rows(snapshot)?.get(place as usize).cloned()
    }

    /// Rows that passed the filter.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Moves what is on the screen so that the selected row is, of `height` lines of rows.
    pub(super) fn reveal(&mut self, height: usize) {
        let last = self.order.len().saturating_sub(height);
        let first = (self.selected + 1).saturating_sub(height);
        self.offset = self.offset.clamp(first, self.selected.max(first)).min(last);
    }

    /// Sorts by the next column.
    pub(super) fn sort_by_next<T: Tabular>(&mut self) {
        let now = self.sort.unwrap_or(T::SORTED_BY);
        self.sort = Some((now + 1) % T::COLUMNS.len());
        self.reversed = false;
    }
}

/// Lines of a table that are no rows.
pub(super) const TITLE_LINES: u16 = 1;

/// Draws the rows that fit into `area`, under their titles.
pub(super) fn draw<T: Tabular>(
    frame: &mut Frame<'_>,
    area: Rect,
    snapshot: &Snapshot,
    state: &TableState,
    theme: Theme,
    is_active: bool,
) {
    let Some(rows) = T::rows(snapshot) else {
        let why = format!("unavailable: {}", T::unavailable());
        frame.render_widget(Text::styled(why, theme.label()), area);
        return;
    };
    let shown = shown_columns::<T>(area.width);
    let height = usize::from(area.height.saturating_sub(TITLE_LINES));
    let visible = state.order.iter().enumerate().skip(state.offset).take(height);
    let lines = visible.map(|(place, row)| {
        let row = &rows[*row as usize];
        let cells =
            shown.iter().map(|(_, column, width)| cell(column, &(column.cell)(row), *width));
        let line = Row::new(cells);
        if is_active && place == state.selected { line.style(theme.selected()) } else { line }
    });
    let titles = shown.iter().map(|(place, column, width)| {
        cell(column, &title::<T>(*place, column, state, snapshot), *width)
    });
    let widths = shown.iter().map(|(_, _, width)| Constraint::Length(*width));
    let table = Table::new(lines, widths).header(Row::new(titles).style(theme.columns()));
    frame.render_widget(table, area);
    if state.order.is_empty() {
        let below = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
        let why =
            if rows.is_empty() { T::nothing() } else { "no row passes the filter: / changes it" };
        frame.render_widget(Text::styled(why, theme.label()), below);
    }
}

fn cell(column: &Column<impl Sized>, text: &str, width: u16) -> Cell<'static> {
    let alignment = if column.is_text { Alignment::Left } else { Alignment::Right };
    Cell::from(Line::from(shortened(text, usize::from(width))).alignment(alignment))
}

/// With a mark where it is sorted by this column, and one where it is not exact.
fn title<T: Tabular>(
    place: usize,
    column: &Column<T::Row>,
    state: &TableState,
    snapshot: &Snapshot,
) -> String {
    let sorted = match (place == state.sort.unwrap_or(T::SORTED_BY), state.reversed) {
        (false, _) => "",
        (true, false) => "▾",
        (true, true) => "▴",
    };
    format!("{}{}{sorted}", mark(snapshot, column.exactness), column.title)
}

/// The columns that `width` has room for, by place, and how wide each is.
fn shown_columns<T: Tabular>(width: u16) -> Vec<(usize, &'static Column<T::Row>, u16)> {
    let mut shown: Vec<_> = T::COLUMNS.iter().enumerate().collect();
    let needed = |shown: &[(usize, &Column<T::Row>)]| -> u16 {
        let each = |(_, column): &(usize, &Column<T::Row>)| match column.width {
            0 => T::NARROWEST + 1,
            width => width + 1,
        };
        shown.iter().map(each).sum::<u16>().saturating_sub(1)
    };
    while needed(&shown) > width
        && let Some(last) = shown.iter().map(|(_, column)| column.rank).filter(|it| *it > 0).max()
    {
        shown.retain(|(_, column)| column.rank != last);
    }
    let fixed = needed(&shown).saturating_sub(
        T::NARROWEST * shown.iter().filter(|(_, column)| column.width == 0).count() as u16,
    );
    let open = shown.iter().filter(|(_, column)| column.width == 0).count().max(1) as u16;
    let left = width.saturating_sub(fixed) / open;
    let wide = |column: &Column<T::Row>| if column.width == 0 { left } else { column.width };
    shown.into_iter().map(|(place, column)| (place, column, wide(column))).collect()
}
