//! What the report of a recording says of many connections at full speed, most of which reuse a
//! port.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::answer::{Cases, Ended, Failure};
use super::tiers::{self, HookCost};

/// So many are made in each machine with each tier.
pub(super) const CONNECTIONS: u64 = 20_000;

/// What came of it.
#[derive(Debug)]
pub(super) struct Churn {
    /// Whether all numbers agree
    pub(super) cases: Cases,
    /// What the hooks cost
    pub(super) costs: Vec<HookCost>,
}

impl Churn {
    /// What the script printed.
    pub(super) fn of(ended: &Ended) -> Result<Self> {
        if ended.code != 0 {
            bail!("exit {}: {}", ended.code, ended.err.trim());
        }
        let answer: Value = serde_json::from_str(&ended.out)
            .with_context(|| format!("no JSON: {}{}", ended.out, ended.err))?;
        Ok(Self {
            cases: judged(&answer["report"], misses(&answer)),
            costs: tiers::hooks(&answer["check"]),
        })
    }
}

/// How often the kernel says that it left out a program. twtrace says null where the kernel counts
/// only a part of that; a part is what can be forgiven for sure.
fn misses(answer: &Value) -> u64 {
    answer["misses"].as_u64().unwrap_or(0)
}

/// Compares what was counted with what was done, and with the kernel's own counters, which began at
/// 0 with the namespace. A program that was left out may have missed as much.
fn judged(report: &Value, missed: u64) -> Cases {
    let (minis, kernel) = (&report["time_wait"], &report["kernel"]);
    let done = json!(CONNECTIONS);
    let zero = json!(0);
    let mut pairs = vec![
        ("time_wait.born", &done, &minis["born"]),
        ("closes.active", &done, &report["closes"]["active"]),
        ("port_search.connect.count", &done, &report["port_search"]["connect"]["count"]),
        ("time_wait.now", &kernel["tw_sockstat"], &minis["now"]),
        ("time_wait.ended.reused", &kernel["TWRecycled"], &minis["ended"]["reused"]),
        ("time_wait.ended.other", &zero, &minis["ended"]["other"]),
        ("time_wait.ended.unseen", &zero, &minis["ended"]["unseen"]),
        ("loss.ring_full", &zero, &report["loss"]["ring_full"]),
        ("loss.unmatched", &zero, &report["loss"]["unmatched"]),
        ("loss.evicted", &zero, &report["loss"]["evicted"]),
    ];
    let reconcile = report["reconcile"].as_object().into_iter().flatten();
    // Null where this kernel counts otherwise.
    let known = reconcile.filter(|(_, value)| !value.is_null());
    pairs.extend(known.map(|(key, value)| (key.as_str(), &zero, value)));
    let mut cases = Cases::default();
    for (key, expected, seen) in pairs {
        match difference(expected, seen) {
            Some(0) => cases.passed += 1,
            Some(difference) if difference <= missed => cases.inferred += 1,
            _ => cases.failed.push(failure(key, expected, seen)),
        }
    }
    if minis["ended"]["reused"].as_u64().is_none_or(|reused| reused == 0) {
        cases.failed.push(failure("some are reused", &json!("> 0"), &minis["ended"]["reused"]));
    }
    cases
}

fn difference(expected: &Value, seen: &Value) -> Option<u64> {
    Some(expected.as_i64()?.abs_diff(seen.as_i64()?))
}

fn failure(key: &str, expected: &Value, seen: &Value) -> Failure {
    let why = "what was counted differs".to_owned();
    Failure { name: key.to_owned(), why, expected: expected.clone(), seen: seen.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Value {
        json!({
            "loss": {"ring_full": 0, "missed": 0, "unmatched": 0, "evicted": 0},
            "closes": {"active": CONNECTIONS},
            "time_wait": {"born": CONNECTIONS, "now": 8_000,
                "ended": {"reused": 12_000, "other": 0, "unseen": 0}},
            "port_search": {"connect": {"count": CONNECTIONS}},
            "kernel": {"tw_sockstat": 8_000, "TWRecycled": 12_000},
            "reconcile": {"births_minus_TW": null, "reused_minus_TWRecycled": 0},
        })
    }

    #[test]
    fn all_agrees_to_the_unit() {
        let cases = judged(&report(), 0);
        assert_eq!((cases.passed, cases.inferred, cases.failed), (11, 0, vec![]));
    }

    #[test]
    fn what_differs_is_named_unless_it_was_missed() {
        let mut report = report();
        report["time_wait"]["born"] = json!(CONNECTIONS - 2);
        assert_eq!(judged(&report, 0).failed[0].name, "time_wait.born");
        let cases = judged(&report, 2);
        assert_eq!((cases.inferred, cases.failed), (1, vec![]));
        report["time_wait"]["ended"]["reused"] = Value::Null;
        assert_eq!(judged(&report, 2).failed.len(), 2, "unknown is not agreement");
    }
}
