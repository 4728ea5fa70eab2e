//! Whether listing sockets takes no longer than ss does.

use super::super::states::States;
use super::{ENOUGH, RATIO, Verdict};

/// Of what ss takes.
const AT_MOST: f64 = 1.2;

/// All of the row's.
pub(super) fn verdicts(states: &States) -> [Verdict; 2] {
    // Those that ended meanwhile were not listed by all.
    let enough = states.time_wait as f64 >= states.wanted as f64 * ENOUGH;
    let [seconds, cpu] = [states.ratio(|it| it.seconds), states.ratio(|it| it.cpu_s)];
    [
        Verdict::at_most("twtrace states by ss, time", seconds.filter(|_| enough), AT_MOST, &RATIO),
        Verdict::at_most("  CPU", cpu.filter(|_| enough), AT_MOST, &RATIO),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::super::states::{Listing, tests::states};
    use super::*;

    fn words(states: &States) -> [&'static str; 2] {
        verdicts(states).map(|verdict| verdict.word())
    }

    #[test]
    fn ss_decides() {
        assert_eq!(words(&states()), ["met", "met"]);
        let slow = vec![Listing { seconds: 1.0, cpu_s: 0.7 }];
        assert_eq!(words(&States { ours: slow, ..states() }), ["missed", "met"]);
    }

    #[test]
    fn few_sockets_decide_nothing() {
        assert_eq!(words(&States { time_wait: 100_000, ..states() }), ["not measured"; 2]);
    }
}
