//! What the user has made of the screen: which tab, how sorted, what selected. It never
//! touches what it shows.

use std::{sync::Arc, time::Duration};

use ratatui::{
    crossterm::event::{
        Event, KeyCode, KeyEvent, KeyEventKind, MouseButton, MouseEvent, MouseEventKind,
    },
    layout::{Position, Rect},
};

use super::{
    draw,
    history::History,
    keys::{self, Action},
    layout::Screen,
    moment::Moment,
    tab::{
        Tab,
        causes::Causes,
        closers::{Closers, ClosersBy},
        destinations::Destinations,
        leaks::Leaks,
        lifetimes::Lifetimes,
        ports::Searchers,
    },
    table::{TITLE_LINES, TableState, Tabular},
    theme::Theme,
};
use crate::{
    stats::{
        contacts::Focus,
        snapshot::{Destination, Snapshot},
    },
    view::verdict::{Verdict, verdict},
};

/// What the user wants, and the screen cannot do itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    /// To end.
    Quit,
    /// Back to the shell for a while.
    Suspend,
    /// So much time between moments.
    Interval(Duration),
    /// To count anew.
    Clear,
    /// What is shown, as a file of JSON.
    Export(Arc<Moment>),
    /// The last minutes as a recording.
    Flight,
    /// To know all of one process or destination; `None`: no longer.
    Focus(Option<Focus>),
    /// A replay that stands still, or goes on.
    Hold(bool),
    /// A replay so many times as fast as it is now.
    Faster(f64),
    /// A replay so many seconds on, or back.
    Seek(i32),
}

/// A line that stays until the next key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What is to be said.
    pub text: String,
    /// Whether something did not work.
    pub is_failure: bool,
}

/// Times between moments that `+` and `-` go through.
const INTERVALS_MS: [u64; 9] = [100, 250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000];
/// How much faster or slower one key makes a replay.
const FASTER: f64 = 2.0;
/// Rows that the wheel moves.
const WHEEL: i32 = 3;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Model {
    pub(super) area: Rect,
    pub(super) theme: Theme,
    pub(super) tab: Tab,
    tables: [TableState; Tab::ALL.len()],
    /// What rows have to have in them.
    pub(super) needle: String,
    /// Whether keys are letters of that.
    pub(super) is_typing: bool,
    pub(super) shows_help: bool,
    pub(super) notice: Option<Notice>,
    pub(super) focus: Option<Focus>,
    /// The first line of a detail that is on the screen.
    pub(super) detail_offset: usize,
    latest: Option<Shown>,
    history: History,
    /// What is shown instead while the screen stands still.
    held: Option<Held>,
}

#[derive(Clone, Debug)]
struct Held {
    shown: Shown,
    history: History,
}

/// A moment, and the one thing in it that matters.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) moment: Arc<Moment>,
    pub(super) verdict: Verdict,
}

/// Runs `$body` for the type of the table of a tab.
macro_rules! with_table {
    ($tab:expr, $table:ident => $body:expr) => {
        match $tab {
            Tab::Overview | Tab::Closers => {
                type $table = Closers;
                $body
            }
            Tab::Lifetimes => {
                type $table = Lifetimes;
                $body
            }
            Tab::Ports => {
                type $table = Searchers;
                $body
            }
            Tab::Destinations => {
                type $table = Destinations;
                $body
            }
            Tab::Leaks => {
                type $table = Leaks;
                $body
            }
            Tab::Causes => {
                type $table = Causes;
                $body
            }
        }
    };
}
pub(super) use with_table;

impl Model {
    /// A screen of `area`, before its first moment.
    pub fn new(theme: Theme, area: Rect) -> Self {
        Self {
            area,
            theme,
            tab: Tab::default(),
            tables: Default::default(),
            needle: String::new(),
            is_typing: false,
            shows_help: false,
            notice: None,
            focus: None,
            detail_offset: 0,
            latest: None,
            history: History::default(),
            held: None,
        }
    }

    /// Sorts closers as `--sort` says.
    pub fn sort_closers(&mut self, by: ClosersBy) {
        for tab in [Tab::Overview, Tab::Closers] {
            self.tables[tab as usize].sort = Some(by.column());
        }
    }

    /// What is shown; `None` before the first moment.
    pub(super) fn shown(&self) -> Option<&Shown> {
        self.held.as_ref().map_or(self.latest.as_ref(), |held| Some(&held.shown))
    }

    pub(super) fn moment(&self) -> Option<&Moment> {
        self.shown().map(|shown| &*shown.moment)
    }

    /// What is known of the one thing that is looked at: the newest, even if the rest of the
    /// screen stands still.
    pub(super) fn latest(&self) -> Option<&Moment> {
        self.latest.as_ref().map(|shown| &*shown.moment)
    }

    pub(super) fn history(&self) -> &History {
        self.held.as_ref().map_or(&self.history, |held| &held.history)
    }

    pub(super) fn table(&self) -> &TableState {
        &self.tables[self.tab as usize]
    }

    /// Whether the screen stands still, though things go on.
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Takes in what is true now.
    pub fn show(&mut self, moment: Arc<Moment>) {
        let looked_at = self.looked_at(&moment.snapshot);
        self.history.push(&moment.snapshot, looked_at);
        self.show_again(moment);
    }

    /// Takes in what is known now of the same moment.
    pub fn show_again(&mut self, moment: Arc<Moment>) {
        let verdict = verdict(&moment.snapshot);
        self.latest = Some(Shown { moment, verdict });
        if self.held.is_none() {
            self.arrange();
        }
    }

    /// Forgets how it came to this moment: what follows is of another time.
    pub fn forget_history(&mut self) {
        self.history.forget();
    }

    /// Says something in a line of its own.
    pub fn notice(&mut self, notice: Notice) {
        self.notice = Some(notice);
    }

    /// The destination that is looked at.
    pub(super) fn looked_at<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a Destination> {
        let focus = self.focus.as_ref()?;
        let rows = snapshot.destinations.as_ref()?;
        rows.iter().find(|row| Destinations::focus(row).as_ref() == Some(focus))
    }

    /// Takes in what the user did; returns what that asks for.
    pub fn input(&mut self, event: &Event) -> Option<Intent> {
        match event {
            Event::Resize(width, height) => {
                self.area = Rect::new(0, 0, *width, *height);
                self.reveal();
                None
            }
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                self.notice = None;
                if self.is_typing { self.typed(*key) } else { self.act(keys::action(*key)?) }
            }
            Event::Mouse(mouse) => self.mouse(*mouse),
            Event::Paste(text) if self.is_typing => {
                self.needle.push_str(text.lines().next().unwrap_or_default());
                self.arrange();
                None
            }
            _ => None,
        }
    }

    /// A letter of what rows have to have in them.
    fn typed(&mut self, key: KeyEvent) -> Option<Intent> {
        // Ctrl-C and ctrl-z are what they are everywhere.
        if let Some(action @ (Action::Quit | Action::Suspend)) = keys::action(key)
            && !matches!(key.code, KeyCode::Char('q'))
        {
            return self.act(action);
        }
        match key.code {
            KeyCode::Char(letter) => self.needle.push(letter),
            KeyCode::Backspace => drop(self.needle.pop()),
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.needle.clear();
            }
            KeyCode::Up => return self.act(Action::Move(-1)),
            KeyCode::Down => return self.act(Action::Move(1)),
            _ => {}
        }
        self.arrange();
        None
    }

    fn act(&mut self, action: Action) -> Option<Intent> {
        if std::mem::take(&mut self.shows_help) && action != Action::Quit {
            return None;
        }
        match action {
            Action::Quit => return Some(Intent::Quit),
            Action::Suspend => return Some(Intent::Suspend),
            Action::Help => self.shows_help = true,
            Action::Show(tab) => return self.go_to(tab),
            Action::NextTab => return self.go_to(self.tab.after(1)),
            Action::PreviousTab => return self.go_to(self.tab.after(Tab::ALL.len() - 1)),
            Action::Move(rows) => self.move_by(rows),
            Action::Page(pages) => self.move_by(pages.saturating_mul(self.page())),
            Action::First => self.move_by(i32::MIN),
            Action::Last => self.move_by(i32::MAX),
            Action::Open => return self.open(),
            Action::Back => return self.back(),
            Action::Sort => self.sort(),
            Action::Reverse => {
                let table = &mut self.tables[self.tab as usize];
                table.reversed = !table.reversed;
                self.arrange();
            }
            Action::Filter => self.is_typing = true,
            Action::Pause => return self.pause(),
            Action::More => return self.pace(true),
            Action::Less => return self.pace(false),
            Action::Clear => {
                self.history.forget();
                return Some(Intent::Clear);
            }
            Action::Export => return self.moment_shown().map(Intent::Export),
            Action::Flight => return Some(Intent::Flight),
            Action::Seek(seconds) => return Some(Intent::Seek(seconds)),
        }
        None
    }

    fn moment_shown(&self) -> Option<Arc<Moment>> {
        self.shown().map(|shown| Arc::clone(&shown.moment))
    }

    fn go_to(&mut self, tab: Tab) -> Option<Intent> {
        let was_looking = self.focus.take().is_some();
        self.tab = tab;
        self.arrange();
        was_looking.then_some(Intent::Focus(None))
    }

    /// Looks at the selected row alone.
    fn open(&mut self) -> Option<Intent> {
        if self.focus.is_some() {
            return None;
        }
        let snapshot = &self.moment()?.snapshot;
        let focus = with_table!(self.tab, T => {
            self.table().row::<T>(snapshot).and_then(|row| T::focus(&row))
        });
        let Some(focus) = focus else {
            let text = "there is no more to be seen of this row".to_owned();
            self.notice = Some(Notice { text, is_failure: false });
            return None;
        };
        self.focus = Some(focus.clone());
        self.detail_offset = 0;
        self.history.forget_ratio();
        Some(Intent::Focus(Some(focus)))
    }

    /// One step back: out of a detail, or out of a filter.
    fn back(&mut self) -> Option<Intent> {
        if self.focus.take().is_some() {
            return Some(Intent::Focus(None));
        }
        self.needle.clear();
        self.arrange();
        None
    }

    fn sort(&mut self) {
        let table = &mut self.tables[self.tab as usize];
        with_table!(self.tab, T => table.sort_by_next::<T>());
        self.arrange();
    }

    /// A replay stands still itself; of a live host only the screen does.
    fn pause(&mut self) -> Option<Intent> {
        let shown = self.latest.clone()?;
        if let Some(playback) = shown.moment.playback {
            return Some(Intent::Hold(!playback.paused));
        }
        self.held = match self.held.take() {
            Some(_) => None,
            None => Some(Held { shown, history: self.history.clone() }),
        };
        self.arrange();
        None
    }

    fn pace(&mut self, more: bool) -> Option<Intent> {
        let moment = self.latest()?;
        if moment.playback.is_some() {
            return Some(Intent::Faster(if more { FASTER } else { 1.0 / FASTER }));
        }
        let now_ms = moment.interval.as_millis();
        let is_next =
            |ms: &u64| if more { u128::from(*ms) > now_ms } else { u128::from(*ms) < now_ms };
        let mut all = INTERVALS_MS.iter().copied();
        let next_ms = if more { all.find(is_next) } else { all.rfind(is_next) };
        next_ms.map(|ms| Intent::Interval(Duration::from_millis(ms)))
    }

    fn move_by(&mut self, rows: i32) {
        let moved = |place: usize| {
            let distance = rows.unsigned_abs() as usize;
            if rows < 0 { place.saturating_sub(distance) } else { place.saturating_add(distance) }
        };
        if self.focus.is_some() {
            let last = draw::detail_lines(self).saturating_sub(self.page() as usize);
            self.detail_offset = moved(self.detail_offset).min(last);
            return;
        }
        self.select(moved(self.table().selected));
    }

    fn select(&mut self, place: usize) {
        let Some(moment) = self.moment_shown() else { return };
        let table = &mut self.tables[self.tab as usize];
        with_table!(self.tab, T => table.select::<T>(&moment.snapshot, place));
        self.reveal();
    }

    /// Puts the rows of the tab in order again.
    fn arrange(&mut self) {
        let Some(moment) = self.moment_shown() else { return };
        let table = &mut self.tables[self.tab as usize];
        with_table!(self.tab, T => table.arrange::<T>(&moment.snapshot, &self.needle));
        self.reveal();
    }

    fn reveal(&mut self) {
        let height = self.page() as usize;
        self.tables[self.tab as usize].reveal(height);
    }

    /// Rows of the tab's table, or lines of a detail, that fit the screen.
    fn page(&self) -> i32 {
        let body = Screen::of(self.area).body;
        if self.focus.is_some() {
            return i32::from(body.height).max(1);
        }
        let table = self.shown().map_or(body, |shown| draw::table_area(self.tab, body, shown));
        i32::from(table.height.saturating_sub(TITLE_LINES)).max(1)
    }

    fn mouse(&mut self, mouse: MouseEvent) -> Option<Intent> {
        match mouse.kind {
            MouseEventKind::ScrollDown => self.move_by(WHEEL),
            MouseEventKind::ScrollUp => self.move_by(-WHEEL),
            MouseEventKind::Down(MouseButton::Left) => {
                return self.click(Position::new(mouse.column, mouse.row));
            }
            _ => {}
        }
        None
    }

    /// A tab, or a row; a row that is selected already is opened.
    fn click(&mut self, at: Position) -> Option<Intent> {
        let screen = Screen::of(self.area);
        if screen.tabs.contains(at) {
            return draw::tab_at(screen.tabs, at.x).and_then(|tab| self.go_to(tab));
        }
        if self.focus.is_some() {
            return None;
        }
        let table = draw::table_area(self.tab, screen.body, self.shown()?);
        let line = at.y.checked_sub(table.y + TITLE_LINES)?;
        let place = self.table().offset + usize::from(line);
        if !table.contains(at) || place >= self.table().len() {
            return None;
        }
        if place == self.table().selected {
            return self.open();
        }
        self.select(place);
        None
    }
}
