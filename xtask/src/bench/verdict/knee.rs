//! Whether twtrace says of port searches what the client's own clocks say.

use super::super::knee::{Knee, Level};
use super::{COUNT, RATIO, Unit, Verdict};

/// How far twtrace may be from the client's clocks.
const OFF: f64 = 0.2;
/// With n samples of CPU time it is off by about √n of them: with so many, by 2 %.
const SAMPLES: f64 = 2_000.0;
/// A connect has to take so many times what it took right before the knee. The walk over half of
/// the default range takes a hundred times what a handshake on loopback takes.
const RISE: f64 = 10.0;

/// All of the row's.
pub(super) fn verdicts(knee: &Knee) -> [Verdict; 7] {
    [
        rise("connect() past the knee / before", knee, |level| level.outside.mean_ns()),
        rise("  search, by twtrace", knee, |level| level.searched.mean_ns()),
        rise("  CPU of a search, by twtrace", knee, at_most_cpu_ns),
        unexpected(knee),
        mistaken(knee),
        latency(&knee.long),
        cpu(knee),
    ]
}

fn rise(what: &'static str, knee: &Knee, of: fn(&Level) -> Option<f64>) -> Verdict {
    let levels = knee.around();
    let ratio = levels.and_then(|(before, past)| Some(of(past)? / of(before)?));
    Verdict::at_least(what, ratio, RISE, &Unit { decimals: 1, name: "" })
}

/// Where a level has no sample, one more would have changed that: there it is at most this.
fn at_most_cpu_ns(level: &Level) -> Option<f64> {
    let searched = level.searched;
    let samples = searched.samples.max(1) as f64;
    (searched.count > 0).then(|| samples / searched.hz as f64 * 1e9 / searched.count as f64)
}

fn unexpected(knee: &Knee) -> Verdict {
    let what = "searches lost, or in the wrong half";
    Verdict::new(what, Some(knee.unexpected() as f64), "0".into(), &COUNT, |n| n == 0.0)
}

fn mistaken(knee: &Knee) -> Verdict {
    let what = "levels told wrongly by twtrace";
    Verdict::new(what, Some(knee.mistaken() as f64), "0".into(), &COUNT, |n| n == 0.0)
}

fn latency(long: &Level) -> Verdict {
    let ratio = long.searched.mean_ns().zip(long.outside.mean_ns()).map(|(ours, its)| ours / its);
    near("search by twtrace / connect()", ratio)
}

/// That both say there is enough of it: were twtrace to miss most, it would else get no verdict.
fn cpu(knee: &Knee) -> Verdict {
    let searched = knee.long.searched;
    let outside = knee.outside_cpu_ns(&knee.long);
    let expected = outside.map(|ns| ns / 1e9 * searched.hz as f64);
    let samples = expected.map(|expected| expected.max(searched.samples as f64));
    let enough = samples.is_some_and(|samples| samples >= SAMPLES);
    let ratio = outside.filter(|ns| *ns > 0.0).map(|ns| searched.cpu_ns() / ns);
    let verdict = near("CPU of searches, twtrace / client", ratio);
    Verdict {
        figure: format!("{} with {} samples", verdict.figure, searched.samples),
        target: format!("{} with {SAMPLES}", verdict.target),
        met: verdict.met.filter(|_| enough),
        ..verdict
    }
}

fn near(what: &'static str, ratio: Option<f64>) -> Verdict {
    let target = format!("{} to {}", 1.0 - OFF, 1.0 + OFF);
    Verdict::new(what, ratio, target, &RATIO, |ratio| (ratio - 1.0).abs() <= OFF)
}

#[cfg(test)]
mod tests {
    use super::super::super::knee::tests::{knee, level};
    use super::*;

    fn words(knee: &Knee) -> [&'static str; 7] {
        verdicts(knee).map(|verdict| verdict.word())
    }

    #[test]
    fn figures_that_agree_meet_every_target() {
        assert_eq!(words(&knee()), ["met"; 7]);
    }

    #[test]
    fn a_search_without_a_knee_misses() {
        let mut knee = knee();
        knee.levels[2] = level(51, 1_000, 30);
        assert_eq!(words(&knee)[..2], ["missed", "missed"]);
        knee.levels.truncate(2);
        assert_eq!(words(&knee)[..3], ["not measured"; 3]);
    }

    #[test]
    fn samples_that_are_missing_are_a_miss_and_not_too_few() {
        let mut knee = knee();
        knee.long.searched.samples = 1_500;
        assert_eq!(words(&knee)[6], "missed");
        knee.long = level(60, 100, 2_010);
        assert_eq!(words(&knee)[6], "not measured");
    }

    #[test]
    fn a_latency_too_long_misses() {
        let mut knee = knee();
        knee.long.searched.total_ns *= 2;
        assert_eq!(words(&knee)[5], "missed");
        knee.long.searched.second_half -= 1;
        assert_eq!(words(&knee)[3], "missed");
    }
}
