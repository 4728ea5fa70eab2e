//! What happened when: lines passed, settings changed, stretches lost or damaged.

use std::ops::RangeInclusive;

use maud::{Markup, html};

use super::{
    format::{count, duration, endpoint, plain},
    marks::{changed, lost_words},
    tables::table,
    time_axis::TimeAxis,
};
use crate::stats::timeline::{Bucket, Count, Line, Passed};

const TITLES: [(&str, &str); 3] = [("when", ""), ("what", ""), ("details", "")];

/// One line of the list.
struct Event {
    time_ns: u64,
    what: &'static str,
    details: String,
}

pub(super) fn section(axis: &TimeAxis<'_>) -> Markup {
    let timeline = axis.timeline();
    let mut events: Vec<Event> = timeline.passed().iter().map(passed).collect();
    events.extend(timeline.sysctls().iter().map(|change| Event {
        time_ns: change.time_ns,
        what: "setting changed",
        details: format!("{} in netns {}", changed(change), change.netns),
    }));
    events.extend(timeline.gaps().iter().map(|gap| Event {
        time_ns: gap.from_ns,
        what: "recording damaged",
        details: format!("{}; until {}", plain(&gap.why), axis.clock(gap.to_ns)),
    }));
    events.extend(stretches(axis, "lost", lost_words));
    events.extend(stretches(axis, "connects found no port", |bucket| {
        let failed = bucket.grown(Count::NoPort).filter(|failed| *failed > 0)?;
        Some(format!("EADDRNOTAVAIL {}", count(failed)))
    }));
    events.sort_by_key(|event| event.time_ns);
    let left_out = timeline.sysctls_left_out() + timeline.gaps_left_out();
    html! {
        @if events.is_empty() {
            p.none { "no setting was changed, no destination passed its knee, and nothing is known to be lost" }
        } @else {
            (table("events", "In order of time", &TITLES, &events, |event| html! {
                td.clock { (axis.clock(event.time_ns)) }
                td { (event.what) }
                td { (event.details) }
            }))
        }
        @if left_out > 0 { p.about { (count(left_out)) " more changes and damaged stretches were not kept." } }
    }
}

fn passed(passed: &Passed) -> Event {
    let again = match passed.times {
        1 => String::new(),
        times => format!("; {} times in all", count(times)),
    };
    let Passed { destination, .. } = passed;
    Event {
        time_ns: passed.first_ns,
        what: match passed.line {
            Line::Knee => "knee passed",
            Line::Exhausted => "no port left",
        },
        details: format!("{}{again}", endpoint(&destination.raddr, destination.rport)),
    }
}

/// Buckets of which `words` has something to say, those that follow each other soon as one.
fn stretches(
    axis: &TimeAxis<'_>,
    what: &'static str,
    words: impl Fn(&Bucket) -> Option<String>,
) -> Vec<Event> {
    let buckets = axis.buckets();
    let mut stretches: Vec<RangeInclusive<usize>> = Vec::new();
    for (at, bucket) in buckets.iter().enumerate().filter(|(_, bucket)| words(bucket).is_some()) {
        let soon =
            |last: &usize| bucket.from_ns.saturating_sub(buckets[*last].to_ns) <= pause_ns(axis);
        match stretches.last_mut().filter(|stretch| soon(stretch.end())) {
            Some(stretch) => *stretch = *stretch.start()..=at,
            None => stretches.push(at..=at),
        }
    }
    let event = |stretch| {
        let merged = Bucket::merged(&buckets[stretch])?;
        let details = format!("{}, within {}", words(&merged)?, duration(merged.seconds()));
        Some(Event { time_ns: merged.from_ns, what, details })
    };
    stretches.into_iter().filter_map(event).collect()
}

/// What is nearer together than this happened at once, as far as the eye can tell.
fn pause_ns(axis: &TimeAxis<'_>) -> u64 {
    let timeline = axis.timeline();
    timeline.ended_ns().saturating_sub(timeline.started_ns()) / 50
}
