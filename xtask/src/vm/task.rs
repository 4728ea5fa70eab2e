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

/// What a machine does besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    /// Nothing
    Quiet,
    /// One of its two processors goes and comes, and its clock is set an hour or two forth and back
    Disturbed,
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
    pub(super) fn churns(tiers: &[Tier], machine: Machine) -> Self {
        const SCRIPT: &str = include_str!("churn.sh");
        let connections = churn::CONNECTIONS.to_string();
        let (disturb, settle) = match machine {
            Machine::Quiet => ("", ""),
            Machine::Disturbed => (include_str!("disturb.sh"), include_str!("settle.sh")),
        };
        let script = SCRIPT.replace("@CONNECTIONS@", &connections);
        let script = script.replace("@DISTURB@", disturb).replace("@SETTLE@", settle);
        let task = |tier: &Tier| Task {
            name: tier.to_string(),
            script: script.replace("@TIER@", tier.name()),
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
    fn a_machine_is_disturbed_only_where_asked_for() {
        let script = |machine| Tasks::churns(&[Tier::Fentry], machine).list[0].script.clone();
        let (quiet, disturbed) = (script(Machine::Quiet), script(Machine::Disturbed));
        assert!(!quiet.contains('@') && !quiet.contains("online"), "{quiet}");
        assert!(disturbed.contains("date -s") && disturbed.contains("wait $disturb"));
        // It stands within quotes of the shell.
        assert!(
            !include_str!("disturb.sh").contains('\'') && !include_str!("settle.sh").contains('\'')
        );
    }

    #[test]
    fn words_are_a_command_line() {
        let words = ["twtrace".to_owned(), "check | head".to_owned()];
        assert_eq!(Tasks::typed(&words).list[0].script, "exec 2>&1\ntwtrace check | head\n");
    }
}
