//! From the clock of records to the wall clock.
//!
//! Records carry `CLOCK_MONOTONIC`, which stands still while the host is suspended;
//! ticks say what the wall clock showed at such a moment.

/// Anchors kept: one for each time that the wall clock was set, drifted, or the host slept.
const MAX_ANCHORS: usize = 4_096;
/// A wall clock that is adjusted by less than this is followed later: every anchor is a
/// moment at which times jump.
const TOLERATED_NS: i64 = 1_000_000;

/// How far the wall clock is ahead of that of records, since when.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    since_ns: u64,
    ahead_ns: i64,
}

/// The wall clock at every moment of a run.
#[derive(Debug)]
pub(super) struct WallClock {
    /// What holds until the first of `anchors`.
    ahead_ns: i64,
    /// In the order of time.
    anchors: Vec<Anchor>,
}

impl WallClock {
    /// A clock that was `ahead_ns` ahead of that of records when the run began.
    pub(super) fn new(ahead_ns: i64) -> Self {
        Self { ahead_ns, anchors: Vec::new() }
    }

    /// By a tick: how far the wall clock is ahead.
    pub(super) fn ahead(time_ns: u64, wall_ns: u64) -> i64 {
        let ahead = i128::from(wall_ns) - i128::from(time_ns);
        ahead.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }

    /// A tick: what happens later is told by it.
    pub(super) fn tick(&mut self, time_ns: u64, wall_ns: u64) {
        let ahead_ns = Self::ahead(time_ns, wall_ns);
        let last = self.anchors.last();
        let since_ns = last.map_or(0, |last| last.since_ns);
        let known_ns = last.map_or(self.ahead_ns, |last| last.ahead_ns);
        if ahead_ns.abs_diff(known_ns) < TOLERATED_NS.unsigned_abs() || time_ns < since_ns {
            return;
        }
        if self.anchors.len() == MAX_ANCHORS {
            self.ahead_ns = self.anchors.remove(0).ahead_ns;
        }
        self.anchors.push(Anchor { since_ns: time_ns, ahead_ns });
    }

    /// What the wall clock showed at `time_ns`: nanoseconds since 1970.
    pub(super) fn at(&self, time_ns: u64) -> i64 {
        let anchor = self.anchors.iter().rev().find(|anchor| anchor.since_ns <= time_ns);
        let ahead_ns = anchor.map_or(self.ahead_ns, |anchor| anchor.ahead_ns);
        let wall_ns = i128::from(time_ns) + i128::from(ahead_ns);
        wall_ns.clamp(0, i128::from(i64::MAX)) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_does_not_change_the_past() {
        let mut clock = WallClock::new(100_000_000);
        clock.tick(1_000_000_000, 1_100_000_500);
        assert_eq!(clock.at(2_000_000_000), 2_100_000_000, "half a microsecond is tolerated");
        clock.tick(3_000_000_000, 6_100_000_000);
        assert_eq!(clock.at(2_999_999_999), 3_099_999_999);
        assert_eq!(clock.at(3_000_000_000), 6_100_000_000);
    }

    #[test]
    fn nonsense_is_no_time_before_1970() {
        let mut clock = WallClock::new(i64::MIN);
        assert_eq!(clock.at(5), 0);
        clock.tick(0, u64::MAX);
        assert_eq!(clock.at(u64::MAX), i64::MAX);
        for second in 0..2 * MAX_ANCHORS as u64 {
            clock.tick(second * 1_000_000_000, 0);
        }
        assert_eq!(clock.anchors.len(), MAX_ANCHORS);
    }
}
