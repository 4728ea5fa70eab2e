//! What the tiers cost, in an emulated machine.

use serde_json::{Value, json};

use super::super::number::shown;
use super::super::table::Render;
use crate::vm::{HookCost, TierCost, Tiers};

const TIERS: [&str; 3] = ["tier", "all hooks, a transition", "as a part of the tracepoint tier's"];
const HOOKS: [&str; 4] = ["hook", "tier", "a run", "runs/s"];
/// What the others are compared with: it is measured where this runs, too.
const OURS: &str = "tracepoint";

/// Two tables.
pub(super) fn text(tiers: &Tiers, render: Render) -> String {
    let of = |tier: &TierCost| tier.per_transition();
    let ours = tiers.costs.iter().find(|tier| tier.tier == OURS).and_then(of);
    let row = |tier: &TierCost| {
        let part = of(tier).zip(ours).map(|(it, ours)| it / ours);
        vec![tier.tier.clone(), shown(of(tier), 1), shown(part, 2)]
    };
    let rows: Vec<Vec<String>> = tiers.costs.iter().map(row).collect();
    let hooks: Vec<Vec<String>> = tiers.costs.iter().flat_map(hooks).collect();
    let wrong = match &tiers.wrong[..] {
        [] => "every count agreed".to_owned(),
        wrong => format!("not every count agreed: {}", wrong.join("; ")),
    };
    format!(
        "{}: {wrong}. In runs of a program that does nothing:\n\n{}\n{}",
        tiers.kernel,
        render(&TIERS, &rows),
        render(&HOOKS, &hooks)
    )
}

fn hooks(tier: &TierCost) -> Vec<Vec<String>> {
    let row = |hook: &HookCost| {
        let (times, runs) = (format!("{:.1}", hook.times), format!("{:.0}", hook.runs_per_s));
        vec![hook.name.clone(), tier.tier.clone(), times, runs]
    };
    tier.hooks.iter().map(row).collect()
}

/// Unrounded.
pub(super) fn json(tiers: &Tiers) -> Value {
    let hook = |hook: &HookCost| json!({ "name": hook.name, "times_nothing": hook.times, "runs_per_s": hook.runs_per_s });
    let tier = |tier: &TierCost| {
        json!({
            "tier": tier.tier,
            "times_nothing_per_transition": tier.per_transition(),
            "hooks": tier.hooks.iter().map(hook).collect::<Vec<_>>(),
        })
    };
    json!({
        "kernel": tiers.kernel,
        "tiers": tiers.costs.iter().map(tier).collect::<Vec<_>>(),
        "wrong": tiers.wrong,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::super::table;
    use super::*;

    pub(in super::super) fn tiers() -> Tiers {
        let cost = |tier: &str, times| TierCost {
            tier: tier.into(),
            hooks: vec![HookCost {
                name: format!("{tier}/inet_sock_set_state"),
                times,
                runs_per_s: 100.0,
            }],
        };
        let costs = vec![cost("fentry", 3.0), cost("tracepoint", 4.0)];
        Tiers { kernel: "6.12 (6.12.1-1)".into(), costs, wrong: vec![] }
    }

    #[test]
    fn tiers_are_compared_with_that_of_tracepoints() {
        let text = text(&tiers(), table::markdown);
        assert!(text.contains("| fentry | 3.0 | 0.75 |"), "{text}");
        assert!(text.contains("| fentry/inet_sock_set_state | fentry | 3.0 | 100 |"), "{text}");
        assert!(text.contains("every count agreed"), "{text}");
        assert_eq!(json(&tiers())["tiers"][1]["times_nothing_per_transition"], 4.0);
    }
}
