//! What looks for a local port.

/// Why the kernel looked at local ports. Each variant is one slot of
/// [`crate::Counters::searches`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Search {
    /// `connect()` of a socket without a port: a search, found or not.
    Connect = 0,
    /// `bind()` to port 0 that found one.
    Bind = 1,
    /// `bind()` to a port of the process's choice that got it: a check, no search.
    BindExplicit = 2,
    /// `listen()` of a socket without a port: a search, found or not.
    Listen = 3,
}

/// The number of variants of [`Search`].
pub const SEARCHES: usize = 4;

impl Search {
    /// All of them, in slot order.
    pub const ALL: [Self; SEARCHES] = [Self::Connect, Self::Bind, Self::BindExplicit, Self::Listen];
}
