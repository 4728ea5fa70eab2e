//! What looks for a local port.

/// Why the kernel looked at local ports. Each variant is one slot of
/// [`crate::Counters::searches`]. Where no function may be probed, a bind that got
/// no port is not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Search {
    /// `connect()` of a socket without a port: a search, found or not.
    Connect = 0,
    /// `bind()` to port 0.
    Bind = 1,
    /// `bind()` to a port of the process's choice: a check, no search.
    BindExplicit = 2,
    /// `listen()` of a socket without a port: a search, found or not.
    Listen = 3,
}

/// The number of variants of [`Search`].
pub const SEARCHES: usize = 4;

impl Search {
    /// All of them, in slot order.
    pub const ALL: [Self; SEARCHES] = [Self::Connect, Self::Bind, Self::BindExplicit, Self::Listen];

    /// The kind in slot `raw`; `None` if there is none.
    pub const fn from_raw(raw: u8) -> Option<Self> {
        if (raw as usize) < SEARCHES { Some(Self::ALL[raw as usize]) } else { None }
    }
}
