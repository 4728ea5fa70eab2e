//! Whether CPU samples are cheap, and whether they are taken as often as asked.

use super::super::sampling::Sampling;
use super::{Unit, Verdict};

/// Of each core, in percent.
const SHARE: f64 = 0.1;
/// How far the rate of the samples may be from the one asked for. The beginning and the end of a
/// run are known to some milliseconds, and a virtual processor does not always run.
const OFF: f64 = 0.05;

/// All of the row's.
pub(super) fn verdicts(sampling: &Sampling) -> [Verdict; 2] {
    [share(sampling), rate(sampling)]
}

fn share(sampling: &Sampling) -> Verdict {
    let shares = sampling.loads.iter().filter_map(|load| load.ran.core_pct(sampling.hz));
    let most = shares.max_by(f64::total_cmp);
    Verdict::at_most(
        "CPU samples, part of a core's time",
        most,
        SHARE,
        &Unit { decimals: 3, name: " %" },
    )
}

/// An idle processor searches nothing, so nothing is lost where it is looked at less often.
fn rate(sampling: &Sampling) -> Verdict {
    let wanted = sampling.hz as f64;
    let busy = sampling.loads.iter().filter(|sampled| sampled.load.keeps_all_busy());
    let rates = busy.map(|sampled| sampled.ran.rate(sampling.cores));
    let farthest = rates.max_by(|a, b| (a - wanted).abs().total_cmp(&(b - wanted).abs()));
    let target = format!("{wanted} ± {} %", OFF * 100.0);
    let hertz = Unit { decimals: 1, name: "" };
    Verdict::new("  samples per second, farthest off", farthest, target, &hertz, |rate| {
        (rate - wanted).abs() <= wanted * OFF
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::sampling::{Load, tests::sampled};
    use super::*;

    fn words(cores: u64, ns_per_run: u64) -> [&'static str; 2] {
        let loads = vec![sampled(Load::Idle, 1_000), sampled(Load::Churn, ns_per_run)];
        verdicts(&Sampling { cores, hz: 99, loads }).map(|verdict| verdict.word())
    }

    #[test]
    fn the_dearest_load_decides() {
        assert_eq!(words(2, 10_000), ["met", "met"]);
        assert_eq!(words(2, 11_000), ["missed", "met"]);
    }

    #[test]
    fn a_core_that_is_not_looked_at_is_found() {
        assert_eq!(words(3, 10_000), ["met", "missed"]);
    }

    #[test]
    fn idle_cores_need_not_be_looked_at_so_often() {
        let loads = vec![sampled(Load::Idle, 1_000)];
        let words = verdicts(&Sampling { cores: 3, hz: 99, loads }).map(|verdict| verdict.word());
        assert_eq!(words, ["met", "not measured"]);
    }
}
