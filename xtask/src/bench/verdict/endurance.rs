//! A minute at full speed.

use super::super::endurance::Endurance;
use super::{COUNT, Unit, Verdict};

/// Of that run.
pub(super) fn verdicts(run: &Endurance) -> [Verdict; 5] {
    let rate = Unit { decimals: 2, name: "" };
    let bytes = Unit { decimals: 2, name: " bytes" };
    let none = |what, value: Option<u64>| {
        Verdict::new(what, value.map(|n| n as f64), "0".into(), &COUNT, |n| n == 0.0)
    };
    let missed = run.recorded.missed;
    let what = "  unmatched: no more than were missed";
    let unmatched = missed.map(|_| run.told.unmatched as f64);
    let limit = missed.unwrap_or(0) as f64;
    // Where something was missed, the counts differ from the kernel's by what that was.
    let difference = run.told.difference().map(|sum| sum.saturating_sub(missed.unwrap_or(0)));
    [
        none("a minute at full speed, recorded: ring full", Some(run.recorded.ring_full)),
        Verdict::at_most("  missed in 100,000 transitions", run.missed_in_100_000(), 1.0, &rate),
        Verdict::at_most(what, unmatched, limit, &COUNT),
        none("  off the kernel's own counters, by more than missed", difference),
        Verdict::at_most("  bytes for an event", Some(run.bytes_per_event()), 16.0, &bytes),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::super::endurance::tests::endurance;
    use super::*;

    fn words(run: &Endurance) -> Vec<&'static str> {
        verdicts(run).iter().map(Verdict::word).collect()
    }

    #[test]
    fn what_was_missed_explains_as_much() {
        assert_eq!(words(&endurance()), ["met"; 5]);
        let mut run = endurance();
        run.told.unmatched = 3;
        run.told.differences[0].1 = Some(-3);
        assert_eq!(words(&run), ["met", "met", "missed", "missed", "met"]);
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_not_measured() {
        let mut run = endurance();
        run.recorded.missed = None;
        run.told.differences.clear();
        assert_eq!(words(&run)[1..4], ["not measured"; 3]);
    }
}
