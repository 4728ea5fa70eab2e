//! `twtrace check`.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use log::warn;

use crate::{
    bpf::{
        attach::{Attached, HookReport},
        cost::Costs,
        plan::{COMPANIONS, Extras},
    },
    config::Check,
    host::{self, Capabilities},
    probes::{Capability, Exactness, Hooks, Tier},
    source,
    stats::snapshot::Probes,
    view::check::{self, CapabilityLine, Cost, HookLine, Report, RightLine},
};

/// Some capability has no hook, or a hook is suspicious.
const FINDINGS: u8 = 1;
/// How long the programs are watched for what they cost.
const WATCHED: Duration = Duration::from_secs(1);

/// Attaches everything as `top` would, watches what it costs, and detaches.
///
/// # Errors
/// An object that cannot be loaded, output that cannot be written.
pub fn run(config: &Check) -> Result<ExitCode> {
    let mut attached = super::attach(&config.trace)?;
    let costs = costs(&mut attached);
    let left_out = source::sockets_left_out(config.trace.netns);
    let report = report(&attached, config.trace.extras(), costs.as_ref(), left_out);
    drop(attached);
    let text = if config.json { check::json(&report)? } else { check::text(&report) };
    io::stdout().write_all(text.as_bytes()).context("cannot write the report")?;
    let complete = report.capabilities.iter().all(|line| line.lost.is_none())
        && report.hooks.iter().all(|hook| !hook.attached || hook.why.is_none())
        && report.sockets_left_out.is_none()
        && report.rights.iter().all(|line| line.held || !decides_alone(line));
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) })
}

/// `None` if nothing is attached or nothing may be measured.
fn costs(attached: &mut Attached) -> Option<Costs> {
    let measured = attached.session.as_mut()?.costs(WATCHED);
    measured.map_err(|error| warn!("costs are unavailable: {error:#}")).ok()
}

fn report(
    attached: &Attached,
    extras: Extras,
    costs: Option<&Costs>,
    left_out: Option<String>,
) -> Report {
    let wanted = Capability::ALL.into_iter().filter(|capability| extras.want(*capability));
    let hooks = attached.session.as_ref().map_or(Hooks::POLLING, |session| session.hooks);
    Report {
        kernel: host::read().kernel,
        measuring_ns: costs.and_then(|costs| costs.measuring_ns),
        hooks: attached.reports.iter().map(|report| hook(report, costs)).collect(),
        rights: rights(host::capabilities()),
        capabilities: wanted.map(|capability| self::capability(capability, hooks)).collect(),
        exactness: exactness(hooks, left_out.is_none()),
        sockets_left_out: left_out,
    }
}

/// What each is for, beside what hooks say of their own.
const RIGHTS: [(host::Capability, &str); 7] = [
    (host::Capability::Bpf, "programs and maps: all that is traced"),
    (host::Capability::Perfmon, "programs that trace: all that is traced"),
    (host::Capability::Syslog, "kernel addresses: births and ends of TIME_WAIT"),
    (host::Capability::NetAdmin, "cgroup hooks: searches for a local port"),
    (host::Capability::SysAdmin, "what is in other network namespaces; costs"),
    (host::Capability::SysPtrace, "which other namespaces there are; who holds"),
    (host::Capability::DacReadSearch, "who holds sockets, of other users"),
];

fn rights(own: Capabilities) -> Vec<RightLine> {
    let line = |(right, buys): (host::Capability, &'static str)| {
        let held = own.suffice_for(right);
        let fix = || format!("run as root, or give {} to the unit or the binary", right.name());
        RightLine { right: right.name(), held, buys, fix: (!held).then(fix) }
    };
    RIGHTS.into_iter().map(line).collect()
}

/// Whether nothing else in the report tells of what is lost without it.
fn decides_alone(line: &RightLine) -> bool {
    [host::Capability::SysPtrace, host::Capability::DacReadSearch]
        .into_iter()
        .any(|right| right.name() == line.right)
}

/// As `top` will say it at first.
fn exactness(hooks: Hooks, sees_all: bool) -> BTreeMap<String, Option<Exactness>> {
    let seen = if sees_all { Exactness::Exact } else { Exactness::Inferred };
    let probes = if hooks.tier(Capability::EndCause).is_some() {
        Probes::followed(hooks, Some(seen), seen)
    } else {
        Probes::polled(hooks, Some(seen), Some(seen), Some(seen))
    };
    let mut words = probes.exactness;
    words.insert("close_wait".to_owned(), Some(seen));
    words
}

fn hook(report: &HookReport, costs: Option<&Costs>) -> HookLine {
    let measured = costs.and_then(|costs| costs.by_program.get(report.hook.program));
    HookLine {
        name: report.hook.place.to_string(),
        capability: report.capability,
        tier: report.tier,
        attached: report.refusal.is_none(),
        why: match &report.refusal {
            Some(refusal) => Some(refusal.why.clone()),
            None => costs.and_then(|costs| silent(report.hook.program, costs)),
        },
        fix: report.refusal.as_ref().and_then(|refusal| refusal.fix.clone()),
        cost: measured.filter(|_| report.refusal.is_none()).map(|cost| Cost {
            runs_per_s: cost.runs_per_s,
            ns_per_run: cost.ns_per_run,
            core_pct: cost.ns_per_run.map(|ns| cost.runs_per_s * ns / 1e7),
        }),
    }
}

/// Below this an entry may have been seen without its exit, or the other way round.
const SURELY_RUNS_PER_S: f64 = 10.0;

/// Why it is suspicious that an attached program did not run.
fn silent(program: &str, costs: &Costs) -> Option<String> {
    let runs = |name: &str| costs.by_program.get(name).map_or(0.0, |cost| cost.runs_per_s);
    let companions = COMPANIONS.iter().filter(|(first, _)| *first == program);
    let busy = companions.map(|(_, second)| *second).find(|&name| runs(name) >= SURELY_RUNS_PER_S);
    let per_s = busy.map(runs).filter(|_| runs(program) == 0.0)?;
    Some(format!(
        "suspicious: it attached and did not run, while its companion ran {per_s:.0} times a second"
    ))
}

fn capability(capability: Capability, hooks: Hooks) -> CapabilityLine {
    let tier = hooks.tier(capability);
    let lost = match (capability, tier) {
        (Capability::Transitions, None) => {
            Some("closes, connects and closers; states come from sock_diag")
        }
        (Capability::Transitions, Some(_)) if !hooks.fields_known => {
            Some("network namespaces, who reset, why a connect failed, when a process started")
        }
        (Capability::TimeWait, None) => Some("births, ends and lifetimes of TIME_WAIT sockets"),
        (Capability::TimeWait, Some(Tier::None)) => {
            Some("what lives and ends between two looks; lifetimes and whose they are")
        }
        (Capability::EndCause, None) => Some("what ended each TIME_WAIT socket"),
        (Capability::PortSearch, None) => Some("searches for a local port and their latency"),
        (Capability::CpuShare, None) => Some("the CPU that searches for a local port cost"),
        (Capability::PortsTried, None) => {
            Some("how many ports each search looks at, which only a probed function tells")
        }
        _ => None,
    };
    CapabilityLine { capability, tier, lost: lost.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::cost;

    fn costs(runs: &[(&str, f64)]) -> Costs {
        let cost = |runs_per_s| cost::Cost { runs_per_s, ns_per_run: None };
        let by_program = runs.iter().map(|(name, runs)| ((*name).to_owned(), cost(*runs)));
        Costs { measuring_ns: None, by_program: by_program.collect() }
    }

    #[test]
    fn a_program_that_stays_silent_while_its_companion_runs_is_suspicious() {
        let busy = costs(&[("fentry_connect", 100.0), ("fexit_connect", 0.0)]);
        assert!(silent("fexit_connect", &busy).is_some_and(|why| why.contains("100 times")));
        assert_eq!(silent("fentry_connect", &busy), None, "it runs");
        let idle = costs(&[("fentry_connect", 1.0), ("fexit_connect", 0.0)]);
        assert_eq!(silent("fexit_connect", &idle), None, "the window may have cut one in two");
        assert_eq!(silent("state_tp_btf", &busy), None, "it has no companion");
    }

    #[test]
    fn each_right_is_there_or_has_its_fix() {
        let all: Vec<_> = RIGHTS.iter().map(|(right, _)| *right).collect();
        assert_eq!(all, host::Capability::ALL);
        for line in rights(Capabilities(0)) {
            assert!(!line.held && line.fix.is_some_and(|fix| fix.contains(line.right)));
        }
        let held = |own| {
            let lines = rights(Capabilities(own)).into_iter().filter(|line| line.held);
            lines.map(|line| line.right).collect::<Vec<_>>()
        };
        assert_eq!(held(1 << 2 | 1 << 39), ["CAP_BPF", "CAP_DAC_READ_SEARCH"]);
        // What stands for others.
        let by_admin = ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"];
        assert_eq!(held(1 << 21), by_admin);
        assert_eq!(held(1 << 1), ["CAP_DAC_READ_SEARCH"]);
    }

    #[test]
    fn companions_are_programs_of_the_plan() {
        let known: Vec<_> = crate::bpf::plan::CANDIDATES
            .iter()
            .flat_map(|candidate| candidate.hooks.iter().map(|hook| hook.program))
            .collect();
        for (first, second) in COMPANIONS {
            assert!(known.contains(&first) && known.contains(&second), "{first} {second}");
        }
    }
}
