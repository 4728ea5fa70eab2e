//! Colours that people with any kind of sight can tell apart, and none where none are wanted.

use ratatui::style::{Color, Modifier, Style};

/// How things look. Nothing is said by a colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    colors: bool,
}

/// The palette of Okabe and Ito, in the nearest of the 256 colours that every terminal has.
/// <https://jfly.uni-koeln.de/color/>
const BLUE: Color = Color::Indexed(32);
const SKY: Color = Color::Indexed(74);
const GREEN: Color = Color::Indexed(36);
const ORANGE: Color = Color::Indexed(214);
const VERMILION: Color = Color::Indexed(202);
const PURPLE: Color = Color::Indexed(175);
const YELLOW: Color = Color::Indexed(227);

impl Theme {
    /// With colours, or with none at all.
    pub const fn new(colors: bool) -> Self {
        Self { colors }
    }

    /// Whether it has any.
    pub const fn has_colors(self) -> bool {
        self.colors
    }

    fn color(self, color: Color) -> Style {
        if self.colors { Style::new().fg(color) } else { Style::new() }
    }

    /// What a number is about.
    pub(super) fn label(self) -> Style {
        if self.colors {
            Style::new().fg(Color::Indexed(245))
        } else {
            Style::new().add_modifier(Modifier::DIM)
        }
    }

    pub(super) fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The titles of columns.
    pub(super) fn columns(self) -> Style {
        self.color(SKY).add_modifier(Modifier::BOLD)
    }

    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The key to press.
    pub(super) fn key(self) -> Style {
        self.color(SKY).add_modifier(Modifier::BOLD)
    }

    pub(super) fn fine(self) -> Style {
        self.color(GREEN)
    }

    pub(super) fn watch(self) -> Style {
        self.color(ORANGE).add_modifier(Modifier::BOLD)
    }

    pub(super) fn alarm(self) -> Style {
        self.color(VERMILION).add_modifier(Modifier::BOLD)
    }

    /// A bar or line of several, by its place.
    pub(super) fn series(self, place: usize) -> Style {
        const SERIES: [Color; 6] = [BLUE, ORANGE, GREEN, PURPLE, YELLOW, VERMILION];
        self.color(SERIES[place % SERIES.len()])
    }
}
