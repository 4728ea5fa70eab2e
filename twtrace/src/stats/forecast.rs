//! When ports run out: arrivals against releases, of which most are known in advance.

use crate::tracker::ports::Pace;

/// A TIME_WAIT lasts 60 s and until the timer wheel comes round: 0.0 to 4.1 s, by HZ.
/// <https://github.com/torvalds/linux/blob/v6.12/kernel/time/timer.c#L66-L105>
pub(super) const TIME_WAIT_S: f64 = 61.0;

/// What is further away is not approaching.
const HORIZON_S: f64 = 3_600.0;

/// Ports that are taken, and what will become of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Outlook {
    /// Ports that a search cannot give now.
    pub(super) blocked: f64,
    /// Changes per second.
    pub(super) pace: Pace,
    /// In how many seconds mini-sockets will stop blocking their port, and how many.
    pub(super) due: Vec<(f64, f64)>,
    /// For how long mini-sockets that are born from now on block theirs, and what part of
    /// them.
    pub(super) lives: Vec<(f64, f64)>,
}

impl Outlook {
    /// Seconds until `ports` are blocked: 0 when they are, `None` when that is not
    /// approaching.
    pub(super) fn reaches(&self, ports: f64) -> Option<f64> {
        if self.blocked >= ports {
            return Some(0.0);
        }
        if self.pace.opens <= 0.0 {
            return None;
        }
        let mut blocked = self.blocked;
        let mut from_s = 0.0;
        for to_s in self.turns() {
            let slope = self.slope(from_s);
            let until_s = from_s + (ports - blocked) / slope;
            if slope > 0.0 && until_s <= to_s.min(HORIZON_S) {
                return Some(until_s);
            }
            if to_s > HORIZON_S {
                return None;
            }
            blocked += slope * (to_s - from_s) - self.freed_at(to_s);
            from_s = to_s;
        }
        None
    }

    /// The moments at which anything changes, in order, and one past all.
    fn turns(&self) -> Vec<f64> {
        let dues = self.due.iter().map(|(due_s, _)| due_s.max(0.0));
        let mut turns: Vec<f64> =
            dues.chain(self.lives.iter().map(|(lives_s, _)| *lives_s)).collect();
        turns.sort_by(f64::total_cmp);
        turns.dedup();
        turns.push(f64::INFINITY);
        turns
    }

    /// By how many ports a second more are blocked from `at_s` on.
    fn slope(&self, at_s: f64) -> f64 {
        let over = self.lives.iter().filter(|(lives_s, _)| *lives_s <= at_s);
        let freed: f64 = over.map(|(_, part)| part * self.pace.born).sum();
        self.pace.opens - self.pace.left - freed
    }

    fn freed_at(&self, at_s: f64) -> f64 {
        let due = self.due.iter().filter(|(due_s, _)| due_s.max(0.0) == at_s);
        due.map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(opens: f64, left: f64, born: f64) -> Outlook {
        let pace = Pace { opens, left, born };
        Outlook { blocked: 0.0, pace, due: vec![], lives: vec![(TIME_WAIT_S, 1.0)] }
    }

    fn about(seconds: Option<f64>, expected: f64) -> bool {
        seconds.is_some_and(|seconds| (seconds - expected).abs() < 0.01)
    }

    #[test]
    fn a_steady_pace_fills_the_ports_in_time() {
        let outlook = Outlook { blocked: 100.0, ..steady(20.0, 0.0, 20.0) };
        assert!(about(outlook.reaches(200.0), 5.0));
        assert_eq!(outlook.reaches(100.0), Some(0.0));
    }

    #[test]
    fn what_expires_in_time_keeps_it_away() {
        // 20 a second for 61 seconds are 1,220 ports, and no more ever.
        let outlook = steady(20.0, 0.0, 20.0);
        assert!(about(outlook.reaches(1_200.0), 60.0));
        assert_eq!(outlook.reaches(1_221.0), None);
    }

    #[test]
    fn connections_that_stay_fill_them_however_slowly() {
        // Of 20 a second one stays open.
        let outlook = steady(20.0, 0.0, 19.0);
        assert!(about(outlook.reaches(1_320.0), 161.0));
        assert_eq!(steady(20.0, 1.0, 19.0).reaches(1_320.0), None);
    }

    #[test]
    fn what_waits_already_makes_room_when_it_is_due() {
        let due = vec![(-1.0, 30.0), (2.0, 50.0)];
        let outlook = Outlook { blocked: 80.0, due, ..steady(10.0, 0.0, 10.0) };
        // 80, 30 fewer at once, 10 more a second, 50 fewer after 2 seconds: 20 then.
        assert!(about(outlook.reaches(90.0), 9.0));
    }

    #[test]
    fn nothing_approaches_where_nobody_connects() {
        let outlook = Outlook { blocked: 10.0, ..steady(0.0, 0.0, 0.0) };
        assert_eq!(outlook.reaches(11.0), None);
        assert_eq!(outlook.reaches(10.0), Some(0.0));
        // More than an hour away.
        assert_eq!(steady(1.0, 0.999, 0.0).reaches(100.0), None);
    }

    #[test]
    fn ports_that_are_reused_after_a_second_are_hardly_taken() {
        let outlook = Outlook { lives: vec![(1.0, 1.0)], ..steady(100.0, 0.0, 100.0) };
        assert_eq!(outlook.reaches(101.0), None);
        assert!(about(outlook.reaches(90.0), 0.9));
    }
}
