//! Axes of values: from a number to its place, and the numbers that are written there.

use super::format::short;

/// Places across and up a plot, in which charts are drawn.
pub(super) const FULL: f64 = 1_000.0;

/// A number at an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    /// Its place, as a part of the axis from its start.
    pub(super) at: f64,
    /// What is written there.
    pub(super) label: String,
    /// Whether it may be left out where there is little room.
    pub(super) minor: bool,
}

/// An axis from 0 to `max`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Linear {
    max: f64,
    step: f64,
}

impl Linear {
    /// One that has room for `highest`, with about four numbers.
    pub(super) fn up_to(highest: f64) -> Self {
        let highest = if highest.is_finite() && highest > 0.0 { highest } else { 1.0 };
        let step = round_step(highest / 4.0);
        Self { max: (highest / step).ceil() * step, step }
    }

    /// One for counts: nothing is written between whole numbers.
    pub(super) fn of_counts(highest: f64) -> Self {
        let axis = Self::up_to(highest);
        if axis.step < 1.0 { Self { max: highest.max(1.0).ceil(), step: 1.0 } } else { axis }
    }

    /// From the top of the plot.
    pub(super) fn y(&self, value: f64) -> f64 {
        (1.0 - (value / self.max).clamp(0.0, 1.0)) * FULL
    }

    /// A part of the axis.
    pub(super) fn part(&self, value: f64) -> f64 {
        (value / self.max).clamp(0.0, 1.0)
    }

    pub(super) fn ticks(&self) -> Vec<Tick> {
        let number = (self.max / self.step).round() as u32;
        let tick = |i: u32| {
            let value = f64::from(i) * self.step;
            Tick { at: value / self.max, label: short(value), minor: false }
        };
        (0..=number).map(tick).collect()
    }
}

/// The round number next above `rough`.
pub(super) fn round_step(rough: f64) -> f64 {
    let decade = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    let step = steps.into_iter().find(|step| step * decade >= rough * 0.999_999);
    step.unwrap_or(10.0) * decade
}

/// An axis of counts on which each decade is as long as any other; 0 lies below it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decades {
    decades: f64,
}

impl Decades {
    pub(super) fn up_to(highest: u64) -> Self {
        Self { decades: (highest.max(10) as f64).log10().ceil() }
    }

    /// A part of the axis; 1 is a little above its start, so that it can be seen.
    pub(super) fn part(&self, count: u64) -> f64 {
        match count {
            0 => 0.0,
            count => FOOT + (1.0 - FOOT) * ((count as f64).log10() / self.decades).min(1.0),
        }
    }

    pub(super) fn ticks(&self) -> Vec<Tick> {
        let decades = whole_decades(self.decades);
        // Not more than there is room for.
        let every = decades.div_ceil(5).max(1);
        let shown = (0..=decades).filter(|decade| decade.is_multiple_of(every));
        let tick = |decade: u32| Tick {
            at: self.part(10_u64.pow(decade)),
            label: short(10_f64.powi(decade.cast_signed())),
            minor: false,
        };
        shown.map(tick).collect()
    }
}

/// Where a count of 1 is.
const FOOT: f64 = 0.04;

fn whole_decades(decades: f64) -> u32 {
    (decades as u32).min(19)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!(labels(&Linear::up_to(28_231.0).ticks()), ["0", "10k", "20k", "30k"]);
        assert_eq!(labels(&Linear::up_to(0.0).ticks()).last(), Some(&"1"));
        assert_eq!(labels(&Linear::of_counts(2.0).ticks()), ["0", "1", "2"]);
        assert_eq!(labels(&Linear::up_to(f64::NAN).ticks()).first(), Some(&"0"));
    }

    #[test]
    fn a_single_one_can_be_seen_among_millions() {
        let axis = Decades::up_to(3_000_000);
        assert_eq!(axis.part(0), 0.0);
        assert!(axis.part(1) > 0.03);
        assert!(axis.part(u64::MAX) <= 1.0);
        assert_eq!(labels(&axis.ticks()), ["1", "100", "10k", "1M"]);
        Decades::up_to(u64::MAX).ticks();
    }
}
