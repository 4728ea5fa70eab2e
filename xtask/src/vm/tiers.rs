//! What the hooks of each tier cost, as multiples of a program that does nothing: emulated
//! processors have no nanoseconds worth telling.

use serde_json::Value;

/// What runs by the clock, whatever happens.
const BY_THE_CLOCK: &str = "perf/";
/// Where transitions are told, whatever it is attached by.
const TRANSITIONS: &str = "inet_sock_set_state";

/// One hook's program.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HookCost {
    /// The hook
    pub(crate) name: String,
    /// How long a run took, in runs of a program that does nothing
    pub(crate) times: f64,
    /// How often it ran
    pub(crate) runs_per_s: f64,
}

/// The hooks of one tier.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TierCost {
    /// Which
    pub(crate) tier: String,
    /// Those that ran
    pub(crate) hooks: Vec<HookCost>,
}

/// Every tier on one kernel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tiers {
    /// Its release and package
    pub(crate) kernel: String,
    /// In the order in which they ran
    pub(crate) costs: Vec<TierCost>,
    /// What was counted wrongly, by tier, or why there was no answer
    pub(crate) wrong: Vec<String>,
}

/// `check` takes the cost of measuring off; where a program is no dearer than that, 0 is left.
pub(super) fn hooks(check: &Value) -> Vec<HookCost> {
    let Some(nothing) = check["measuring_ns"].as_f64().filter(|ns| *ns > 0.0) else {
        return Vec::new();
    };
    let hooks = check["hooks"].as_array().into_iter().flatten();
    hooks
        .filter_map(|hook| {
            Some(HookCost {
                name: hook["name"].as_str()?.to_owned(),
                times: hook["cost"]["ns_per_run"].as_f64()? / nothing,
                runs_per_s: hook["cost"]["runs_per_s"].as_f64()?,
            })
        })
        .collect()
}

impl TierCost {
    /// What all hooks but those that run by the clock took for each transition, in runs of a program
    /// that does nothing; nothing if none was seen.
    pub(crate) fn per_transition(&self) -> Option<f64> {
        let transitions = self.hooks.iter().filter(|hook| hook.name.contains(TRANSITIONS));
        let transitions: f64 = transitions.map(|hook| hook.runs_per_s).sum();
        let hooks = self.hooks.iter().filter(|hook| !hook.name.starts_with(BY_THE_CLOCK));
        let all: f64 = hooks.map(|hook| hook.times * hook.runs_per_s).sum();
        (transitions > 0.0).then(|| all / transitions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn costs_are_multiples_of_measuring_nothing() {
        let check = json!({"measuring_ns": 50.0, "hooks": [
            {"name": "fentry/a", "cost": {"ns_per_run": 100.0, "runs_per_s": 7.0}},
            {"name": "fentry/b", "cost": {"ns_per_run": null, "runs_per_s": 0.0}},
            {"name": "fentry/c", "cost": null}]});
        let cost = HookCost { name: "fentry/a".into(), times: 2.0, runs_per_s: 7.0 };
        assert_eq!(hooks(&check), [cost]);
        assert_eq!(hooks(&json!({"hooks": []})), []);
    }

    #[test]
    fn all_hooks_pay_for_a_transition() {
        let hook =
            |name: &str, times, runs_per_s| HookCost { name: name.into(), times, runs_per_s };
        let hooks = vec![
            hook("tp_btf/inet_sock_set_state", 4.0, 10.0),
            hook("tp/timer", 1.0, 20.0),
            hook("perf/cpu-clock", 99.0, 100.0),
        ];
        let mut tier = TierCost { tier: "tracepoint".into(), hooks };
        assert_eq!(tier.per_transition(), Some(6.0));
        tier.hooks.remove(0);
        assert_eq!(tier.per_transition(), None);
    }
}
