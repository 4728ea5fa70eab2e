//! What the programs themselves leave out.

use super::super::summary::Summary;
use super::super::tracer::Tracer;
use super::{Unit, Verdict};

/// What a run may take more than one of a program that does nothing.
const LIMIT_NS: f64 = 50.0;

/// Of each way to leave out what happens; none if none was run.
pub(super) fn verdicts(summary: &Summary) -> Vec<Verdict> {
    let ns = Unit { decimals: 0, name: " ns" };
    let floor = summary.tracer(Tracer::Nothing).and_then(|figures| figures.ns_per_transition);
    let verdict = |tracer: Tracer| {
        let what = match tracer {
            Tracer::OtherRemote => "left out by remote port: a transition, over an empty program",
            Tracer::OtherFamily => "  by family",
            _ => "  by local port",
        };
        let figures = summary.tracer(tracer)?;
        let over = figures.ns_per_transition.zip(floor).map(|(run, floor)| run - floor);
        Some(Verdict::at_most(what, over, LIMIT_NS, &ns))
    };
    Tracer::IN_THE_KERNEL.into_iter().filter_map(verdict).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::figures;
    use super::*;

    #[test]
    fn an_empty_program_is_taken_off() {
        let tracers = vec![
            figures(Tracer::OtherRemote, 110.0, 1.0),
            figures(Tracer::OtherPort, 130.0, 1.0),
            figures(Tracer::Nothing, 70.0, 1.0),
        ];
        let mut summary = Summary { tracers, ..Summary::default() };
        let words =
            |summary: &Summary| verdicts(summary).iter().map(Verdict::word).collect::<Vec<_>>();
        assert_eq!(words(&summary), ["met", "missed"]);
        summary.tracers.pop();
        assert_eq!(words(&summary), ["not measured", "not measured"]);
    }
}
