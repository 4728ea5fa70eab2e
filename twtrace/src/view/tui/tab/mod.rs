//! The tabs: what each shows of a moment.

pub(super) mod causes;
pub(super) mod closers;
pub(super) mod destinations;
pub(super) mod leaks;
pub(super) mod lifetimes;
pub(super) mod overview;
pub(super) mod ports;

/// A tab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tab {
    #[default]
    Overview,
    Closers,
    Lifetimes,
    Ports,
    Destinations,
    Leaks,
    Causes,
}

impl Tab {
    pub(super) const ALL: [Self; 7] = [
        Self::Overview,
        Self::Closers,
        Self::Lifetimes,
        Self::Ports,
        Self::Destinations,
        Self::Leaks,
        Self::Causes,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Closers => "Closers",
            Self::Lifetimes => "Lifetimes",
            Self::Ports => "Ports",
            Self::Destinations => "Destinations",
            Self::Leaks => "Leaks",
            Self::Causes => "Causes",
        }
    }

    /// Where there is little room.
    pub(super) const fn short_name(self) -> &'static str {
        match self {
            Self::Overview => "Over",
            Self::Closers => "Clos",
            Self::Lifetimes => "Life",
            Self::Ports => "Port",
            Self::Destinations => "Dest",
            Self::Leaks => "Leak",
            Self::Causes => "Caus",
        }
    }

    /// The one so many further on, in a circle.
    pub(super) fn after(self, steps: usize) -> Self {
        Self::ALL[(self as usize + steps) % Self::ALL.len()]
    }
}
