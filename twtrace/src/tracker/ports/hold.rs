//! What a socket keeps from others, and for how long its mini-socket does.

use super::seconds::Class;

/// What a socket, or its mini-socket, keeps from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::tracker) enum Hold {
    /// Nothing that is counted.
    #[default]
    Nothing,
    /// The port that it listens on; 0 as long as it is searched.
    Listener { netns: u32, lport: u16, is_v4: bool },
    /// A port towards a destination; 0 as long as it is searched.
    Port { netns: u32, destination: u32, lport: u16, bound: bool },
    /// A quadruplet, whose client has that port.
    Quadruplet { client: u32, rport: u16 },
}

/// How a mini-socket came to let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tracker) enum Release {
    /// By its timer.
    Expired,
    /// A connect took its port, which so was free for it.
    Reused,
    /// A socket that was bound to its port took it.
    ReusedBound,
    /// Otherwise.
    Other,
}

impl Release {
    /// Whether a connect took its port.
    pub(super) fn is_reuse(self) -> bool {
        matches!(self, Self::Reused | Self::ReusedBound)
    }
}

/// What a mini-socket is counted by, from its birth to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tracker) struct Waiting {
    /// When it was born, or entered TIME_WAIT.
    pub(in crate::tracker) since_s: u32,
    pub(in crate::tracker) class: Class,
}

/// How long a timewait mini-socket waits, as a rule.
/// <https://github.com/torvalds/linux/blob/v6.12/include/net/tcp.h#L132-L134>
const TIME_WAIT_MS: u64 = 60_000;

impl Waiting {
    /// One that was there at `time_ns`, by the time that it had left.
    pub(in crate::tracker) fn until(time_ns: u64, expires_ms: u32, class: Class) -> Self {
        let ends_ns = time_ns.saturating_add(u64::from(expires_ms) * 1_000_000);
        let since_ns = ends_ns.saturating_sub(TIME_WAIT_MS * 1_000_000);
        Self { since_s: second(since_ns), class }
    }

    /// How long it will wait after `time_ns`, so that [`Self::until`] gives the same second.
    pub(in crate::tracker) fn left_ms(self, time_ns: u64) -> u32 {
        let ends_ns = u64::from(self.since_s) * 1_000_000_000 + TIME_WAIT_MS * 1_000_000;
        u32::try_from(ends_ns.saturating_sub(time_ns).div_ceil(1_000_000)).unwrap_or(u32::MAX)
    }

    /// The same of a port that was bound, if it was.
    pub(super) fn of(self, hold: Hold) -> Self {
        match hold {
            Hold::Port { bound: true, .. } => Self { class: Class::Bound, ..self },
            _ => self,
        }
    }
}

/// The second of a moment on the clock of records.
pub(in crate::tracker) fn second(time_ns: u64) -> u32 {
    u32::try_from(time_ns / 1_000_000_000).unwrap_or(u32::MAX)
}
