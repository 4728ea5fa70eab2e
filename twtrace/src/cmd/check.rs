//! `twtrace check`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};

use crate::{
    bpf::attach::{Attached, HookReport},
    config::Check,
    host,
    probes::{Capability, Hooks, Tier},
    view::check::{self, CapabilityLine, HookLine, Report},
};

/// Some capability has no hook.
const FINDINGS: u8 = 1;

/// Attaches everything as `top` would, reports, and detaches.
///
/// # Errors
/// An object that cannot be loaded, output that cannot be written.
pub fn run(config: &Check) -> Result<ExitCode> {
    let attached = super::attach(&config.trace)?;
    let report = report(&attached);
    drop(attached);
    let text = if config.json { check::json(&report)? } else { check::text(&report) };
    io::stdout().write_all(text.as_bytes()).context("cannot write the report")?;
    let traced = report.capabilities.iter().any(|line| line.tier.is_some());
    Ok(if traced { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) })
}

fn report(attached: &Attached) -> Report {
    let hooks = match &attached.session {
        Some(session) => Hooks {
            transitions: session.transitions.tier,
            fields_known: session.transitions.hook.fields_known,
        },
        None => Hooks::POLLING,
    };
    Report {
        kernel: host::read().kernel,
        hooks: attached.reports.iter().map(hook).collect(),
        capabilities: Capability::ALL.map(|capability| self::capability(capability, hooks)).into(),
        exactness: hooks.exactness(),
    }
}

fn hook(report: &HookReport) -> HookLine {
    HookLine {
        name: report.hook.place.to_string(),
        capability: report.capability,
        tier: report.tier,
        attached: report.refusal.is_none(),
        why: report.refusal.as_ref().map(|refusal| refusal.why.clone()),
        fix: report.refusal.as_ref().and_then(|refusal| refusal.fix.clone()),
        cost: None,
    }
}

fn capability(capability: Capability, hooks: Hooks) -> CapabilityLine {
    let (tier, lost) = match capability {
        Capability::Transitions if hooks.transitions == Tier::None => {
            (None, Some("closes, connects and closers; states come from sock_diag"))
        }
        Capability::Transitions => (
            Some(hooks.transitions),
            (!hooks.fields_known).then_some(
                "network namespaces, who reset, why a connect failed, when a process started",
            ),
        ),
        _ => (None, Some("not traced by this version of twtrace")),
    };
    CapabilityLine { capability, tier, lost: lost.map(str::to_owned) }
}
