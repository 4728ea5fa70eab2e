//! A larger host, by what was measured on this one.

use serde_json::{Value, json};

use super::super::model::{Bound, CORES, Costs, LOOKS_AWAY_S, Load, Model, RING_BYTES};
use super::super::number::{grouped, megabytes};
use super::super::table::Render;

const COSTS: [&str; 2] = ["a connection, both ends", "measured"];
const BOUNDS: [&str; 3] = ["what runs out", "at connections/s", "what its user can do"];
const LOADS: [&str; 5] = [
    "connections/s",
    "BPF, % of the host",
    "twtrace, % of a core",
    "ring, % full",
    "RSS MB of TIME_WAITs",
];

/// From what it is computed.
pub(super) fn costs(model: &Model, render: Render) -> String {
    let Costs { bpf_us, cpu_us, run_ns, transitions, records, ring_bytes, memory_bytes } =
        model.costs;
    let row = |what: &str, figure: String| vec![what.to_owned(), figure];
    let rows = [
        row("BPF time", format!("{bpf_us:.2} µs")),
        row("twtrace's own CPU", format!("{cpu_us:.2} µs")),
        row("transitions", format!("{transitions:.2}")),
        row("BPF time of a run that writes a transition", format!("{run_ns:.0} ns")),
        row("records in the ring", format!("{records:.2}")),
        row("bytes in the ring", format!("{ring_bytes:.0}")),
        row("memory of its TIME_WAIT socket", format!("{memory_bytes:.0} bytes")),
    ];
    render(&COSTS, &rows)
}

/// Where each part has no more to give.
pub(super) fn bounds(model: &Model, render: Render) -> String {
    let row = |bound: &Bound| {
        let rate = grouped(bound.connections_per_s.round() as u64);
        vec![bound.what.name().to_owned(), rate, bound.what.remedy().to_owned()]
    };
    render(&BOUNDS, &model.bounds.iter().map(row).collect::<Vec<_>>())
}

/// What rates take.
pub(super) fn loads(model: &Model, render: Render) -> String {
    let row = |load: &Load| {
        vec![
            grouped(load.connections_per_s as u64),
            format!("{:.2}", load.bpf_pct),
            format!("{:.0}", load.cpu_pct),
            format!("{:.0}", load.ring_pct),
            grouped(megabytes(load.memory).round() as u64),
        ]
    };
    render(&LOADS, &model.loads.iter().map(row).collect::<Vec<_>>())
}

/// What all of it says.
pub(super) fn sentence(model: &Model) -> Option<String> {
    let first = model.first()?;
    Some(format!(
        "On a host of {CORES:.0} processors the first to run out is {}, at {} connections a second on \
         the whole host. The ring has {} bytes, and its reader looks away for {:.0} ms at most.",
        first.what.name(),
        grouped(first.connections_per_s.round() as u64),
        grouped(RING_BYTES as u64),
        LOOKS_AWAY_S * 1e3
    ))
}

/// Unrounded.
pub(super) fn json(model: &Model) -> Value {
    let bound = |bound: &Bound| json!({ "what": bound.what.name(), "connections_per_s": bound.connections_per_s });
    let load = |load: &Load| {
        json!({
            "connections_per_s": load.connections_per_s,
            "bpf_pct_of_host": load.bpf_pct,
            "cpu_pct_of_core": load.cpu_pct,
            "ring_pct": load.ring_pct,
            "time_wait_bytes": load.memory,
        })
    };
    json!({
        "cores": CORES,
        "bounds": model.bounds.iter().map(bound).collect::<Vec<_>>(),
        "loads": model.loads.iter().map(load).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::model::tests::model;
    use super::super::super::table;
    use super::*;

    #[test]
    fn the_first_bound_is_named() {
        let model = model();
        let text = sentence(&model).expect("there are bounds");
        assert!(text.contains("is twtrace's own CPU, at 200,000 connections"), "{text}");
        assert!(bounds(&model, table::markdown).contains("| room in the ring | 209,715 |"));
        let loads = loads(&model, table::markdown);
        assert!(loads.contains("| 100,000 | 0.50 | 50 | 48 | 600 |"), "{loads}");
        assert!(costs(&model, table::markdown).contains("| BPF time | 3.20 µs |"));
        assert_eq!(json(&model)["bounds"][0]["connections_per_s"], 200_000.0);
    }
}
