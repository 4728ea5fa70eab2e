//! What was promised, and what it came to.

use std::time::Duration;

use serde_json::{Value, json};

use super::load::Done;
use super::samples::{Sampled, Taken};
use crate::snapshot::{missed, number};

/// Memory may grow by a twentieth after the warm-up, and by what an allocator keeps of a burst.
const GROWTH: (f64, u64) = (0.05, 4 << 20);
/// What is remembered of a process, or of a namespace, that has come and gone, in bytes: rows are kept, up to
/// a number that a soak does not reach.
const REMEMBERED: u64 = 3 << 10;

/// One promise.
pub(super) struct Promise {
    what: String,
    bound: &'static str,
    limit: u64,
    found: u64,
    /// Whether it was kept.
    pub(super) held: bool,
    /// Why it cannot be judged.
    disturbed: Option<String>,
}

impl Promise {
    pub(super) fn at_most(what: impl Into<String>, found: u64, limit: u64) -> Self {
        Self {
            what: what.into(),
            bound: "at most",
            limit,
            found,
            held: found <= limit,
            disturbed: None,
        }
    }

    pub(super) fn at_least(what: impl Into<String>, found: u64, limit: u64) -> Self {
        Self {
            what: what.into(),
            bound: "at least",
            limit,
            found,
            held: found >= limit,
            disturbed: None,
        }
    }

    fn equal(what: impl Into<String>, found: u64, limit: u64) -> Self {
        Self {
            what: what.into(),
            bound: "equal",
            limit,
            found,
            held: found == limit,
            disturbed: None,
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "what": self.what, "bound": self.bound, "limit": self.limit, "found": self.found,
            "held": self.held, "not_judged": self.disturbed,
        })
    }
}

/// What a process may remember of a run.
#[derive(Clone, Default)]
pub(super) struct Known {
    /// Processes and namespaces that came and went before its eyes.
    pub(super) passers_by: u64,
    /// What others did on the host, if it was more than a tenth of what the soak did: what it takes to
    /// remember that is not known here.
    pub(super) disturbed: Option<String>,
}

/// Memory, files, threads and BPF objects of one process.
pub(super) fn of_process(process: &Sampled, warm: Duration, known: &Known) -> Vec<Promise> {
    let name = process.name;
    let [before, after] = process.rests[..] else { panic!("looked at before and after") };
    let base = median(&process.samples, |at| at >= warm / 2 && at < warm);
    let limit = (base as f64 * GROWTH.0) as u64 + GROWTH.1 + known.passers_by * REMEMBERED;
    let what = format!("{name}: bytes of memory grown since the warm-up");
    let mut memory = Promise::at_most(what, grown(&process.samples, warm), limit);
    if !memory.held && known.disturbed.is_some() {
        (memory.held, memory.disturbed) = (true, known.disturbed.clone());
    }
    vec![
        memory,
        Promise::equal(format!("{name}: open files after the load"), after.fds, before.fds),
        Promise::equal(format!("{name}: threads after the load"), after.threads, before.threads),
        Promise::equal(format!("{name}: BPF objects after the load"), after.bpf, before.bpf),
    ]
}

/// By how much the memory of the last quarter is above that of the end of the warm-up, by medians.
pub(super) fn grown(samples: &[(Duration, Taken)], warm: Duration) -> u64 {
    let end = samples.last().expect("there were samples").0;
    let base = median(samples, |at| at >= warm / 2 && at < warm);
    median(samples, |at| at >= end - (end - warm) / 4).saturating_sub(base)
}

fn median(samples: &[(Duration, Taken)], within: impl Fn(Duration) -> bool) -> u64 {
    let within = samples.iter().filter(|(at, _)| within(*at)).map(|(_, it)| it.rss);
    let mut sorted: Vec<u64> = within.collect();
    sorted.sort_unstable();
    *sorted.get(sorted.len() / 2).expect("the run is long enough to be looked at")
}

/// What the Snapshot of the namespace that was compared says.
pub(super) fn of_numbers(snapshot: &Value, done: &Done) -> Vec<Promise> {
    let missed = missed(snapshot);
    let mut promises = vec![
        Promise::at_most("top: closes counted beside those made", done.counted(snapshot), missed),
        Promise::at_most(
            "top: largest difference from the kernel's counters",
            disagreement(snapshot),
            missed,
        ),
    ];
    promises.push(Promise::at_most("top: ring_full", number(snapshot, "loss.ring_full"), 0));
    promises.extend(of_losses("top", snapshot));
    promises
}

/// The largest number in `reconcile`; the kernel's before 5.18 count otherwise, and are null.
pub(super) fn disagreement(snapshot: &Value) -> u64 {
    let numbers = snapshot["reconcile"].as_object().expect("mini-sockets are followed");
    let differences = numbers.values().filter_map(Value::as_i64).map(i64::unsigned_abs);
    differences.max().expect("the kernel has a counter to compare with")
}

/// Nothing may be lost but what a program that was interrupted did not see; and what found no room, where
/// all of a host is traced, of which this load is only a part, is told.
pub(super) fn of_losses(name: &str, snapshot: &Value) -> Vec<Promise> {
    let loss = |kind: &str| number(snapshot, &format!("loss.{kind}"));
    let unseen = missed(snapshot) + loss("ring_full");
    vec![
        Promise::at_most(format!("{name}: evicted"), loss("evicted"), 0),
        Promise::at_most(format!("{name}: unmatched"), loss("unmatched"), unseen),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rss: impl Fn(u64) -> u64) -> Vec<(Duration, Taken)> {
        let taken = |at| Taken { rss: rss(at), fds: 9, threads: 3, bpf: 12 };
        (0..400).map(|at| (Duration::from_secs(at), taken(at))).collect()
    }

    #[test]
    fn growth_is_what_is_left_when_warm_and_not_a_peak() {
        let warm = Duration::from_secs(100);
        assert_eq!(grown(&samples(|at| at.min(40)), warm), 0);
        assert_eq!(grown(&samples(|at| 1_000 + 9_000 * u64::from(at == 390)), warm), 0);
        let leaking = grown(&samples(|at| at * 10), warm);
        assert!((2_700..=3_000).contains(&leaking), "{leaking}");
    }

    #[test]
    fn a_leak_of_memory_or_of_a_file_is_a_promise_broken() {
        let mut process = Sampled::new("it", 1);
        process.samples = samples(|at| at * 100_000);
        let rest = process.samples[0].1;
        process.rests = vec![rest, Taken { fds: rest.fds + 1, ..rest }];
        let broken: Vec<String> = of_process(&process, Duration::from_secs(100), &Known::default())
            .into_iter()
            .filter(|it| !it.held)
            .map(|it| it.what)
            .collect();
        assert_eq!(broken.len(), 2, "{broken:?}");
        assert!(broken[0].contains("memory") && broken[1].contains("files"), "{broken:?}");
    }
}
