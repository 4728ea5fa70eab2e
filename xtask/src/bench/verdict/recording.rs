//! Whether a recording is cheap, small, whole and true, and whether reading it is fast.

use super::super::number::{median, megabytes};
use super::super::recording::Recording;
use super::{COUNT, RATIO, Unit, Verdict};

/// The longest recording may take so many times the memory of the shortest.
const GROWTH: f64 = 1.1;

/// The two runs of a pair had as much of the processors but for so much, or the rates tell of that.
const UNEQUAL: f64 = 0.05;

/// All of the row's.
pub(super) fn verdicts(recording: &Recording) -> Vec<Verdict> {
    let (bytes, cpu) = (Unit { decimals: 2, name: " B" }, Unit { decimals: 3, name: " µs" });
    let all = recording.all();
    let in_100_000 = |missed: u64| missed as f64 * 1e5 / all.events.max(1) as f64;
    let missed = all.missed.map(in_100_000);
    let ring_full = Some(all.ring_full as f64);
    let none = |what, count| Verdict::new(what, count, "0".into(), &COUNT, |n| n == 0.0);
    let recorded = [
        churn(recording),
        Verdict::at_least(
            "  by the churn's own CPU time",
            median(recording.cpu_ratios()),
            0.95,
            &RATIO,
        ),
        Verdict::at_most("  CPU per event", recording.cpu_us_per_event(), 0.5, &cpu),
        Verdict::at_most("  bytes per event", recording.bytes_per_event(), 16.0, &bytes),
        none("  records lost, no room", ring_full),
        Verdict::at_most(
            "  missed in 100,000 events",
            missed,
            1.0,
            &Unit { decimals: 2, name: "" },
        ),
    ];
    let mistaken = Some(recording.mistaken() as f64);
    let told = none("closes told wrongly by reports", mistaken);
    recorded.into_iter().chain(reports(recording)).chain([told]).collect()
}

/// Good or bad, a ratio of runs that had unequal shares of the processors is none.
fn churn(recording: &Recording) -> Verdict {
    let ratio = median(recording.ratios());
    let verdict = Verdict::at_least("churn recorded / not recorded", ratio, 0.95, &RATIO);
    let share = median(recording.share_ratios());
    let is_equal = share.is_some_and(|share| (share - 1.0).abs() <= UNEQUAL);
    Verdict { met: verdict.met.filter(|_| is_equal), ..verdict }
}

fn reports(recording: &Recording) -> [Verdict; 3] {
    let (millions, mb) = (Unit { decimals: 2, name: " M" }, Unit { decimals: 0, name: " MB" });
    let ends = recording.ends();
    let rate = ends.and_then(|(_, long)| long.reading.per_cpu_s()).map(|rate| rate / 1e6);
    let rss = ends.map(|(_, long)| megabytes(long.reading.rss as f64));
    let growth = ends.map(|(short, long)| long.reading.rss as f64 / short.reading.rss as f64);
    [
        Verdict::at_least("report, events per CPU second", rate, 3.0, &millions),
        Verdict::at_most("  RSS, the longest recording", rss, 256.0, &mb),
        Verdict::at_most("  that by the shortest's", growth, GROWTH, &RATIO),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::super::recording::tests::recording;
    use super::*;

    fn words(recording: &Recording) -> Vec<&'static str> {
        verdicts(recording).iter().map(Verdict::word).collect()
    }

    #[test]
    fn good_figures_meet_every_target() {
        assert_eq!(words(&recording()), ["met"; 10]);
    }

    #[test]
    fn each_figure_can_miss() {
        let mut recording = recording();
        recording.runs.truncate(1);
        recording.runs[0].churned.cpu_s = 0.02;
        recording.runs[0].churned.done.seconds = 0.02;
        recording.runs[0].cpu_ns = 600_000;
        recording.runs[0].recorded.bytes = 17_000;
        recording.rotated.0.recorded.ring_full = 1;
        recording.sustained.recorded.missed = Some(1);
        let long = recording.reports.last_mut().expect("a report");
        long.reading.cpu_s *= 2.0;
        long.reading.rss = 300_000_000;
        long.told = 0;
        assert_eq!(words(&recording), ["missed"; 10]);
    }

    #[test]
    fn what_others_disturbed_or_the_kernel_does_not_tell_is_not_measured() {
        let mut recording = recording();
        recording.sustained.recorded.missed = None;
        for factor in [0.5, 2.0] {
            let mut disturbed = recording.clone();
            disturbed.bare.iter_mut().for_each(|bare| bare.done.seconds *= factor);
            let words = words(&disturbed);
            assert_eq!((words[0], words[1]), ("not measured", "met"));
            assert_eq!(words[5], "not measured");
        }
    }
}
