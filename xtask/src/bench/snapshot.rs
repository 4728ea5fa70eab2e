//! What twtrace says in its snapshots.

use anyhow::{Context, Result};
use serde_json::Value;

/// The first and the last line that it printed.
pub(super) struct Snapshots {
    /// Before the connections
    pub(super) first: String,
    /// After them
    pub(super) last: String,
}

/// What it saw and what it lost between the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// State transitions
    pub(super) transitions: u64,
    /// Records that found no room
    pub(super) ring_full: u64,
    /// Times a program did not run; nothing where the kernel does not tell
    pub(super) missed: Option<u64>,
    /// Transitions of sockets it should have known
    pub(super) unmatched: u64,
    /// Sockets forgotten because the table was full
    pub(super) evicted: u64,
}

impl Snapshots {
    /// What happened between the two.
    pub(super) fn seen(&self) -> Result<Seen> {
        let (first, last) = (Seen::parse(&self.first)?, Seen::parse(&self.last)?);
        Ok(Seen {
            transitions: last.transitions.saturating_sub(first.transitions),
            ring_full: last.ring_full.saturating_sub(first.ring_full),
            missed: last.missed.zip(first.missed).map(|(last, first)| last.saturating_sub(first)),
            unmatched: last.unmatched.saturating_sub(first.unmatched),
            evicted: last.evicted.saturating_sub(first.evicted),
        })
    }

    /// The TIME_WAIT sockets that it knew of at the end; nothing if it cannot tell.
    pub(super) fn time_wait(&self) -> Result<Option<u64>> {
        Ok(value(&self.last)?["time_wait"]["now"].as_u64())
    }
}

impl Seen {
    fn parse(line: &str) -> Result<Self> {
        let snapshot = value(line)?;
        let number = |pointer: &str| {
            let number = snapshot.pointer(pointer).and_then(Value::as_u64);
            number.with_context(|| format!("twtrace tells no {pointer}: does it trace here?"))
        };
        Ok(Self {
            transitions: number("/transitions/total")?,
            ring_full: number("/loss/ring_full")?,
            missed: snapshot["loss"]["missed"].as_u64(),
            unmatched: number("/loss/unmatched")?,
            evicted: number("/loss/evicted")?,
        })
    }
}

impl std::iter::Sum for Seen {
    fn sum<I: Iterator<Item = Self>>(runs: I) -> Self {
        let none = Self { missed: Some(0), ..Self::default() };
        runs.fold(none, |sum, run| Self {
            transitions: sum.transitions + run.transitions,
            ring_full: sum.ring_full + run.ring_full,
            missed: sum.missed.zip(run.missed).map(|(a, b)| a + b),
            unmatched: sum.unmatched + run.unmatched,
            evicted: sum.evicted + run.evicted,
        })
    }
}

fn value(line: &str) -> Result<Value> {
    serde_json::from_str(line).context("twtrace printed a line that is not JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(transitions: u64, missed: &str) -> String {
        format!(
            r#"{{"loss":{{"ring_full":1,"missed":{missed},"unmatched":2,"evicted":3}},
                "transitions":{{"total":{transitions}}},"time_wait":null}}"#
        )
    }

    #[test]
    fn only_what_happened_between_counts() {
        let seen = Snapshots { first: line(10, "1"), last: line(110, "5") }.seen();
        let seen = seen.expect("two snapshots");
        assert_eq!(seen, Seen { transitions: 100, missed: Some(4), ..Seen::default() });
    }

    #[test]
    fn what_is_not_known_stays_unknown() {
        let seen = Snapshots { first: line(0, "null"), last: line(1, "null") };
        assert_eq!(seen.time_wait().expect("a snapshot"), None);
        let seen = seen.seen().expect("two snapshots");
        assert_eq!(seen.missed, None);
        assert_eq!([seen, Seen::default()].into_iter().sum::<Seen>().missed, None);
    }

    #[test]
    fn a_snapshot_of_polling_is_refused() {
        let polled = r#"{"loss":null,"transitions":null}"#.to_owned();
        let error = Snapshots { first: polled.clone(), last: polled }.seen();
        let error = error.expect_err("nothing is traced").to_string();
        assert!(error.contains("does it trace here"), "{error}");
    }
}
