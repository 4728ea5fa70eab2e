//! twtrace as a part of each peer.

use super::super::number::shown;
use super::super::plan::Row;
use super::super::summary::{Figures, Summary};
use super::super::table::Render;
use super::super::tracer::Tracer;

const HEADER: [&str; 5] =
    ["twtrace as a part of", "BPF ns/transition", "BPF µs/conn", "churn", "own CPU µs/conn"];

/// A table; nothing without both.
pub(super) fn text(summary: &Summary, render: Render) -> Option<String> {
    let ours = summary.tracer(Tracer::Twtrace)?;
    let is_peer = |it: &&Figures| !it.tracer.is_ours() && it.tracer.row() != Row::Filtered;
    let rows: Vec<Vec<String>> =
        summary.tracers.iter().filter(is_peer).map(|peer| row(ours, peer)).collect();
    (!rows.is_empty()).then(|| render(&HEADER, &rows))
}

fn row(ours: &Figures, peer: &Figures) -> Vec<String> {
    let part = |of: fn(&Figures) -> Option<f64>| {
        let theirs = of(peer).filter(|value| *value > 0.0);
        shown(of(ours).zip(theirs).map(|(ours, theirs)| ours / theirs), 3)
    };
    vec![
        peer.tracer.name().to_owned(),
        part(|it| it.ns_per_transition),
        part(|it| it.bpf_us),
        part(|it| it.ratio),
        part(|it| it.cpu_us),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::super::table;
    use super::super::super::verdict::tests::figures;
    use super::*;

    #[test]
    fn each_peer_is_what_we_are_compared_with() {
        let tracers = vec![
            figures(Tracer::Twtrace, 200.0, 0.96),
            figures(Tracer::Tcplife, 2_000.0, 0.64),
            figures(Tracer::Light, 100.0, 1.0),
            figures(Tracer::Nothing, 50.0, 1.0),
        ];
        let summary = Summary { tracers, ..Summary::default() };
        let text = text(&summary, table::markdown).expect("there is a peer");
        assert!(text.contains("| tcplife | 0.100 | 0.100 | 1.500 | 1.000 |"), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn nothing_is_compared_with_nothing() {
        assert!(text(&Summary::default(), table::markdown).is_none());
    }
}
