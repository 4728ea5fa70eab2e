//! Where, when and how it was recorded, and what is wrong with the recording.

use maud::{Markup, html};

use super::{
    Report,
    format::{UNKNOWN, count, duration, plain},
    time_axis::TimeAxis,
};
use crate::{
    probes::{Capability, Tier},
    stats::{snapshot::Snapshot, timeline::Timeline},
};

pub(super) fn header(report: &Report<'_>, axis: &TimeAxis<'_>) -> Markup {
    let (s, meta) = (report.snapshot, report.meta);
    html! {
        header {
            p.brand { "twtrace report" }
            button #theme type="button" hidden aria-label="Light or dark" { "◐" }
            h1 { (plain(&meta.hostname)) }
            p.where {
                span { "Linux " (plain(&meta.kernel)) }
                span { (span_of_time(report.timeline, axis)) }
                span { (duration(s.elapsed_s)) }
            }
            p.probes { @for (name, tier) in tiers(report) { span { (name) " " b { (tier) } } } }
            (losses(s))
        }
    }
}

fn span_of_time(timeline: &Timeline, axis: &TimeAxis<'_>) -> String {
    let (from_ns, to_ns) = (timeline.started_ns(), timeline.ended_ns());
    let Some(wall_ns) = timeline.wall_ns(from_ns) else {
        return "time of day unknown".to_owned();
    };
    let day = |wall_ns: u64| crate::stats::snapshot::rfc3339(wall_ns).chars().take(10).collect();
    let (from_day, to_day): (String, String) =
        (day(wall_ns), timeline.wall_ns(to_ns).map_or(String::new(), day));
    let to_day = if from_day == to_day { String::new() } else { to_day + " " };
    format!("{from_day} {} to {to_day}{} UTC", axis.clock(from_ns), axis.clock(to_ns))
}

fn tiers(report: &Report<'_>) -> Vec<(&'static str, &'static str)> {
    let hooks = report.meta.hooks;
    let tier = |capability| match hooks.tier(capability) {
        Some(Tier::None) => "sock_diag",
        Some(tier) => tier.name(),
        None => UNKNOWN,
    };
    let named = |(capability, name)| (name, tier(capability));
    [
        (Capability::Transitions, "transitions"),
        (Capability::TimeWait, "time_wait"),
        (Capability::EndCause, "end causes"),
        (Capability::PortSearch, "port searches"),
    ]
    .map(named)
    .to_vec()
}

fn losses(s: &Snapshot) -> Markup {
    let Some(loss) = &s.loss else {
        return html! { p.losses { span { "losses unavailable: nothing is traced" } } };
    };
    let named = [
        ("ring_full", Some(loss.ring_full)),
        ("missed", loss.missed),
        ("unmatched", Some(loss.unmatched)),
        ("evicted", Some(loss.evicted)),
    ];
    html! {
        p.losses {
            span { "lost" }
            @for (name, lost) in named {
                span.some[lost.is_some_and(|lost| lost > 0)] {
                    (name) " " b { (lost.map_or(UNKNOWN.to_owned(), count)) }
                }
            }
        }
    }
}

/// What readers must know before they trust a number.
pub(super) fn notes(report: &Report<'_>) -> Markup {
    let clock = "The wall clock was set meanwhile: times are those of the clock at the first tick.";
    let clock = report.timeline.wall_was_set().then_some(clock);
    let notes: Vec<String> =
        report.notes.iter().map(|note| plain(note)).chain(clock.map(str::to_owned)).collect();
    html! {
        @if !notes.is_empty() {
            section.notes role="note" aria-label="What is wrong with the recording" {
                ul { @for note in &notes { li { (note) } } }
            }
        }
    }
}
