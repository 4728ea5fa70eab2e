//! What is run in a virtual machine.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

use super::churn;

/// The name of the task that was typed.
pub(super) const TYPED: &str = "command";

/// A tier of hooks, as `--probes` of twtrace knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// Function probes with typed arguments
    Fentry,
    /// Function probes
    Kprobe,
    /// Tracepoints
    Tracepoint,
}

impl Tier {
    /// Every tier that needs BPF.
    pub(crate) const ALL: [Self; 3] = [Self::Fentry, Self::Kprobe, Self::Tracepoint];

    fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.name())
    }
}

/// How much of the selftest is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What `--quick` leaves of it
    Quick,
    /// Every case
    Full,
}

impl fmt::Display for Extent {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Quick => "the quick cases",
            Self::Full => "every case",
        })
    }
}

/// A script for the machine's shell.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Task {
    /// What its answer is found by
    pub(super) name: String,
    /// What /bin/sh reads
    pub(super) script: String,
}

/// Tasks, run one after the other in one machine.
pub(super) struct Tasks {
    /// In the order of their names
    pub(super) list: Vec<Task>,
    /// What each may take
    pub(super) limit: Duration,
}

impl Tasks {
    /// The selftest with each of the tiers.
    pub(super) fn selftests(tiers: &[Tier], extent: Extent) -> Self {
        let (quick, limit) = match extent {
            Extent::Quick => (" --quick", 120),
            Extent::Full => ("", 240),
        };
        // exec, so that the time limit ends twtrace and not a shell around it.
        let task = |tier: &Tier| Task {
            name: tier.to_string(),
            script: format!("exec twtrace selftest --json{quick} --probes {tier}\n"),
        };
        Self { list: tiers.iter().map(task).collect(), limit: Duration::from_secs(limit) }
    }

    /// Connections at full speed, traced with each of the tiers.
    pub(super) fn churns(tiers: &[Tier]) -> Self {
        const SCRIPT: &str = include_str!("churn.sh");
        let connections = churn::CONNECTIONS.to_string();
        let task = |tier: &Tier| Task {
            name: tier.to_string(),
            script: SCRIPT.replace("@TIER@", tier.name()).replace("@CONNECTIONS@", &connections),
        };
        Self { list: tiers.iter().map(task).collect(), limit: Duration::from_secs(150) }
    }

    /// What was typed; words are joined as ssh joins them.
    pub(super) fn typed(words: &[String]) -> Self {
        let script = format!("exec 2>&1\n{}\n", words.join(" "));
        let limit = Duration::from_secs(600);
        Self { list: vec![Task { name: TYPED.into(), script }], limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selftest_is_quick_unless_asked_otherwise() {
        let quick = Tasks::selftests(&[Tier::Kprobe], Extent::Quick);
        assert_eq!(quick.list[0].script, "exec twtrace selftest --json --quick --probes kprobe\n");
        let full = Tasks::selftests(&Tier::ALL, Extent::Full);
        assert_eq!(full.list[0].script, "exec twtrace selftest --json --probes fentry\n");
        assert!(full.list.len() == 3 && full.limit > quick.limit);
    }

    #[test]
    fn words_are_a_command_line() {
        let words = ["twtrace".to_owned(), "check | head".to_owned()];
        assert_eq!(Tasks::typed(&words).list[0].script, "exec 2>&1\ntwtrace check | head\n");
    }
}
