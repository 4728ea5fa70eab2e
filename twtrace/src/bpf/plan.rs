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
    /// The clock of each processor, many times a second.
    CpuClock,
    /// A kernel function; of several names the first that the kernel has.
    Function(Probe, &'static [&'static str]),
}

/// How a function is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// By trampoline, when it is called.
    Fentry,
    /// By trampoline, when it returns.
    Fexit,
    /// By breakpoint, when it is called.
    Kprobe,
    /// By breakpoint, when it returns.
    Kretprobe,
}

impl Probe {
    /// The name of its kind of program.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
        }
    }
}

impl Place {
    /// The same with one name each.
    pub fn alternatives(self) -> impl Iterator<Item = Self> {
        let names = match self {
            Self::Function(_, names) => names,
            _ => &[],
        };
        let each = (0..names.len()).map(move |name| match self {
            Self::Function(probe, names) => Self::Function(probe, &names[name..=name]),
            other => other,
        });
        each.chain(names.is_empty().then_some(self))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BtfTracepoint(name) => write!(f, "tp_btf/{name}"),
            Self::RawTracepoint(name) => write!(f, "raw_tp/{name}"),
            Self::Tracepoint(category, name) => write!(f, "tp/{category}/{name}"),
            Self::Cgroup(name) => write!(f, "cgroup/{name}"),
            Self::CpuClock => f.write_str("perf/cpu-clock"),
            Self::Function(probe, names) => write!(f, "{}/{}", probe.name(), names.join("|")),
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

    const fn function(program: &'static str, probe: Probe, names: &'static [&'static str]) -> Self {
        Self { program, place: Place::Function(probe, names), fields_known: true }
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

/// Before 6.12 a mini-socket was scheduled elsewhere.
const BORN: &[&str] = &["inet_twsk_hashdance_schedule", "inet_twsk_hashdance"];
/// A compiler may inline the first; the second runs when its last user lets go.
const KILLED: &[&str] = &["inet_twsk_kill", "tcp_twsk_destructor"];

/// Ends first, and their causes before them: a birth whose end nobody watches would
/// never end.
const TW_FENTRY: [Hook; 12] = [
    Hook::function("fentry_tw_fire", Probe::Fentry, &["tw_timer_handler"]),
    Hook::function("fexit_tw_judge", Probe::Fexit, &["tcp_timewait_state_process"]),
    Hook::function("fentry_tw_judge", Probe::Fentry, &["tcp_timewait_state_process"]),
    Hook::function("fexit_tw_unique", Probe::Fexit, &["tcp_twsk_unique"]),
    Hook::function("fexit_tw_abort", Probe::Fexit, &["tcp_abort"]),
    Hook::function("fentry_tw_abort", Probe::Fentry, &["tcp_abort"]),
    Hook::function("fexit_tw_purge", Probe::Fexit, &["inet_twsk_purge"]),
    Hook::function("fentry_tw_purge", Probe::Fentry, &["inet_twsk_purge"]),
    Hook::function("fentry_tw_kill", Probe::Fentry, KILLED),
    Hook::function("fentry_tw_rearm", Probe::Fentry, &["__inet_twsk_schedule"]),
    Hook::function("fexit_tw_alloc", Probe::Fexit, &["inet_twsk_alloc"]),
    Hook::function("fentry_tw_born", Probe::Fentry, BORN),
];
const TW_KPROBE: [Hook; 14] = [
    Hook::function("kprobe_tw_fire", Probe::Kprobe, &["tw_timer_handler"]),
    Hook::function("kretprobe_tw_judge", Probe::Kretprobe, &["tcp_timewait_state_process"]),
    Hook::function("kprobe_tw_judge", Probe::Kprobe, &["tcp_timewait_state_process"]),
    Hook::function("kretprobe_tw_unique", Probe::Kretprobe, &["tcp_twsk_unique"]),
    Hook::function("kprobe_tw_unique", Probe::Kprobe, &["tcp_twsk_unique"]),
    Hook::function("kretprobe_tw_abort", Probe::Kretprobe, &["tcp_abort"]),
    Hook::function("kprobe_tw_abort", Probe::Kprobe, &["tcp_abort"]),
    Hook::function("kretprobe_tw_purge", Probe::Kretprobe, &["inet_twsk_purge"]),
    Hook::function("kprobe_tw_purge", Probe::Kprobe, &["inet_twsk_purge"]),
    Hook::function("kprobe_tw_kill", Probe::Kprobe, KILLED),
    Hook::function("kprobe_tw_rearm", Probe::Kprobe, &["__inet_twsk_schedule"]),
    Hook::function("kprobe_tw_done", Probe::Kprobe, &["tcp_done"]),
    Hook::function("kprobe_tw_born", Probe::Kprobe, BORN),
    Hook::function("kprobe_tw_want", Probe::Kprobe, &["tcp_time_wait"]),
];

const TW_TIMER: [Hook; 3] = [
    Hook::tp_btf("tw_timer_expire", "timer_expire_entry"),
    Hook::tp_btf("tw_timer_cancel", "timer_cancel"),
    Hook::tp_btf("tw_timer_start", "timer_start"),
];
const SEARCH_FENTRY: [Hook; 4] = [
    Hook::function("fexit_connect", Probe::Fexit, &["__inet_hash_connect"]),
    Hook::function("fexit_bind", Probe::Fexit, &["inet_csk_get_port"]),
    Hook::function("fentry_connect", Probe::Fentry, &["__inet_hash_connect"]),
    Hook::function("fentry_bind", Probe::Fentry, &["inet_csk_get_port"]),
];
const SEARCH_KPROBE: [Hook; 4] = [
    Hook::function("kretprobe_connect", Probe::Kretprobe, &["__inet_hash_connect"]),
    Hook::function("kretprobe_bind", Probe::Kretprobe, &["inet_csk_get_port"]),
    Hook::function("kprobe_connect", Probe::Kprobe, &["__inet_hash_connect"]),
    Hook::function("kprobe_bind", Probe::Kprobe, &["inet_csk_get_port"]),
];
/// Ends of searches first: a search whose end nobody watches looks failed.
const PORT_BRACKET: [Hook; 5] = [
    Hook::cgroup("connect_found", "sock_ops"),
    Hook::cgroup("post_bind4", "post_bind4"),
    Hook::cgroup("post_bind6", "post_bind6"),
    Hook::cgroup("bind4", "bind4"),
    Hook::cgroup("bind6", "bind6"),
];

const CPU_SAMPLE: [Hook; 1] =
    [Hook { program: "cpu_sample", place: Place::CpuClock, fields_known: true }];

const TRIED_FENTRY: [Hook; 3] = [
    Hook::function("fentry_try_v4", Probe::Fentry, &["__inet_check_established"]),
    Hook::function("fentry_try_v6", Probe::Fentry, &["__inet6_check_established"]),
    Hook::function("fentry_try_bind", Probe::Fentry, &["inet_csk_bind_conflict"]),
];
const TRIED_KPROBE: [Hook; 3] = [
    Hook::function("kprobe_try_v4", Probe::Kprobe, &["__inet_check_established"]),
    Hook::function("kprobe_try_v6", Probe::Kprobe, &["__inet6_check_established"]),
    Hook::function("kprobe_try_bind", Probe::Kprobe, &["inet_csk_bind_conflict"]),
];

/// Programs of which the first runs whenever the second does: one that stays silent
/// then does not see what it is there for.
pub const COMPANIONS: [(&str, &str); 16] = [
    ("fexit_connect", "fentry_connect"),
    ("fentry_connect", "fexit_connect"),
    ("kretprobe_connect", "kprobe_connect"),
    ("kprobe_connect", "kretprobe_connect"),
    ("fexit_bind", "fentry_bind"),
    ("fentry_bind", "fexit_bind"),
    ("kretprobe_bind", "kprobe_bind"),
    ("kprobe_bind", "kretprobe_bind"),
    ("fexit_tw_judge", "fentry_tw_judge"),
    ("fentry_tw_judge", "fexit_tw_judge"),
    ("kretprobe_tw_judge", "kprobe_tw_judge"),
    ("kprobe_tw_judge", "kretprobe_tw_judge"),
    ("fexit_tw_alloc", "fentry_tw_born"),
    ("kprobe_tw_want", "kprobe_tw_born"),
    ("fentry_tw_kill", "fentry_tw_fire"),
    ("kprobe_tw_kill", "kprobe_tw_fire"),
];

/// All there is to try, best first within a tier.
///
/// What follows a transition comes before transitions: a close whose birth
/// nobody watches looks refused.
///
/// Transitions are tracepoints on every tier; what differs is which of them a
/// kernel of that tier has. CPU samples are the same on every tier.
pub const CANDIDATES: &[Candidate] = &[
    time_wait(Tier::Fentry, &TW_FENTRY),
    time_wait(Tier::Kprobe, &TW_KPROBE),
    time_wait(Tier::Tracepoint, &TW_TIMER),
    port_search(Tier::Fentry, &SEARCH_FENTRY),
    port_search(Tier::Kprobe, &SEARCH_KPROBE),
    port_search(Tier::Tracepoint, &PORT_BRACKET),
    ports_tried(Tier::Fentry, &TRIED_FENTRY),
    ports_tried(Tier::Kprobe, &TRIED_KPROBE),
    cpu_share(Tier::Fentry),
    cpu_share(Tier::Kprobe),
    cpu_share(Tier::Tracepoint),
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

const fn time_wait(tier: Tier, hooks: &'static [Hook]) -> Candidate {
    Candidate { capability: Capability::TimeWait, tier, hooks }
}

const fn port_search(tier: Tier, hooks: &'static [Hook]) -> Candidate {
    Candidate { capability: Capability::PortSearch, tier, hooks }
}

const fn cpu_share(tier: Tier) -> Candidate {
    Candidate { capability: Capability::CpuShare, tier, hooks: &CPU_SAMPLE }
}

const fn ports_tried(tier: Tier, hooks: &'static [Hook]) -> Candidate {
    Candidate { capability: Capability::PortsTried, tier, hooks }
}

/// What the user leaves out or asks for, besides tiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extras {
    /// The search for a port.
    pub searches: bool,
    /// CPU samples.
    pub samples: bool,
    /// The number of ports each search looks at.
    pub tried: bool,
}

impl Extras {
    /// Whether `capability` is wanted at all.
    pub const fn want(self, capability: Capability) -> bool {
        match capability {
            Capability::PortSearch => self.searches,
            Capability::CpuShare => self.samples,
            Capability::PortsTried => self.tried,
            _ => true,
        }
    }
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
pub fn plan(host: &HostAllows, wanted: Wanted, extras: Extras, netns_filter: bool) -> Vec<Step> {
    CANDIDATES
        .iter()
        .filter(|candidate| extras.want(candidate.capability) && is_wanted(candidate, wanted))
        .map(|candidate| Step {
            candidate: *candidate,
            ruled_out: rule_out(host, candidate, netns_filter),
        })
        .collect()
}

/// Left to itself, twtrace calls transitions and samples by the tier that needs least: a
/// kernel without trampolines or breakpoints gives them just as well.
fn is_wanted(candidate: &Candidate, wanted: Wanted) -> bool {
    match wanted {
        Wanted::Auto => {
            let is_everywhere =
                matches!(candidate.capability, Capability::Transitions | Capability::CpuShare);
            !is_everywhere || candidate.tier == Tier::Tracepoint
        }
        Wanted::Only(tier) => candidate.tier == tier,
    }
}

fn rule_out(host: &HostAllows, candidate: &Candidate, netns_filter: bool) -> Option<Refusal> {
    let needs = match (candidate.capability, candidate.tier) {
        (Capability::CpuShare, _) | (Capability::TimeWait, Tier::Tracepoint) => &host.no_symbols,
        (Capability::PortSearch, Tier::Tracepoint) => &host.no_cgroup,
        (Capability::TimeWait | Capability::PortSearch | Capability::PortsTried, Tier::Kprobe) => {
            &host.no_kprobes
        }
        _ => &None,
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
        no_kprobes: None,
        no_symbols: None,
        no_cgroup: None,
        timewait: None,
        sampled: None,
        cgroup: None,
    };
    const EXTRAS: Extras = Extras { searches: true, samples: true, tried: true };

    fn first(host: &HostAllows, wanted: Wanted, netns_filter: bool) -> Option<Place> {
        plan(host, wanted, EXTRAS, netns_filter)
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
        let steps = plan(&host, Wanted::Auto, EXTRAS, false);
        assert!(!steps.is_empty());
        assert!(steps.iter().all(|step| step.ruled_out == Some(refusal.clone())));
    }

    #[test]
    fn a_missing_right_costs_its_own_capability_alone() {
        let refusal = Refusal::for_good("no cgroup v2");
        let host = HostAllows { no_cgroup: Some(refusal.clone()), ..ALL };
        for step in plan(&host, Wanted::Auto, EXTRAS, false) {
            let needs_cgroup = step.candidate.hooks.contains(&PORT_BRACKET[0]);
            assert_eq!(step.ruled_out, needs_cgroup.then(|| refusal.clone()));
        }
    }

    #[test]
    fn the_none_tier_attaches_nothing() {
        assert!(plan(&ALL, Wanted::Only(Tier::None), EXTRAS, false).is_empty());
    }

    #[test]
    fn what_costs_more_is_planned_only_where_asked_for() {
        let none = Extras { searches: true, samples: false, tried: false };
        let has = |extras, capability| {
            let steps = plan(&ALL, Wanted::Auto, extras, false);
            steps.iter().any(|step| step.candidate.capability == capability)
        };
        for capability in [Capability::CpuShare, Capability::PortsTried] {
            assert!(has(EXTRAS, capability) && !has(none, capability), "{capability:?}");
        }
    }
}
