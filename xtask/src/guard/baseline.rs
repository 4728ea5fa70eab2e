//! What was counted when somebody looked at it, and what has come of it (pure, but for the file).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Counts by what they are of.
pub(super) type Counts = BTreeMap<String, u64>;

/// By how much a count may grow, in percent.
pub(super) const TOLERATED_PCT: u64 = 10;
/// What the size of loaded programs begins with; the kernel's release follows.
pub(super) const LOADED: &str = "bpf.loaded_bytes ";

/// See the module's documentation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Baseline(Counts);

/// What came of a comparison, each in a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    /// How many are as they were, or nearly
    pub(super) same: usize,
    /// More than is tolerated, or new, or gone
    pub(super) grown: Vec<String>,
    /// Less, by as much
    pub(super) shrunk: Vec<String>,
    /// What the baseline cannot tell on this machine
    pub(super) not_compared: Vec<String>,
}

impl Baseline {
    pub(super) fn new(counts: Counts) -> Self {
        Self(counts)
    }

    pub(super) fn read(file: &Path) -> Result<Self> {
        let name = file.display();
        let text = fs::read_to_string(file).with_context(|| {
            format!("cannot read {name}: `cargo xtask guard --accept` makes it")
        })?;
        let counts = serde_json::from_str(&text);
        counts.map(Self).with_context(|| {
            format!("{name} is no object of counts: `cargo xtask guard --accept` makes it anew")
        })
    }

    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.0).context("counts are no JSON")?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
    }

    /// Sizes of loaded programs are this kernel's, which begin with `loaded`, or are not compared.
    pub(super) fn compare(&self, now: &Counts, loaded: &str) -> Compared {
        let mut compared = Compared::default();
        let knows_kernel = self.0.keys().any(|name| name.starts_with(loaded));
        if !knows_kernel {
            compared.not_compared.push(format!(
                "size of loaded BPF programs: the baseline is of another kernel, and how a program \
                 is rewritten when it is loaded is the kernel's ({loaded})"
            ));
        }
        let is_compared = |name: &&String| {
            !name.starts_with(LOADED) || (knows_kernel && name.starts_with(loaded))
        };
        let mut names: Vec<&String> = self.0.keys().chain(now.keys()).filter(is_compared).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            compared.take(name, self.0.get(name).copied(), now.get(name).copied());
        }
        compared
    }
}

impl Compared {
    fn take(&mut self, name: &str, before: Option<u64>, now: Option<u64>) {
        match (before, now) {
            (Some(before), Some(now)) if now * 100 > before * (100 + TOLERATED_PCT) => {
                self.grown.push(moved(name, before, now));
            }
            (Some(before), Some(now)) if now * 100 < before * (100 - TOLERATED_PCT) => {
                self.shrunk.push(moved(name, before, now));
            }
            (Some(_), Some(_)) => self.same += 1,
            (None, now) => self.grown.push(format!("{name} is new ({})", now.unwrap_or(0))),
            (Some(_), None) => self.grown.push(format!("{name} is not there any more")),
        }
    }
}

fn moved(name: &str, before: u64, now: u64) -> String {
    let percent = 100.0 * (now as f64 / before.max(1) as f64 - 1.0);
    let verb = if now > before { "grew" } else { "shrank" };
    format!("{name} {verb} by {:.1} %, from {before} to {now}", percent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "bpf.loaded_bytes 6.1 ";

    fn counts(counts: &[(&str, u64)]) -> Counts {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn ten_percent_are_tolerated_and_no_more() {
        let before = Baseline::new(counts(&[("a", 100), ("b", 100), ("c", 100)]));
        let compared = before.compare(&counts(&[("a", 110), ("b", 111), ("c", 80)]), HERE);
        assert_eq!(compared.same, 1);
        assert_eq!(compared.grown, ["b grew by 11.0 %, from 100 to 111"]);
        assert_eq!(compared.shrunk, ["c shrank by 20.0 %, from 100 to 80"]);
    }

    #[test]
    fn what_is_new_or_gone_is_said() {
        let compared = Baseline::new(counts(&[("a", 1)])).compare(&counts(&[("b", 2)]), HERE);
        assert_eq!(compared.grown, ["a is not there any more", "b is new (2)"]);
    }

    #[test]
    fn programs_are_compared_as_the_same_kernel_loads_them() {
        let other = counts(&[("a", 1), ("bpf.loaded_bytes 5.10 p", 8)]);
        let now = counts(&[("a", 1), ("bpf.loaded_bytes 6.1 p", 800)]);
        let compared = Baseline::new(other).compare(&now, HERE);
        assert_eq!((compared.same, compared.grown.len()), (1, 0));
        assert!(compared.not_compared[0].contains("another kernel"), "{compared:?}");
        let same = Baseline::new(now.clone()).compare(&now, HERE);
        assert_eq!((same.same, same.not_compared.len()), (2, 0));
    }

    #[test]
    fn from_nothing_anything_has_grown() {
        let compared = Baseline::new(counts(&[("a", 0)])).compare(&counts(&[("a", 1)]), HERE);
        assert_eq!(compared.grown.len(), 1);
    }
}
