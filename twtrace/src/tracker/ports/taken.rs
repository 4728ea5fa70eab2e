//! The local ports that are taken towards one destination.

use twtrace_common::{Outcome, ProcessKey};

use super::{
    offer::{Half, Offer, Place},
    seconds::{RATE_S, Second, Seconds},
};
use crate::frame::AskedRange;

/// Ports by where they lie in the range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lying {
    /// As even or odd as the first port of the range.
    pub low: u32,
    /// The others.
    pub high: u32,
    /// Not in the range.
    pub outside: u32,
}

/// Connects that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectErrors {
    /// EADDRNOTAVAIL.
    pub no_port: u64,
    /// ECONNREFUSED.
    pub refused: u64,
    /// ETIMEDOUT.
    pub timed_out: u64,
    /// Anything else.
    pub other: u64,
}

/// Where the ports lay that were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// In the half that is searched first.
    pub first: u64,
    /// In the other.
    pub second: u64,
    /// Not known.
    pub unknown: u64,
}

/// What is known of one destination.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Sockets and mini-sockets that know this row's number.
    pub(super) holders: u32,
    /// When a connect last came here, or a mini-socket ended.
    pub(super) touched_s: u32,
    pub(super) asked: AskedRange,
    /// What the search towards it may give.
    pub(super) offer: Option<Offer>,
    /// Of connections.
    pub(super) live: Lying,
    /// Of mini-sockets.
    pub(super) waiting: Lying,
    /// Of both, those that a process had bound, in the range.
    pub(super) bound: u32,
    pub(super) seconds: Seconds,
    /// When the first port was taken since we look.
    pub(super) since_s: Option<f64>,
    pub(super) errors: ConnectErrors,
    /// When a connect last found no port.
    pub(super) no_port_s: Option<f64>,
    pub(super) found: Found,
    pub(super) reused: u64,
    /// When, and whose connect came last.
    pub(super) last_opened: Option<(u64, ProcessKey)>,
}

/// Changes per second towards one destination.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// Ports taken.
    pub opens: f64,
    /// Ports given back otherwise than by a mini-socket that expired.
    pub left: f64,
    /// Mini-sockets born.
    pub born: f64,
}

impl Lying {
    pub(super) fn add(&mut self, place: Place) {
        *self.at(place) += 1;
    }

    pub(super) fn take(&mut self, place: Place) {
        let count = self.at(place);
        *count = count.saturating_sub(1);
    }

    fn at(&mut self, place: Place) -> &mut u32 {
        match place {
            Place::Low => &mut self.low,
            Place::High => &mut self.high,
            Place::Outside => &mut self.outside,
        }
    }

    /// All of them.
    pub fn sum(self) -> u64 {
        u64::from(self.low) + u64::from(self.high) + u64::from(self.outside)
    }
}

impl Found {
    pub(crate) fn add(&mut self, half: Option<Half>) {
        match half {
            Some(Half::First) => self.first += 1,
            Some(Half::Second) => self.second += 1,
            None => self.unknown += 1,
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.first += other.first;
        self.second += other.second;
        self.unknown += other.unknown;
    }
}

impl ConnectErrors {
    pub(super) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::ConnectNoPort => self.no_port += 1,
            Outcome::ConnectRefused => self.refused += 1,
            Outcome::ConnectTimedOut => self.timed_out += 1,
            Outcome::ConnectOther | Outcome::ConnectUnexplained => self.other += 1,
            _ => {}
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.no_port += other.no_port;
        self.refused += other.refused;
        self.timed_out += other.timed_out;
        self.other += other.other;
    }
}

impl Taken {
    pub(super) fn place(&self, lport: u16) -> Place {
        self.offer.map_or(Place::Outside, |offer| offer.place(lport))
    }

    /// In which half connect found `lport`.
    pub(super) fn half(&self, lport: u16) -> Option<Half> {
        let offer = self.offer.filter(Offer::has_halves)?;
        match offer.place(lport) {
            Place::Low => Some(Half::First),
            Place::High => Some(Half::Second),
            Place::Outside => None,
        }
    }

    /// What the search towards it may give; `None` if that is not known, or not the same
    /// for all.
    pub fn offer(&self) -> Option<Offer> {
        self.offer
    }

    /// Ports of connections and of mini-sockets.
    pub fn live(&self) -> Lying {
        self.live
    }

    /// Ports of mini-sockets.
    pub fn waiting(&self) -> Lying {
        self.waiting
    }

    /// Of both, those in the range.
    pub fn in_range(&self) -> u64 {
        let (live, waiting) = (self.live, self.waiting);
        [live.low, live.high, waiting.low, waiting.high].into_iter().map(u64::from).sum()
    }

    /// Of these, in the half that connect searches first.
    pub fn in_first_half(&self) -> u64 {
        u64::from(self.live.low) + u64::from(self.waiting.low)
    }

    /// Ports that a process had bound before it connected.
    pub fn bound(&self) -> u64 {
        u64::from(self.bound)
    }

    /// Connects that failed.
    pub fn errors(&self) -> ConnectErrors {
        self.errors
    }

    /// Where the ports lay that were found.
    pub fn found(&self) -> Found {
        self.found
    }

    /// Mini-sockets whose port a connect took.
    pub fn reused(&self) -> u64 {
        self.reused
    }

    /// Whose connect came last.
    pub fn last_owner(&self) -> Option<ProcessKey> {
        self.last_opened.map(|(_, owner)| owner)
    }

    /// Seconds in which anything happened.
    pub fn seconds(&self) -> impl Iterator<Item = &Second> {
        self.seconds.iter()
    }

    /// Changes per second over the last ten, or since the first one; `None` where nothing
    /// ever happened.
    pub fn pace(&self, now_s: f64) -> Option<Pace> {
        const SHORTEST_S: f64 = 1.0;
        let first_s = (now_s as u32).saturating_sub(RATE_S - 1);
        let since_s = self.since_s?.max(f64::from(first_s));
        // Two connects in a millisecond are not two thousand a second.
        let over_s = (now_s - since_s).max(SHORTEST_S);
        let mut sums = Second::default();
        for second in self.seconds.iter().rev().take_while(|second| second.at_s >= first_s) {
            sums.opens += second.opens;
            sums.left += second.left;
            sums.born += second.born;
        }
        let per_s = |count: u32| f64::from(count) / over_s;
        Some(Pace { opens: per_s(sums.opens), left: per_s(sums.left), born: per_s(sums.born) })
    }

    /// A port that was bound, and lies in the range, is given back.
    pub(super) fn forget_bound(&mut self, bound: bool, place: Place) {
        if bound && place != Place::Outside {
            self.bound = self.bound.saturating_sub(1);
        }
    }

    /// Whether anything happened here not long before `now_s`.
    pub(super) fn was_touched(&self, now_s: u32) -> bool {
        const FORGOTTEN_AFTER_S: u32 = 300;
        self.touched_s.saturating_add(FORGOTTEN_AFTER_S) > now_s
    }

    /// Whether a connect has just found no port.
    pub fn has_just_run_out(&self, now_s: f64) -> bool {
        const JUST_S: f64 = 2.0;
        self.no_port_s.is_some_and(|no_port_s| now_s - no_port_s < JUST_S)
    }
}
