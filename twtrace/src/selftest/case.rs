//! What a scene did, what twtrace says of it, and whether they agree: plain data.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Serialize, Serializer};

use crate::probes::Exactness;

/// A key of the Snapshot, or one of what the kernel counts.
pub type Key = &'static str;

/// Keys that follow from what else was done, and are compared only where a scene
/// is about them.
const ONLY_WHERE_ASKED: [Key; 4] = [
    "time_wait.rearmed",
    "closers.client.lifetime_s",
    "closers.server.lifetime_s",
    "closers.unknown.lifetime_s",
];

/// How exact each key of the Snapshot is, as in `probes.exactness`.
pub type Words = BTreeMap<String, Option<Exactness>>;

/// How often something happened; a range where only the clock decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    least: u64,
    most: u64,
}

impl Count {
    /// So often.
    pub const fn exactly(count: u64) -> Self {
        Self { least: count, most: count }
    }

    /// At least and at most so often.
    pub const fn between(least: u64, most: u64) -> Self {
        Self { least, most }
    }

    fn plus(self, count: u64) -> Self {
        Self { least: self.least + count, most: self.most + count }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            least: self.least.saturating_sub(other.least),
            most: self.most.saturating_sub(other.most),
        }
    }

    /// How far `seen` is from it.
    fn distance(self, seen: u64) -> u64 {
        self.least.saturating_sub(seen).max(seen.saturating_sub(self.most))
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { least, most } if least == most => write!(f, "{least}"),
            Self { least, most } => write!(f, "{least} to {most}"),
        }
    }
}

/// A number, or a string such as `"60 to 66"`.
impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.least == self.most {
            serializer.serialize_u64(self.least)
        } else {
            serializer.collect_str(self)
        }
    }
}

/// What was done: how often each key must be. What is not in it must be 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    counts: BTreeMap<Key, Count>,
    /// What a scene needs, and is not about.
    background: BTreeSet<Key>,
    /// What this kernel does not do, and why.
    pub impossible: Option<String>,
}

impl Done {
    /// It happened `count` times more.
    pub fn add(&mut self, key: Key, count: u64) {
        let so_far = self.counts.get(key).copied().unwrap_or(Count::exactly(0));
        self.counts.insert(key, so_far.plus(count));
    }

    /// It happened once, and the case is not about it: it must agree, however
    /// exact it is, and may be unseen.
    pub fn add_background(&mut self, key: Key) {
        self.add(key, 1);
        self.background.insert(key);
    }

    /// The case is about these after all.
    pub fn about(&mut self, keys: &[Key]) {
        self.background.retain(|key| !keys.contains(key));
    }

    /// It is this.
    pub fn is(&mut self, key: Key, count: Count) {
        self.counts.insert(key, count);
    }

    /// How often `key` must be.
    pub fn count(&self, key: &str) -> Count {
        self.counts.get(key).copied().unwrap_or(Count::exactly(0))
    }
}

/// What twtrace says, by key; `None`: its hooks cannot see it here.
pub type Seen = BTreeMap<Key, Option<u64>>;

/// By what a case is judged besides its own numbers.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// How exact each key is.
    pub words: &'a Words,
    /// Runs that the programs missed: numbers may be so far off.
    pub missed: u64,
}

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything agrees, and everything is exact.
    Pass,
    /// What can be compared agrees, if need be within what was missed; something
    /// is not exact, or cannot be seen.
    Inferred,
    /// Something differs.
    Fail,
}

impl Verdict {
    /// The word in the output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Inferred => "inferred",
            Self::Fail => "fail",
        }
    }
}

/// A case, judged.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What was done, and what the kernel counted; without what is 0 on both sides.
    pub expected: BTreeMap<Key, Count>,
    /// What twtrace says, by the same keys.
    pub seen: Seen,
    /// The verdict.
    pub verdict: Verdict,
    /// What is behind it; `None` if there is nothing to say.
    pub why: Option<String>,
}

impl Case {
    /// A case that could not be played.
    pub fn not_played(name: &'static str, error: &anyhow::Error) -> Self {
        Self {
            name,
            expected: BTreeMap::new(),
            seen: Seen::new(),
            verdict: Verdict::Fail,
            why: Some(format!("could not be played: {error:#}")),
        }
    }

    /// Compares what was done with what was seen.
    pub fn judge(name: &'static str, done: &Done, seen: &Seen, rules: Rules<'_>) -> Self {
        let done = without_unseen_failures(done, seen);
        let mut case = Self {
            name,
            expected: BTreeMap::new(),
            seen: Seen::new(),
            verdict: Verdict::Pass,
            why: None,
        };
        let mut reasons = Reasons::default();
        let is_asked =
            |key: &&Key| !ONLY_WHERE_ASKED.contains(*key) || done.counts.contains_key(**key);
        let keys: BTreeSet<Key> =
            seen.keys().chain(done.counts.keys()).filter(is_asked).copied().collect();
        for key in keys {
            let (expected, seen) = (done.count(key), seen.get(key).copied().flatten());
            let is_nothing = seen.unwrap_or(0) == 0 && expected == Count::exactly(0);
            let is_aside = done.background.contains(key);
            if is_nothing || (is_aside && seen.is_none()) {
                continue;
            }
            case.expected.insert(key, expected);
            case.seen.insert(key, seen);
            reasons.compare(key, expected, seen, rules.missed);
            if !is_aside && !is_kernels(key) {
                reasons.weigh(key, seen, rules.words);
            }
        }
        case.verdict = reasons.verdict();
        case.why = reasons.sentence(done.impossible.as_deref(), rules.missed);
        case
    }
}

/// Where failed binds are not seen they are not among the binds either.
fn without_unseen_failures(done: &Done, seen: &Seen) -> Done {
    let mut done = done.clone();
    for (count, failed) in [
        ("port_search.bind.count", "port_search.bind.failed"),
        ("port_search.bind_explicit.count", "port_search.bind_explicit.failed"),
    ] {
        if seen.get(failed).copied().flatten().is_none() {
            let remaining = done.count(count).minus(done.count(failed));
            done.is(count, remaining);
        }
    }
    done
}

/// What speaks against a plain "pass".
#[derive(Debug, Default)]
struct Reasons {
    differ: Vec<String>,
    within_missed: Vec<Key>,
    unseen: Vec<Key>,
    /// Inferred, or an upper bound.
    not_exact: Vec<Key>,
}

impl Reasons {
    fn compare(&mut self, key: Key, expected: Count, seen: Option<u64>, missed: u64) {
        match seen.map(|seen| (expected.distance(seen), seen)) {
            None | Some((0, _)) => {}
            Some((off, _)) if off <= missed => self.within_missed.push(key),
            Some((_, seen)) => self.differ.push(format!("{key} is {seen}, not {expected}")),
        }
    }

    fn weigh(&mut self, key: Key, seen: Option<u64>, words: &Words) {
        let word = words.get(word_key(key)).copied().flatten();
        if seen.is_none() {
            self.unseen.push(key);
        } else if word != Some(Exactness::Exact) {
            self.not_exact.push(key);
        }
    }

    fn verdict(&self) -> Verdict {
        if !self.differ.is_empty() {
            Verdict::Fail
        } else if !(self.within_missed.is_empty()
            && self.unseen.is_empty()
            && self.not_exact.is_empty())
        {
            Verdict::Inferred
        } else {
            Verdict::Pass
        }
    }

    fn sentence(self, impossible: Option<&str>, missed: u64) -> Option<String> {
        let mut parts = self.differ;
        parts.extend(impossible.map(|why| format!("not possible on this kernel: {why}")));
        if !self.within_missed.is_empty() {
            let keys = self.within_missed.join(", ");
            parts.push(format!("off by no more than loss.missed ({missed}): {keys}"));
        }
        if !self.unseen.is_empty() {
            parts.push(format!("this tier cannot see {}", self.unseen.join(", ")));
        }
        if !self.not_exact.is_empty() {
            parts.push(format!("not exact on this tier: {}", self.not_exact.join(", ")));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// Whether the kernel counts it, and not twtrace: our side of such a key is a sum
/// of others, which are weighed themselves.
fn is_kernels(key: &str) -> bool {
    key.starts_with("kernel.")
}

/// The key of `probes.exactness` that tells how exact `key` is.
fn word_key(key: &str) -> &str {
    if !key.starts_with("closers.") {
        return key;
    }
    match key.rsplit('.').next() {
        Some("lifetime_s") => "closers.lifetime_s",
        Some("resets") => "closers.resets",
        _ => "closers",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        [
            ("closes.active", Some(Exactness::Exact)),
            ("closers", Some(Exactness::Exact)),
            ("time_wait.born", Some(Exactness::Exact)),
            ("time_wait.ended.reused", Some(Exactness::Inferred)),
            ("time_wait.rearmed", None),
        ]
        .map(|(key, word)| (key.to_owned(), word))
        .into()
    }

    fn judge(done: &[(Key, u64)], seen: &[(Key, Option<u64>)], missed: u64) -> Case {
        let mut all = Done::default();
        done.iter().for_each(|(key, count)| all.add(key, *count));
        let seen = seen.iter().copied().collect();
        Case::judge("case", &all, &seen, Rules { words: &words(), missed })
    }

    #[test]
    fn what_agrees_exactly_passes() {
        let case = judge(
            &[("closes.active", 2), ("closers.client.active_closes", 2)],
            &[
                ("closes.active", Some(2)),
                ("closers.client.active_closes", Some(2)),
                ("time_wait.ended.reused", Some(0)),
            ],
            0,
        );
        assert_eq!((case.verdict, case.why), (Verdict::Pass, None));
        assert_eq!(case.expected.len(), 2, "what is 0 on both sides is not shown");
    }

    #[test]
    fn what_is_inferred_or_unseen_is_no_plain_pass() {
        let inferred =
            judge(&[("time_wait.ended.reused", 1)], &[("time_wait.ended.reused", Some(1))], 0);
        assert_eq!(inferred.verdict, Verdict::Inferred);
        assert_eq!(inferred.why.as_deref(), Some("not exact on this tier: time_wait.ended.reused"));
        let unseen = judge(&[("time_wait.rearmed", 1)], &[("time_wait.rearmed", None)], 0);
        assert_eq!(unseen.verdict, Verdict::Inferred);
        assert_eq!(unseen.why.as_deref(), Some("this tier cannot see time_wait.rearmed"));
        assert_eq!(unseen.seen["time_wait.rearmed"], None);
    }

    #[test]
    fn what_is_in_the_background_must_agree_and_need_not_be_exact() {
        const KEY: Key = "port_search.bind_explicit.count";
        let mut done = Done::default();
        done.add_background(KEY);
        done.is("kernel.TWRecycled", Count::exactly(1));
        let judge = |count| {
            let seen = [(KEY, count), ("kernel.TWRecycled", Some(1))].into();
            Case::judge("case", &done, &seen, Rules { words: &words(), missed: 0 })
        };
        let [one, two] = [judge(Some(1)), judge(Some(2))];
        assert_eq!([one.verdict, two.verdict], [Verdict::Pass, Verdict::Fail]);
        let unseen = judge(None);
        assert_eq!((unseen.verdict, unseen.seen.get(KEY)), (Verdict::Pass, None));
    }

    #[test]
    fn what_differs_fails_in_both_directions() {
        let too_few = judge(&[("closes.active", 2)], &[("closes.active", Some(1))], 0);
        assert_eq!(too_few.verdict, Verdict::Fail);
        assert_eq!(too_few.why.as_deref(), Some("closes.active is 1, not 2"));
        let unasked = judge(&[], &[("closes.active", Some(1))], 0);
        assert_eq!(unasked.why.as_deref(), Some("closes.active is 1, not 0"));
    }

    #[test]
    fn missed_runs_widen_and_are_named() {
        let case = judge(&[("closes.active", 9)], &[("closes.active", Some(7))], 2);
        assert_eq!(case.verdict, Verdict::Inferred);
        let why = case.why.expect("a reason");
        assert_eq!(why, "off by no more than loss.missed (2): closes.active");
        let beyond = judge(&[("closes.active", 9)], &[("closes.active", Some(6))], 2);
        assert_eq!(beyond.verdict, Verdict::Fail);
    }

    #[test]
    fn a_range_holds_what_is_in_it() {
        let range = Count::between(60, 66);
        assert_eq!([59, 60, 63, 66, 68].map(|seen| range.distance(seen)), [1, 0, 0, 0, 2]);
        assert_eq!(serde_json::to_string(&range).expect("a string"), "\"60 to 66\"");
        assert_eq!(serde_json::to_string(&Count::exactly(3)).expect("a number"), "3");
    }

    #[test]
    fn failed_binds_that_are_not_seen_are_not_counted() {
        let done = [("port_search.bind.count", 2), ("port_search.bind.failed", 1)];
        let blind = [("port_search.bind.count", Some(1)), ("port_search.bind.failed", None)];
        assert_eq!(judge(&done, &blind, 0).verdict, Verdict::Inferred);
        let seeing = [("port_search.bind.count", Some(2)), ("port_search.bind.failed", Some(1))];
        assert_ne!(judge(&done, &seeing, 0).verdict, Verdict::Fail);
        let wrong = [("port_search.bind.count", Some(1)), ("port_search.bind.failed", Some(1))];
        assert_eq!(judge(&done, &wrong, 0).verdict, Verdict::Fail);
    }

    #[test]
    fn what_the_kernel_refuses_is_said_and_no_failure() {
        let done = Done { impossible: Some("it ends none".to_owned()), ..Done::default() };
        let rules = Rules { words: &words(), missed: 0 };
        let case = Case::judge("aborted", &done, &Seen::new(), rules);
        assert_eq!(case.verdict, Verdict::Pass);
        assert_eq!(case.why.as_deref(), Some("not possible on this kernel: it ends none"));
    }
}
