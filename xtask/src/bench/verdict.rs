//! The targets, and whether they were reached. One missed is a finding, not a failure: machines
//! are noisy.

mod endurance;
mod filtered;
mod knee;
mod recording;
mod sampling;
mod screen;
mod serve;
mod states;

use super::number::{grouped, megabytes};
use super::samples::Memory;
use super::snapshot::Seen;
use super::summary::{Figures, Summary};
use super::tracer::Tracer;

/// Of the TIME_WAIT sockets wanted, so many must have lived at once for a verdict.
const ENOUGH: f64 = 0.9;

/// One target.
pub(super) struct Verdict {
    /// What is measured
    pub(super) what: &'static str,
    /// The figure, in words
    pub(super) figure: String,
    /// What it should be, in words
    pub(super) target: String,
    /// Whether it is; nothing if it was not measured
    pub(super) met: Option<bool>,
}

impl Verdict {
    /// In a word.
    pub(super) fn word(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "not measured",
        }
    }

    fn at_most(what: &'static str, value: Option<f64>, limit: f64, unit: &Unit) -> Self {
        let target = format!("≤ {}", unit.round(limit));
        Self::new(what, value, target, unit, |value| value <= limit)
    }

    fn at_least(what: &'static str, value: Option<f64>, limit: f64, unit: &Unit) -> Self {
        let target = format!("≥ {}", unit.round(limit));
        Self::new(what, value, target, unit, |value| value >= limit)
    }

    fn new(
        what: &'static str,
        value: Option<f64>,
        target: String,
        unit: &Unit,
        met: impl FnOnce(f64) -> bool,
    ) -> Self {
        let figure = value.map_or_else(|| "-".into(), |value| unit.show(value));
        Self { what, figure, target, met: value.map(met) }
    }
}

/// How a figure is written.
struct Unit {
    decimals: usize,
    name: &'static str,
}

const RATIO: Unit = Unit { decimals: 3, name: "" };
const COUNT: Unit = Unit { decimals: 0, name: "" };

impl Unit {
    fn show(&self, value: f64) -> String {
        format!("{value:.*}{}", self.decimals, self.name)
    }

    /// Limits are round numbers.
    fn round(&self, limit: f64) -> String {
        let exact = limit.to_string();
        let shown = if exact.len() > 6 { format!("{limit:.3}") } else { exact };
        format!("{shown}{}", self.name)
    }
}

/// Every target that these figures are about; none if twtrace was not run.
pub(super) fn all(summary: &Summary) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    if let Some(ours) = summary.tracer(Tracer::Twtrace) {
        verdicts.extend(bpf_time(ours, summary.tracer(Tracer::Tcplife)));
        verdicts.extend(churn(ours, summary));
    }
    verdicts.extend(filtered::verdicts(summary));
    verdicts.extend(summary.seen().into_iter().flat_map(losses));
    verdicts.extend(summary.endurance.iter().flat_map(endurance::verdicts));
    verdicts.extend(summary.memory.as_ref().map(memory));
    verdicts.extend(summary.knee.iter().flat_map(knee::verdicts));
    verdicts.extend(summary.sampling.iter().flat_map(sampling::verdicts));
    verdicts.extend(summary.recording.iter().flat_map(recording::verdicts));
    verdicts.extend(summary.screen.iter().flat_map(screen::verdicts));
    verdicts.extend(summary.serve.iter().flat_map(serve::verdicts));
    verdicts.extend(summary.states.iter().flat_map(states::verdicts));
    verdicts
}

/// What it would take to reach a target that was missed, where that is known.
pub(super) fn remedy(what: &str) -> Option<&'static str> {
    Some(match what.trim() {
        "BPF time per transition" => {
            "What the kernel's statistics add is in it: the row of the empty program shows how much."
        }
        "own CPU per transition" => {
            "It has the snapshots twice a second and the looks into the ring: at full churn with fewer \
             transitions a second than here they weigh more."
        }
        "churn with / without" => {
            "On two cores the tracer and both ends share the processors; the share of BPF is the table \
             of programs."
        }
        "missed in 100,000 transitions" => {
            "A transition in an interrupt of one that is being traced: a second program on the hook \
             sees it."
        }
        "by local port" => {
            "A connect has no local port yet, and passes until it is found: those transitions are in it."
        }
        _ => return None,
    })
}

fn bpf_time(ours: &Figures, tcplife: Option<&Figures>) -> [Verdict; 4] {
    let (ns, us) = (Unit { decimals: 0, name: " ns" }, Unit { decimals: 2, name: " µs" });
    let transition = ours.ns_per_transition;
    let connection = ours.bpf_us;
    let by = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a / b);
    let transition_by = by(transition, tcplife.and_then(|peer| peer.ns_per_transition));
    let connection_by = by(connection, tcplife.and_then(|peer| peer.bpf_us));
    [
        Verdict::at_most("BPF time per transition", transition, 200.0, &ns),
        Verdict::at_most("  as a part of tcplife's", transition_by, 0.1, &RATIO),
        Verdict::at_most("BPF time per connection, both ends", connection, 4.0, &us),
        Verdict::at_most("  as a part of tcplife's", connection_by, 1.0 / 6.0, &RATIO),
    ]
}

fn churn(ours: &Figures, summary: &Summary) -> [Verdict; 4] {
    let cpu = Unit { decimals: 3, name: " µs" };
    let ahead = |what, peer: Tracer| {
        let peer = summary.tracer(peer).and_then(|figures| figures.ratio);
        let value = peer.and(ours.ratio);
        let target = peer.map_or_else(|| "-".into(), |peer| format!("> {peer:.3}"));
        Verdict::new(what, value, target, &RATIO, |value| peer.is_some_and(|peer| value > peer))
    };
    [
        Verdict::at_least("churn with / without", ours.ratio, 0.95, &RATIO),
        ahead("  ahead of tcplife", Tracer::Tcplife),
        ahead("  ahead of tcpstates", Tracer::Tcpstates),
        Verdict::at_most("own CPU per transition", ours.cpu_us_per_transition, 0.5, &cpu),
    ]
}

fn losses(seen: Seen) -> [Verdict; 2] {
    let ring_full = Some(seen.ring_full as f64);
    let per_transition = 1e5 / seen.transitions.max(1) as f64;
    let missed = seen.missed.map(|missed| missed as f64 * per_transition);
    let rate = Unit { decimals: 2, name: "" };
    [
        Verdict::new("records lost, the ring full", ring_full, "0".into(), &COUNT, |n| n == 0.0),
        Verdict::at_most("missed in 100,000 transitions", missed, 1.0, &rate),
    ]
}

fn memory(memory: &Memory) -> Verdict {
    let enough = memory.time_wait as f64 >= memory.wanted as f64 * ENOUGH;
    let rss = megabytes(memory.rss as f64);
    Verdict {
        what: "RSS with many TIME_WAIT sockets",
        figure: format!("{rss:.0} MB with {}", grouped(memory.time_wait)),
        target: format!("≤ 128 MB with {}", grouped(memory.wanted)),
        met: enough.then_some(rss <= 128.0),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn figures(tracer: Tracer, ns: f64, ratio: f64) -> Figures {
        Figures {
            tracer,
            rate: Some(18_000.0 * ratio),
            ratio: Some(ratio),
            ns_per_run: Some(ns),
            bpf_us: Some(ns / 100.0),
            ns_per_transition: Some(ns),
            cpu_us: Some(2.0),
            cpu_us_per_transition: Some(0.2),
            rss: Some(3e7),
            lost: None,
            seen: (tracer == Tracer::Twtrace).then(|| Seen {
                transitions: 200_000,
                missed: Some(3),
                ..Seen::default()
            }),
        }
    }

    fn words(summary: &Summary) -> Vec<&'static str> {
        all(summary).iter().map(Verdict::word).collect()
    }

    #[test]
    fn every_target_has_its_word() {
        let tracers = vec![
            figures(Tracer::Twtrace, 210.0, 0.97),
            figures(Tracer::Tcplife, 2_800.0, 0.66),
            figures(Tracer::Tcpstates, 8_400.0, 0.98),
        ];
        let summary = Summary { bare_rate: Some(18_000.0), tracers, ..Summary::default() };
        let words = words(&summary);
        assert_eq!(words[..4], ["missed", "met", "met", "met"]);
        assert_eq!(words[4..8], ["met", "met", "missed", "met"]);
        assert_eq!(words[8..], ["met", "missed"]);
    }

    #[test]
    fn what_a_peer_was_not_run_for_is_not_measured() {
        let tracers = vec![figures(Tracer::Twtrace, 150.0, 0.97)];
        let summary = Summary { bare_rate: Some(18_000.0), tracers, ..Summary::default() };
        let words = words(&summary);
        assert_eq!(words[..2], ["met", "not measured"]);
        assert_eq!(words[5..7], ["not measured", "not measured"]);
    }

    #[test]
    fn too_few_sockets_give_no_verdict_on_memory() {
        let of = |time_wait, rss| {
            let seen = Seen::default();
            memory(&Memory { wanted: 600_000, time_wait, known: None, rss, seen }).word()
        };
        assert_eq!(of(600_000, 100_000_000), "met");
        assert_eq!(of(590_000, 200_000_000), "missed");
        assert_eq!(of(100_000, 10_000_000), "not measured");
    }

    #[test]
    fn limits_are_written_as_round_numbers() {
        assert_eq!(RATIO.round(0.1), "0.1");
        assert_eq!(RATIO.round(1.0 / 6.0), "0.167");
        assert_eq!(Unit { decimals: 0, name: " ns" }.round(200.0), "200 ns");
    }
}
