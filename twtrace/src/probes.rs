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
    /// What that search costs in CPU.
    CpuShare,
    /// How many ports each search looks at; only where asked for.
    PortsTried,
}

impl Capability {
    /// All capabilities, in the order users see them.
    pub const ALL: [Self; 6] = [
        Self::Transitions,
        Self::TimeWait,
        Self::EndCause,
        Self::PortSearch,
        Self::CpuShare,
        Self::PortsTried,
    ];

    /// The key under `probes` in the Snapshot.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transitions => "transitions",
            Self::TimeWait => "time_wait",
            Self::EndCause => "end_cause",
            Self::PortSearch => "port_search",
            Self::CpuShare => "cpu_share",
            Self::PortsTried => "ports_tried",
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
    /// Whether each transition is counted and not told of: whose it is nobody knows.
    #[serde(default)]
    pub light: bool,
    /// Whether that hook can read the socket and the task: without it there is
    /// no network namespace, no cause of a reset or of a failed connect, and a
    /// process is only its number.
    pub fields_known: bool,
    /// The tier that delivers births and ends of mini-sockets; `None` if nobody does.
    pub time_wait: Option<Tier>,
    /// The tier that delivers port searches.
    pub port_search: Option<Tier>,
    /// The tier that delivers CPU samples.
    pub cpu_share: Option<Tier>,
    /// The tier that counts the ports each search looks at.
    pub ports_tried: Option<Tier>,
}

impl Hooks {
    /// sock_diag alone.
    pub const POLLING: Self = Self {
        transitions: Tier::None,
        light: false,
        fields_known: false,
        time_wait: Some(Tier::None),
        port_search: None,
        cpu_share: None,
        ports_tried: None,
    };

    /// Whether anything is traced.
    pub fn traces(self) -> bool {
        self.transitions != Tier::None
    }

    /// Whether sockets are followed from one transition to the next.
    pub fn follows_sockets(self) -> bool {
        self.traces() && !self.light
    }

    /// The tier that delivers `capability`; `None` if nobody does.
    pub fn tier(self, capability: Capability) -> Option<Tier> {
        match capability {
            Capability::Transitions => self.traces().then_some(self.transitions),
            Capability::TimeWait => self.time_wait,
            // The same hooks tell, by the call stack.
            Capability::EndCause => self.time_wait.filter(|tier| *tier != Tier::None),
            Capability::PortSearch => self.port_search,
            // Nobody shows a cost of what is not seen.
            Capability::CpuShare => self.cpu_share.filter(|_| self.port_search.is_some()),
            Capability::PortsTried => self
                .ports_tried
                .filter(|_| matches!(self.port_search, Some(Tier::Fentry | Tier::Kprobe))),
        }
    }

    /// Whether the functions themselves are probed for `capability`.
    pub fn probes_functions(self, capability: Capability) -> bool {
        matches!(self.tier(capability), Some(Tier::Fentry | Tier::Kprobe))
    }

    /// The word of each key of the Snapshot; `None` where the key is `null`.
    pub fn exactness(self) -> BTreeMap<String, Option<Exactness>> {
        let words = self
            .transition_words()
            .into_iter()
            .chain(self.time_wait_words())
            .chain(self.port_words());
        words.map(|(key, word)| (key.to_owned(), word)).collect()
    }

    fn transition_words(self) -> Vec<Word> {
        use Exactness::{Exact, Inferred, UpperBound};
        let traced = self.traces().then_some(Exact);
        let explained = traced.filter(|_| self.fields_known);
        // Without the process's start a reused number could be credited.
        let followed = traced.filter(|_| !self.light);
        let credited = if self.fields_known { followed } else { followed.map(|_| Inferred) };
        // Which of them were simultaneous is told one by one.
        let active = if self.light { traced.map(|_| UpperBound) } else { traced };
        vec![
            ("transitions", traced),
            ("rates.opens_per_s", traced),
            ("rates.active_closes_per_s", active),
            ("connects.ok", traced),
            ("connects.refused", explained),
            ("connects.timed_out", explained),
            ("connects.no_port", explained),
            ("connects.other", explained),
            ("closes.active", active),
            ("closes.passive", traced),
            ("closes.simultaneous", traced),
            ("closes.reset", traced),
            ("closes.reset_local", explained),
            ("closes.reset_remote", explained),
            ("roles", followed),
            ("closers", credited),
            ("closers.resets", explained.and(followed)),
            ("states", Some(Exact).filter(|_| !self.light)),
            // Looked at whatever is traced.
            ("close_wait", Some(Exact)),
            ("close_wait.oldest_s", Some(Inferred)),
        ]
        .into_iter()
        .chain(self.destination_words())
        .collect()
    }

    /// What sockets and mini-sockets together tell.
    fn destination_words(self) -> [Word; 9] {
        use Exactness::{Exact, Inferred};
        let followed = self.follows_sockets() && self.tier(Capability::EndCause).is_some();
        let polled = self.time_wait == Some(Tier::None) && !self.light;
        let followed = followed.then_some(Exact);
        let shown = followed.or(polled.then_some(Exact));
        let reckoned = shown.map(|_| Inferred);
        [
            ("destinations", shown),
            ("destinations.ports_reusable", reckoned),
            ("destinations.opens_per_s", followed),
            // Of the future.
            ("destinations.knee_in_s", reckoned),
            ("destinations.exhausted_in_s", reckoned),
            ("destinations.found", followed),
            ("clients", shown),
            ("proxies", followed),
            ("tw_reuse", reckoned),
        ]
    }

    fn time_wait_words(self) -> Vec<Word> {
        use Exactness::{Exact, Inferred};
        let followed = self.tier(Capability::EndCause).map(|_| Exact);
        // A probed function says what the call stack only suggests.
        let probed = Some(Exact).filter(|_| self.probes_functions(Capability::EndCause));
        let caused = probed.or(followed.map(|_| Inferred));
        let polled = self.time_wait.filter(|tier| *tier == Tier::None).map(|_| Inferred);
        let seen = followed.or(polled);
        let owned = |word: Option<Exactness>| word.filter(|_| !self.light);
        vec![
            ("time_wait.now", self.time_wait.map(|_| Exact)),
            ("time_wait.seeded", followed),
            ("time_wait.born", seen),
            // Of both: what the kernel's own counter says limits it.
            ("time_wait.refused", probed.or(owned(caused)).or(polled)),
            ("time_wait.rearmed", probed),
            ("time_wait.ended.expired", seen),
            ("time_wait.ended.fin_wait2_timeout", seen),
            ("time_wait.ended.reused", caused),
            ("time_wait.ended.reused_bound", caused),
            ("time_wait.ended.replaced", caused),
            ("time_wait.ended.reset", caused),
            ("time_wait.ended.rejected", caused),
            ("time_wait.ended.aborted", caused),
            ("time_wait.ended.purged", caused),
            ("time_wait.ended.other", caused),
            ("time_wait.ended.unseen", seen),
            ("time_wait.lifetime_s", followed),
            ("time_wait.lifetime_by_end", caused),
            ("time_wait.time_wait_s", probed),
            ("time_wait.remaining_s", polled.map(|_| Exact)),
            ("fin_wait2.now", probed.or(polled.map(|_| Exact))),
            ("fin_wait2.born", seen),
            ("fin_wait2.to_time_wait", caused.or(polled)),
            ("fin_wait2.time_s", probed),
            ("closers.time_wait_now", owned(followed)),
            ("closers.port_seconds", owned(followed)),
            ("closers.lifetime_s", owned(followed)),
            ("closers.refused", owned(caused)),
            ("rates.births_per_s", seen),
            ("rates.ends_per_s", seen),
        ]
    }

    fn port_words(self) -> Vec<Word> {
        use Exactness::{Exact, Inferred, UpperBound};
        let searched = self.port_search.map(|_| Exact);
        let probed = Some(Exact).filter(|_| self.probes_functions(Capability::PortSearch));
        let bracketed = probed.or(self.port_search.map(|_| UpperBound));
        let concluded = probed.or(self.port_search.map(|_| Inferred));
        // Samples: the more of them, the truer.
        let sampled = self.tier(Capability::CpuShare).map(|_| Inferred);
        let tried = self.tier(Capability::PortsTried).map(|_| Exact);
        vec![
            ("port_search.connect.count", searched),
            ("port_search.connect.failed", concluded),
            ("port_search.connect.latency_ns", bracketed),
            // From outside, those that failed are missing.
            ("port_search.bind.count", concluded),
            ("port_search.bind.failed", probed),
            ("port_search.bind.latency_ns", bracketed),
            ("port_search.bind_explicit.count", concluded),
            ("port_search.bind_explicit.failed", probed),
            ("port_search.connect.cpu_core_pct", sampled),
            ("port_search.bind.cpu_core_pct", sampled),
            ("port_search.connect.tried", tried),
            ("port_search.bind.tried", tried),
        ]
    }
}

/// A key and its word.
type Word = (&'static str, Option<Exactness>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polling_knows_no_history() {
        let words = Hooks::POLLING.exactness();
        assert_eq!(words["closes.active"], None);
        assert_eq!(words["time_wait.now"], Some(Exactness::Exact));
        assert_eq!(words["time_wait.born"], Some(Exactness::Inferred));
        assert_eq!(words["time_wait.ended.reused"], None);
        assert_eq!(words["port_search.connect.latency_ns"], None);
    }

    #[test]
    fn what_is_light_knows_totals_and_mini_sockets_alone() {
        let hooks = Hooks {
            transitions: Tier::Tracepoint,
            light: true,
            fields_known: true,
            time_wait: Some(Tier::Tracepoint),
            ..Hooks::POLLING
        };
        let words = hooks.exactness();
        for known in ["transitions", "closes.passive", "connects.ok", "time_wait.lifetime_s"] {
            assert_eq!(words[known], Some(Exactness::Exact), "{known}");
        }
        assert_eq!(words["closes.active"], Some(Exactness::UpperBound));
        for unknown in
            ["closers", "roles", "states", "destinations", "clients", "closers.time_wait_now"]
        {
            assert_eq!(words[unknown], None, "{unknown}");
        }
    }

    #[test]
    fn a_hook_without_fields_cannot_explain() {
        let blind = Hooks {
            transitions: Tier::Tracepoint,
            fields_known: false,
            time_wait: None,
            ..Hooks::POLLING
        };
        let words = blind.exactness();
        assert_eq!(words["closes.reset"], Some(Exactness::Exact));
        assert_eq!(words["closes.reset_local"], None);
        assert_eq!(words["closers"], Some(Exactness::Inferred));
    }
}
