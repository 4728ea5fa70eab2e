//! What can be traced, by which kind of hook, and how exact that makes each number.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something twtrace can find out about a host.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// TCP state transitions: connects, closes, closers.
    Transitions,
    /// Births, ends and lifetimes of TIME_WAIT sockets.
    TimeWait,
    /// What ended each TIME_WAIT socket.
    EndCause,
    /// The search for a free local port.
    PortSearch,
}

impl Capability {
    /// All capabilities, in the order users see them.
    pub const ALL: [Self; 4] =
        [Self::Transitions, Self::TimeWait, Self::EndCause, Self::PortSearch];

    /// The key under `probes` in the Snapshot.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transitions => "transitions",
            Self::TimeWait => "time_wait",
            Self::EndCause => "end_cause",
            Self::PortSearch => "port_search",
        }
    }
}

/// A family of hooks, best first. A capability takes the best tier whose hooks
/// really attach on the running kernel.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Function entry and exit by trampoline; needs kernel BTF.
    Fentry,
    /// Function entry and return by breakpoint.
    Kprobe,
    /// Tracepoints alone.
    Tracepoint,
    /// No BPF: sock_diag is polled.
    None,
}

impl Tier {
    /// The name in `--probes` and in the Snapshot.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
            Self::None => "none",
        }
    }
}

/// How far a number can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exactness {
    /// To the unit, up to `loss.missed`.
    Exact,
    /// Concluded from what was seen around it.
    Inferred,
    /// The truth is this or less.
    UpperBound,
}

/// What the hooks that attached deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// The tier that delivers transitions; [`Tier::None`] when sock_diag is polled instead.
    pub transitions: Tier,
    /// Whether that hook can read the socket and the task: without it there is
    /// no network namespace, no cause of a reset or of a failed connect, and a
    /// process is only its number.
    pub fields_known: bool,
}

impl Hooks {
    /// sock_diag alone.
    pub const POLLING: Self = Self { transitions: Tier::None, fields_known: false };

    /// The word of each key of the Snapshot; `None` where the key is `null`.
    pub fn exactness(self) -> BTreeMap<String, Option<Exactness>> {
        use Exactness::{Exact, Inferred};
        let traced = (self.transitions != Tier::None).then_some(Exact);
        let explained = traced.filter(|_| self.fields_known);
        let polled = (self.transitions == Tier::None).then_some(Exact);
        // Without the process's start a reused number could be credited.
        let credited = if self.fields_known { traced } else { traced.map(|_| Inferred) };
        let words = [
            ("transitions", traced),
            ("rates.opens_per_s", traced),
            ("rates.active_closes_per_s", traced),
            ("connects.ok", traced),
            ("connects.refused", explained),
            ("connects.timed_out", explained),
            ("connects.no_port", explained),
            ("connects.other", explained),
            ("closes.active", traced),
            ("closes.passive", traced),
            ("closes.simultaneous", traced),
            ("closes.reset", traced),
            ("closes.reset_local", explained),
            ("closes.reset_remote", explained),
            ("closers", credited),
            ("closers.resets", explained),
            ("states", Some(Exact)),
            ("time_wait.now", polled),
            ("time_wait.born", None),
            ("time_wait.ended", None),
            ("time_wait.lifetime_s", None),
            ("fin_wait2", None),
            ("port_search", None),
            ("destinations", None),
            ("close_wait", None),
        ];
        words.into_iter().map(|(key, word)| (key.to_owned(), word)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polling_knows_no_history() {
        let words = Hooks::POLLING.exactness();
        assert_eq!(words["closes.active"], None);
        assert_eq!(words["time_wait.now"], Some(Exactness::Exact));
    }

    #[test]
    fn a_hook_without_fields_cannot_explain() {
        let blind = Hooks { transitions: Tier::Tracepoint, fields_known: false };
        let words = blind.exactness();
        assert_eq!(words["closes.reset"], Some(Exactness::Exact));
        assert_eq!(words["closes.reset_local"], None);
        assert_eq!(words["closers"], Some(Exactness::Inferred));
    }
}
