//! The axis of time that all charts over time share.

use std::time::{Duration, UNIX_EPOCH};

use super::scale::{FULL, Tick};
use crate::stats::timeline::{Bucket, Timeline};

/// Numbers at the axis, at most.
const LABELS: u64 = 12;
/// The part of the axis that may lie after the end, for forecasts.
const AFTER: f64 = 0.12;
/// Distances between numbers, in seconds.
const STEPS_S: [u64; 26] = [
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1_800,
    3_600,
    7_200,
    10_800,
    21_600,
    43_200,
    86_400,
    172_800,
    604_800,
    1_209_600,
    2_419_200,
    9_676_800,
    31_557_600,
    315_576_000,
    3_155_760_000,
];
const DAY_S: u64 = 86_400;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// From the start of a run to its end, and a little further where something is foretold.
#[derive(Debug)]
pub(super) struct TimeAxis<'a> {
    timeline: &'a Timeline,
    from_ns: u64,
    to_ns: u64,
}

impl<'a> TimeAxis<'a> {
    /// One that shows what is foretold `ahead_s` after the end, where that is not too far.
    pub(super) fn new(timeline: &'a Timeline, ahead_s: &[f64]) -> Self {
        let (from_ns, ended_ns) = (timeline.started_ns(), timeline.ended_ns());
        let length_ns = ended_ns.saturating_sub(from_ns).max(1);
        let most_s = length_ns as f64 * AFTER / 1e9;
        let near = ahead_s.iter().copied().filter(|ahead| *ahead <= most_s).fold(0.0, f64::max);
        let ahead_ns = (near * 1.05 * 1e9) as u64;
        let to_ns = from_ns.saturating_add(length_ns).saturating_add(ahead_ns);
        Self { timeline, from_ns, to_ns }
    }

    /// Where `time_ns` is, as a part of the axis.
    pub(super) fn part(&self, time_ns: u64) -> f64 {
        let since = time_ns.clamp(self.from_ns, self.to_ns) - self.from_ns;
        since as f64 / (self.to_ns - self.from_ns).max(1) as f64
    }

    /// From the left of the plot.
    pub(super) fn x(&self, time_ns: u64) -> f64 {
        self.part(time_ns) * FULL
    }

    /// Where `ahead_s` after the end is; `None` where the axis is too short.
    pub(super) fn ahead(&self, ahead_s: f64) -> Option<f64> {
        let time_ns = self.timeline.ended_ns().saturating_add((ahead_s * 1e9) as u64);
        (time_ns <= self.to_ns).then(|| self.x(time_ns))
    }

    /// Where the recording ends.
    pub(super) fn end(&self) -> f64 {
        self.x(self.timeline.ended_ns())
    }

    /// What is drawn along it.
    pub(super) fn buckets(&self) -> &'a [Bucket] {
        self.timeline.buckets()
    }

    pub(super) fn timeline(&self) -> &'a Timeline {
        self.timeline
    }

    /// Its start and end in milliseconds, of the wall clock where that is known.
    pub(super) fn bounds_ms(&self) -> (u64, u64) {
        let ms = |time_ns| self.clock_ns(time_ns) / 1_000_000;
        (ms(self.from_ns), ms(self.to_ns))
    }

    /// Whether the clock of the day is known.
    pub(super) fn has_wall(&self) -> bool {
        self.timeline.wall_ns(self.from_ns).is_some()
    }

    /// Nanoseconds on the clock that is shown: of the wall, or since the start.
    fn clock_ns(&self, time_ns: u64) -> u64 {
        let since_start = time_ns.saturating_sub(self.timeline.started_ns());
        self.timeline.wall_ns(time_ns).unwrap_or(since_start)
    }

    /// The time of day, to the second.
    pub(super) fn clock(&self, time_ns: u64) -> String {
        clock_of(self.clock_ns(time_ns) / 1_000_000_000, 1)
    }

    pub(super) fn ticks(&self) -> Vec<Tick> {
        let (from_ns, to_ns) = (self.clock_ns(self.from_ns), self.clock_ns(self.to_ns));
        let length_ns = to_ns.saturating_sub(from_ns).max(1);
        let fits = |step: &&u64| length_ns / 1_000_000_000 / **step < LABELS;
        let step_s = *STEPS_S.iter().find(fits).unwrap_or(&STEPS_S[STEPS_S.len() - 1]);
        let first = from_ns.div_ceil(step_s * 1_000_000_000);
        let at_s = (first..).map(|index| (index, index.saturating_mul(step_s)));
        let at = |at_s: u64| at_s.checked_mul(1_000_000_000).filter(|at_ns| *at_ns <= to_ns);
        let shown = at_s.map_while(|(index, at_s)| Some((index, at_s, at(at_s)?)));
        let tick = |(index, at_s, at_ns): (u64, u64, u64)| Tick {
            at: at_ns.saturating_sub(from_ns) as f64 / length_ns as f64,
            label: clock_of(at_s, step_s),
            minor: !index.is_multiple_of(2),
        };
        shown.map(tick).collect()
    }
}

/// A moment as far as steps of `step_s` need it: the day at midnight, or the time.
fn clock_of(at_s: u64, step_s: u64) -> String {
    let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(at_s));
    let time = time.to_string();
    let part = |range| time.get(range).unwrap_or_default();
    if step_s >= DAY_S || (step_s >= 3_600 && at_s.is_multiple_of(DAY_S)) {
        let month =
            part(5..7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.checked_sub(1)?));
        return format!("{} {}", month.unwrap_or(&""), part(8..10).trim_start_matches('0'));
    }
    if step_s >= 60 { part(11..16).to_owned() } else { part(11..19).to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_fine_as_their_distance() {
        let at_s = 1_767_225_600 + 3_723;
        assert_eq!([1, 60, DAY_S].map(|step| clock_of(at_s, step)), ["01:02:03", "01:02", "Jan 1"]);
        assert_eq!(clock_of(1_767_225_600, 3_600), "Jan 1");
    }
}
