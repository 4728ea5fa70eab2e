//! What happened along the way, drawn through all charts over time: stretches in which
//! something was lost, damage, and changes of settings.

use maud::{Markup, html};

use super::{
    format::{UNKNOWN, count, plain},
    plot::place,
    scale::FULL,
    svg,
    time_axis::TimeAxis,
};
use crate::stats::timeline::{Bucket, Count, SysctlChange};

/// Programs that did not run are few, and always: a stretch is shaded where they were more than
/// this part of all transitions.
const MISSED_SHADED: f64 = 1e-3;
/// A label takes so much of the axis: changes that are nearer share one.
const LABEL: f64 = 0.16;
/// So much is enough even on a telephone.
const WIDE: f64 = 0.45;

/// See the module's documentation.
pub(super) struct Marks {
    lost: String,
    damaged: String,
    settings: Vec<Setting>,
}

/// Changes of settings at one place.
struct Setting {
    at: f64,
    words: String,
    more: usize,
    all: String,
}

impl Marks {
    /// Along `axis`.
    pub(super) fn new(axis: &TimeAxis<'_>) -> Self {
        let mut lost = String::new();
        for bucket in axis.buckets().iter().filter(|bucket| shaded(bucket)) {
            shade(&mut lost, axis, bucket.from_ns, bucket.to_ns);
        }
        let mut damaged = String::new();
        for gap in axis.timeline().gaps() {
            shade(&mut damaged, axis, gap.from_ns, gap.to_ns);
        }
        Self { lost, damaged, settings: settings(axis) }
    }

    /// What lies behind a chart.
    pub(super) fn behind(&self, axis: &TimeAxis<'_>) -> Markup {
        let end = axis.end();
        html! {
            @if end < FULL - 0.5 {
                rect.ahead x=(format!("{end:.1}")) y="0" width=(format!("{:.1}", FULL - end)) height=(FULL) {}
            }
            @if !self.lost.is_empty() { path.lost d=(self.lost) {} }
            @if !self.damaged.is_empty() { path.damaged d=(self.damaged) {} }
        }
    }

    /// What lies before it.
    pub(super) fn before(&self) -> Markup {
        let line = |setting: &Setting| {
            let x = setting.at * FULL;
            svg::line([Some((x, 0.0)), Some((x, FULL))])
        };
        let lines: String = self.settings.iter().map(line).collect();
        html! { @if !lines.is_empty() { path.setting d=(lines) {} } }
    }

    /// What changed, in words above a chart.
    pub(super) fn words(&self) -> Markup {
        html! {
            @for (setting, room) in self.settings.iter().zip(rooms(&self.settings)) {
                @let edge = if room.leftwards {
                    place("right", 1.0 - setting.at)
                } else {
                    place("left", setting.at)
                };
                span.setting-words.right[room.leftwards] title=(setting.all)
                    style=(format!("{edge};{}", place("max-width", room.width))) {
                    (setting.words)
                    @if setting.more > 0 { " +" (setting.more) }
                }
            }
        }
    }

    /// What the shades and lines mean, as far as there are any.
    pub(super) fn legend(&self) -> Markup {
        let keys = [
            ("key-lost", "something was lost", !self.lost.is_empty()),
            ("key-damaged", "the recording is damaged", !self.damaged.is_empty()),
            ("key-setting", "a setting was changed", !self.settings.is_empty()),
        ];
        html! {
            @if keys.iter().any(|(_, _, shown)| *shown) {
                ul.legend.marks {
                    @for (class, meaning, _) in keys.iter().filter(|(_, _, shown)| *shown) {
                        li { i class=(class) {} (meaning) }
                    }
                }
            }
        }
    }
}

fn shade(path: &mut String, axis: &TimeAxis<'_>, from_ns: u64, to_ns: u64) {
    let x = axis.x(from_ns);
    // One that is too short to be seen is there all the same.
    svg::rectangle(path, x, 0.0, (axis.x(to_ns) - x).max(1.5), FULL);
}

/// Whether so much was lost that numbers may differ.
fn shaded(bucket: &Bucket) -> bool {
    let lost = |count: Count| bucket.grown(count).unwrap_or_default();
    let missed = lost(Count::Missed) as f64;
    let transitions = bucket.grown(Count::Transitions).unwrap_or_default() as f64;
    missed > transitions * MISSED_SHADED
        || [Count::RingFull, Count::Unmatched, Count::Evicted]
            .into_iter()
            .any(|loss| lost(loss) > 0)
}

/// Changes by place: those that are near each other together.
fn settings(axis: &TimeAxis<'_>) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    for change in axis.timeline().sysctls() {
        let at = axis.part(change.time_ns);
        let words = changed(change);
        let line = format!("{} {words}, netns {}", axis.clock(change.time_ns), change.netns);
        match settings.last_mut().filter(|last| at - last.at < LABEL) {
            Some(last) => {
                last.more += 1;
                last.all = format!("{}\n{line}", last.all);
            }
            None => settings.push(Setting { at, words, more: 0, all: line }),
        }
    }
    settings
}

/// Where the words of a setting may go.
#[derive(Debug, PartialEq)]
struct Room {
    leftwards: bool,
    width: f64,
}

/// Room for each, from its place to the next one; leftwards where there is more.
fn rooms(settings: &[Setting]) -> Vec<Room> {
    let mut rooms = Vec::new();
    let mut limit = 1.0;
    for (index, setting) in settings.iter().enumerate().rev() {
        // Those before keep a label's room.
        let before = index.checked_sub(1).map_or(0.0, |before| settings[before].at + LABEL);
        let (left, right) = (setting.at - before, limit - setting.at);
        let leftwards = right < WIDE && left > right;
        let width = if leftwards { left } else { right };
        limit = if leftwards { before } else { setting.at };
        rooms.push(Room { leftwards, width });
    }
    rooms.reverse();
    rooms
}

/// What became of a setting.
pub(super) fn changed(change: &SysctlChange) -> String {
    let value = |value: &Option<String>| value.as_deref().map_or(UNKNOWN.to_owned(), plain);
    format!("{} {} → {}", plain(&change.name), value(&change.before), value(&change.after))
}

/// What was lost in `bucket`, in words; `None` if numbers do not differ for it.
pub(super) fn lost_words(bucket: &Bucket) -> Option<String> {
    if !shaded(bucket) {
        return None;
    }
    let lost = Count::LOSSES.into_iter().filter_map(|loss| Some((loss, bucket.grown(loss)?)));
    let words: Vec<String> = lost
        .filter(|(_, lost)| *lost > 0)
        .map(|(loss, lost)| format!("{} {}", loss.name(), count(lost)))
        .collect();
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_do_not_lie_upon_each_other() {
        let setting = |at| Setting { at, words: String::new(), more: 0, all: String::new() };
        let places = |ats: &[f64]| {
            let settings: Vec<Setting> = ats.iter().copied().map(setting).collect();
            let spans = settings.iter().zip(rooms(&settings)).map(|(setting, room)| {
                let Room { leftwards, width } = room;
                if leftwards {
                    (setting.at - width, setting.at)
                } else {
                    (setting.at, setting.at + width)
                }
            });
            spans.collect::<Vec<_>>()
        };
        assert_eq!(places(&[0.25, 0.5]), [(0.25, 0.5), (0.5, 1.0)]);
        assert_eq!(places(&[0.95]), [(0.0, 0.95)]);
        for ats in [[0.2, 0.4, 0.95], [0.5, 0.7, 0.9], [0.0, 0.6, 0.99]] {
            let spans = places(&ats);
            assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0 + 1e-9), "{spans:?}");
            assert!(spans.iter().all(|(from, to)| to - from > 0.09), "{spans:?}");
        }
    }
}
