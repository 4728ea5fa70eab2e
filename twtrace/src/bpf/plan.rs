//! What to attach, in which order: pure data, computed from what the host allows.
//!
//! Adding a hook is adding a row to [`CANDIDATES`]; [`super::attach`] only
//! executes what [`plan`] returns.

use std::fmt;

use super::{preflight::HostAllows, refusal::Refusal};
use crate::probes::{Capability, Tier};

/// Which tiers the user allows (`--probes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The best that attaches.
    Auto,
    /// This one or none.
    Only(Tier),
}

/// How a program is attached, and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A tracepoint whose arguments have types from kernel BTF.
    BtfTracepoint(&'static str),
    /// A tracepoint whose arguments are plain numbers.
    RawTracepoint(&'static str),
    /// A tracepoint by its record, through perf and tracefs.
    Tracepoint(&'static str, &'static str),
    /// A cgroup hook of the root of the v2 hierarchy, so that it sees the whole host.
    Cgroup(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BtfTracepoint(name) => write!(f, "tp_btf/{name}"),
            Self::RawTracepoint(name) => write!(f, "raw_tp/{name}"),
            Self::Tracepoint(category, name) => write!(f, "tp/{category}/{name}"),
            Self::Cgroup(name) => write!(f, "cgroup/{name}"),
        }
    }
}

/// One program on one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The program's name in the object.
    pub program: &'static str,
    /// Where it goes.
    pub place: Place,
    /// Whether it reads the socket and the task, at offsets from kernel BTF.
    pub fields_known: bool,
}

impl Hook {
    const fn tp_btf(program: &'static str, name: &'static str) -> Self {
        Self { program, place: Place::BtfTracepoint(name), fields_known: true }
    }

    const fn cgroup(program: &'static str, name: &'static str) -> Self {
        Self { program, place: Place::Cgroup(name), fields_known: true }
    }
}

/// Hooks that together give one capability; all of them must attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What they give.
    pub capability: Capability,
    /// The tier they belong to.
    pub tier: Tier,
    /// What must attach.
    pub hooks: &'static [Hook],
}

const STATE_TP_BTF: Hook = Hook::tp_btf("state_tp_btf", "inet_sock_set_state");
const STATE_RAW_TP: Hook = Hook {
    program: "state_raw_tp",
    place: Place::RawTracepoint("inet_sock_set_state"),
    fields_known: true,
};
const STATE_TP: Hook = Hook {
    program: "state_tp",
    place: Place::Tracepoint("sock", "inet_sock_set_state"),
    fields_known: false,
};

/// Ends first: a birth whose end nobody watches would never end.
const TW_TIMER: [Hook; 3] = [
    Hook::tp_btf("tw_timer_expire", "timer_expire_entry"),
    Hook::tp_btf("tw_timer_cancel", "timer_cancel"),
    Hook::tp_btf("tw_timer_start", "timer_start"),
];
/// Ends of searches first: a search whose end nobody watches looks failed.
const PORT_BRACKET: [Hook; 5] = [
    Hook::cgroup("connect_found", "sock_ops"),
    Hook::cgroup("post_bind4", "post_bind4"),
    Hook::cgroup("post_bind6", "post_bind6"),
    Hook::cgroup("bind4", "bind4"),
    Hook::cgroup("bind6", "bind6"),
];

/// All there is to try, best first within a tier.
///
/// What follows a transition comes before transitions: a close whose birth
/// nobody watches looks refused.
///
/// Transitions are tracepoints on every tier; what differs is which of them a
/// kernel of that tier has.
pub const CANDIDATES: &[Candidate] = &[
    Candidate { capability: Capability::TimeWait, tier: Tier::Tracepoint, hooks: &TW_TIMER },
    Candidate { capability: Capability::PortSearch, tier: Tier::Tracepoint, hooks: &PORT_BRACKET },
    transitions(Tier::Fentry, &[STATE_TP_BTF]),
    transitions(Tier::Kprobe, &[STATE_RAW_TP]),
    transitions(Tier::Kprobe, &[STATE_TP]),
    transitions(Tier::Tracepoint, &[STATE_TP_BTF]),
    transitions(Tier::Tracepoint, &[STATE_RAW_TP]),
    transitions(Tier::Tracepoint, &[STATE_TP]),
];

const fn transitions(tier: Tier, hooks: &'static [Hook]) -> Candidate {
    Candidate { capability: Capability::Transitions, tier, hooks }
}

/// A candidate in its turn, or why it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What may be tried.
    pub candidate: Candidate,
    /// Known beforehand to fail, and why.
    pub ruled_out: Option<Refusal>,
}

/// What to try, in order; per capability the first candidate that attaches wins.
pub fn plan(host: &HostAllows, wanted: Wanted, netns_filter: bool) -> Vec<Step> {
    CANDIDATES
        .iter()
        .filter(|candidate| is_wanted(candidate, wanted))
        .map(|candidate| Step {
            candidate: *candidate,
            ruled_out: rule_out(host, candidate, netns_filter),
        })
        .collect()
}

/// Left to itself, twtrace calls transitions by what they are, tracepoints: a
/// kernel without trampolines or breakpoints gives them just as well.
fn is_wanted(candidate: &Candidate, wanted: Wanted) -> bool {
    match wanted {
        Wanted::Auto => {
            candidate.capability != Capability::Transitions || candidate.tier == Tier::Tracepoint
        }
        Wanted::Only(tier) => candidate.tier == tier,
    }
}

fn rule_out(host: &HostAllows, candidate: &Candidate, netns_filter: bool) -> Option<Refusal> {
    let needs = match candidate.capability {
        Capability::TimeWait => &host.no_symbols,
        Capability::PortSearch => &host.no_cgroup,
        Capability::Transitions | Capability::EndCause => &None,
    };
    let hooks = || candidate.hooks.iter().find_map(|hook| rule_out_hook(host, hook, netns_filter));
    host.no_bpf.clone().or_else(hooks).or_else(|| needs.clone())
}

fn rule_out_hook(host: &HostAllows, hook: &Hook, netns_filter: bool) -> Option<Refusal> {
    if hook.fields_known {
        host.no_btf.clone()
    } else if netns_filter {
        Some(Refusal::for_good(format!(
            "{} cannot tell network namespaces apart, which --netns asks for",
            hook.place
        )))
    } else {
        host.no_tracefs.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: HostAllows = HostAllows {
        no_bpf: None,
        no_btf: None,
        no_tracefs: None,
        no_symbols: None,
        no_cgroup: None,
        timewait: None,
        cgroup: None,
    };

    fn first(host: &HostAllows, wanted: Wanted, netns_filter: bool) -> Option<Place> {
        plan(host, wanted, netns_filter)
            .into_iter()
            .filter(|step| step.candidate.capability == Capability::Transitions)
            .find(|step| step.ruled_out.is_none())
            .map(|step| step.candidate.hooks[0].place)
    }

    #[test]
    fn typed_loads_come_first() {
        let place = first(&ALL, Wanted::Auto, false);
        assert_eq!(place, Some(Place::BtfTracepoint("inet_sock_set_state")));
        let place = first(&ALL, Wanted::Only(Tier::Kprobe), false);
        assert_eq!(place, Some(Place::RawTracepoint("inet_sock_set_state")));
    }

    #[test]
    fn without_btf_the_record_is_left() {
        let host = HostAllows { no_btf: Some(Refusal::for_good("no BTF")), ..ALL };
        let place = first(&host, Wanted::Auto, false);
        assert_eq!(place, Some(Place::Tracepoint("sock", "inet_sock_set_state")));
        assert_eq!(first(&host, Wanted::Only(Tier::Fentry), false), None);
    }

    #[test]
    fn a_hook_that_cannot_filter_is_no_answer_to_a_filter() {
        let host = HostAllows { no_btf: Some(Refusal::for_good("no BTF")), ..ALL };
        assert_eq!(first(&host, Wanted::Auto, true), None);
    }

    #[test]
    fn without_rights_nothing_is_tried_and_each_step_says_why() {
        let refusal = Refusal::new("needs CAP_BPF", "run as root");
        let host = HostAllows { no_bpf: Some(refusal.clone()), ..ALL };
        let steps = plan(&host, Wanted::Auto, false);
        assert!(!steps.is_empty());
        assert!(steps.iter().all(|step| step.ruled_out == Some(refusal.clone())));
    }

    #[test]
    fn a_missing_right_costs_its_own_capability_alone() {
        let refusal = Refusal::for_good("no cgroup v2");
        let host = HostAllows { no_cgroup: Some(refusal.clone()), ..ALL };
        for step in plan(&host, Wanted::Auto, false) {
            let is_port_search = step.candidate.capability == Capability::PortSearch;
            assert_eq!(step.ruled_out, is_port_search.then(|| refusal.clone()));
        }
    }

    #[test]
    fn the_none_tier_attaches_nothing() {
        assert!(plan(&ALL, Wanted::Only(Tier::None), false).is_empty());
    }
}
