//! What each key does: the one list that input and help read.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::tab::Tab;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    Suspend,
    Help,
    Show(Tab),
    NextTab,
    PreviousTab,
    /// Down by so many rows; up if negative.
    Move(i32),
    /// Down by so many screens.
    Page(i32),
    First,
    Last,
    Open,
    Back,
    Sort,
    Reverse,
    Filter,
    Pause,
    /// Longer intervals, or a faster replay.
    More,
    Less,
    Clear,
    Export,
    Flight,
    /// By so many seconds.
    Seek(i32),
}

/// Seconds of a replay that one key passes over.
pub(super) const SEEK_S: i32 = 10;

/// What help says, by groups.
pub(super) const HELP: &[(&str, &str)] = &[
    ("q  ctrl-c", "quit"),
    ("?  h", "this help"),
    ("Tab  1–7", "the next view, or one by its number"),
    ("↑ ↓  j k", "select a row; PgUp PgDn Home End move further"),
    ("Enter", "look at one process or destination; Esc goes back"),
    ("s  r", "sort by the next column; the other way round"),
    ("/  f", "show only rows with this in them; Esc ends it"),
    ("space", "pause; of a replay, stand still"),
    ("+  -", "longer and shorter intervals; of a replay, faster and slower"),
    ("←  →", "of a replay, go back and on by 10 s"),
    ("c", "count anew from now on"),
    ("e", "write what is shown to a file, as JSON"),
    ("w", "write the last minutes to a file (with --flight)"),
    ("ctrl-z", "suspend; fg comes back"),
    ("mouse", "click a row or a view; the wheel moves"),
];

/// What `key` asks for; `None` for nothing.
pub(super) fn action(key: KeyEvent) -> Option<Action> {
    use Action::*;
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Quit),
            KeyCode::Char('z') => Some(Suspend),
            _ => None,
        };
    }
    Some(match key.code {
        KeyCode::Char('q') => Quit,
        KeyCode::Char('?' | 'h') => Help,
        KeyCode::Char(digit @ '1'..='7') => Show(Tab::ALL[digit as usize - '1' as usize]),
        KeyCode::Tab => NextTab,
        KeyCode::BackTab => PreviousTab,
        KeyCode::Down | KeyCode::Char('j') => Move(1),
        KeyCode::Up | KeyCode::Char('k') => Move(-1),
        KeyCode::PageDown => Page(1),
        KeyCode::PageUp => Page(-1),
        KeyCode::Home | KeyCode::Char('g') => First,
        KeyCode::End | KeyCode::Char('G') => Last,
        KeyCode::Enter => Open,
        KeyCode::Esc | KeyCode::Backspace => Back,
        KeyCode::Char('s') => Sort,
        KeyCode::Char('r') => Reverse,
        KeyCode::Char('/' | 'f') => Filter,
        KeyCode::Char(' ') => Pause,
        KeyCode::Char('+' | '=') => More,
        KeyCode::Char('-') => Less,
        KeyCode::Char('c') => Clear,
        KeyCode::Char('e') => Export,
        KeyCode::Char('w') => Flight,
        KeyCode::Left => Seek(-SEEK_S),
        KeyCode::Right => Seek(SEEK_S),
        _ => return None,
    })
}
