//! `twtrace selftest`.

use std::{
    io::{self, Read, Write},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};

use crate::{
    bpf::{
        attach::{HookReport, Session},
        plan::Wanted,
    },
    config::Selftest as Config,
    host,
    probes::{Capability, Hooks, Tier},
    selftest::{INTERVAL, Selftest, Stage, case::Verdict},
    source::{Interval, Reaches, live},
    view::selftest::{Report, json, text},
};

/// Some case failed.
const FINDINGS: u8 = 1;

/// Plays every case, compares, and leaves nothing behind.
///
/// # Errors
/// Nothing to test with, no rights to make network namespaces, output that
/// cannot be written.
pub fn run(config: &Config) -> Result<ExitCode> {
    if config.trace.wanted == Wanted::Only(Tier::None) {
        bail!("selftest tests hooks, and --probes none has none: leave it out");
    }
    let stage = Stage::set(config.quick)?;
    let session = session(config)?;
    let hooks = session.hooks;
    let source = live::start(session, Reaches::default(), None, Interval::new(INTERVAL))?;
    let cases = Selftest::new(stage, source, config.trace.max_connections).run()?;
    let report = Report { kernel: host::read().kernel, tier: tier(hooks), cases };
    let shown = if config.json { json(&report)? } else { text(&report) };
    io::stdout().write_all(shown.as_bytes()).context("cannot write the report")?;
    let found = report.verdict() == Verdict::Fail;
    Ok(if found { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
}

/// Attaches, and refuses to test less than what was asked for.
fn session(config: &Config) -> Result<Session> {
    let attached = super::attach(&config.trace)?;
    let is_needed = |report: &HookReport| {
        config.trace.wanted != Wanted::Auto || report.capability == Capability::Transitions
    };
    if let Some((report, refusal)) = attached.missing().find(|(report, _)| is_needed(report)) {
        let (hook, tier) = (report.hook.place, report.tier.name());
        bail!("{hook} ({tier}) cannot attach: {refusal}; `twtrace check` lists every hook");
    }
    super::warn_of_missing(&attached);
    match attached.session {
        Some(session) if session.hooks.fields_known => Ok(session),
        Some(_) => bail!(
            "the only hook that attaches cannot tell network namespaces apart: use a kernel built \
             with CONFIG_DEBUG_INFO_BTF"
        ),
        None => bail!("there is no hook to attach; `twtrace check` says more"),
    }
}

fn tier(hooks: Hooks) -> Tier {
    hooks.tier(Capability::EndCause).unwrap_or(hooks.transitions)
}

/// What `selftest` starts as a process of its own: holds the connection that is
/// its standard input, until it is killed or can read a byte or the end.
pub fn hold() -> ExitCode {
    // Whatever comes ends it.
    let _ = io::stdin().lock().read(&mut [0]);
    ExitCode::SUCCESS
}
