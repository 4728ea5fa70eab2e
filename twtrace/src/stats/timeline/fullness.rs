//! How full the port ranges towards some destinations were, and when they passed what line.

use std::collections::BTreeSet;

use crate::stats::snapshot;

/// Destinations that are followed: those that were fullest at any time.
pub const DESTINATIONS: usize = 6;
/// Passings that are kept.
const MAX_PASSED: usize = 64;

/// A remote end, and from where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    /// Inode of the network namespace.
    pub netns: Option<u32>,
    /// Local address.
    pub laddr: Option<String>,
    /// Remote address.
    pub raddr: String,
    /// Remote port.
    pub rport: u16,
}

impl Destination {
    /// `None` for the row that sums the rest.
    pub fn of(row: &snapshot::Destination) -> Option<Self> {
        let (raddr, rport) = (row.raddr.clone()?, row.rport?);
        Some(Self { netns: row.netns, laddr: row.laddr.clone(), raddr, rport })
    }
}

/// A line that a destination may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// Every port of the first half is taken.
    Knee,
    /// No port is left.
    Exhausted,
}

/// A destination passed a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Which destination.
    pub destination: Destination,
    /// Which line.
    pub line: Line,
    /// The first tick at which it was past, on the clock of records.
    pub first_ns: u64,
    /// How often it passed it.
    pub times: u64,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Fullness {
    followed: [Option<Followed>; DESTINATIONS],
    past: BTreeSet<(Destination, Line)>,
    passed: Vec<Passed>,
}

#[derive(Debug)]
struct Followed {
    destination: Destination,
    peak: f64,
}

impl Fullness {
    /// Takes in the destinations of one moment. Gives the places whose destination is another
    /// one than before.
    pub(super) fn look(
        &mut self,
        time_ns: u64,
        rows: Option<&[snapshot::Destination]>,
    ) -> Vec<usize> {
        let mut moved = Vec::new();
        let mut past = BTreeSet::new();
        for row in rows.unwrap_or_default() {
            let Some(destination) = Destination::of(row) else {
                continue;
            };
            let lines = [(Line::Knee, row.knee_in_s), (Line::Exhausted, row.exhausted_in_s)];
            for (line, _) in lines.into_iter().filter(|(_, in_s)| *in_s == Some(0.0)) {
                past.insert((destination.clone(), line));
            }
            if let Some(ratio) = row.used_ratio {
                moved.extend(self.follow(destination, ratio));
            }
        }
        for (destination, line) in past.difference(&self.past) {
            pass(&mut self.passed, time_ns, destination, *line);
        }
        self.past = past;
        moved
    }

    /// Gives the place that another one had before.
    fn follow(&mut self, destination: Destination, ratio: f64) -> Option<usize> {
        let known = self.followed.iter_mut().flatten();
        if let Some(known) = known.into_iter().find(|known| known.destination == destination) {
            known.peak = known.peak.max(ratio);
            return None;
        }
        let peak = |place: usize| self.followed[place].as_ref().map_or(-1.0, |one| one.peak);
        let place = (0..DESTINATIONS).min_by(|a, b| peak(*a).total_cmp(&peak(*b)))?;
        if peak(place) >= ratio {
            return None;
        }
        self.followed[place].replace(Followed { destination, peak: ratio }).map(|_| place)
    }

    /// How full they are. One without a row has no sockets, unless the rest is summed.
    pub(super) fn now(
        &self,
        rows: Option<&[snapshot::Destination]>,
    ) -> [Option<f64>; DESTINATIONS] {
        let mut now = [None; DESTINATIONS];
        let Some(rows) = rows else {
            return now;
        };
        let summed = rows.iter().any(|row| row.other);
        for (ratio, followed) in now.iter_mut().zip(&self.followed) {
            let Some(Followed { destination, .. }) = followed else {
                continue;
            };
            let row = rows.iter().find(|row| Destination::of(row).as_ref() == Some(destination));
            *ratio = match row {
                Some(row) => row.used_ratio,
                None => (!summed).then_some(0.0),
            };
        }
        now
    }

    pub(super) fn destinations(&self) -> impl Iterator<Item = Option<&Destination>> {
        self.followed.iter().map(|one| one.as_ref().map(|one| &one.destination))
    }

    pub(super) fn passed(&self) -> &[Passed] {
        &self.passed
    }
}

fn pass(passed: &mut Vec<Passed>, first_ns: u64, destination: &Destination, line: Line) {
    let same = |known: &&mut Passed| known.destination == *destination && known.line == line;
    if let Some(known) = passed.iter_mut().find(same) {
        known.times += 1;
    } else if passed.len() < MAX_PASSED {
        passed.push(Passed { destination: destination.clone(), line, first_ns, times: 1 });
    }
}
