//! What `twtrace check` found, as text and as JSON.

use std::{collections::BTreeMap, fmt::Write};

use anyhow::Result;
use serde::Serialize;

use crate::probes::{Capability, Exactness, Tier};

/// The findings.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `uname -r`.
    pub kernel: String,
    /// Nanoseconds that measuring adds to each run, taken off the costs; `null`
    /// if that could not be measured.
    pub measuring_ns: Option<f64>,
    /// Every hook that had its turn, in order.
    pub hooks: Vec<HookLine>,
    /// What that gives.
    pub capabilities: Vec<CapabilityLine>,
    /// The capabilities of the process, and what each is for.
    pub rights: Vec<RightLine>,
    /// Why some of the sockets that exist cannot be seen; `None` if all can.
    pub sockets_left_out: Option<String>,
    /// How exact each key of the Snapshot is.
    pub exactness: BTreeMap<String, Option<Exactness>>,
}

/// One hook.
#[derive(Clone, Debug, Serialize)]
pub struct HookLine {
    /// Such as `tp_btf/inet_sock_set_state`.
    pub name: String,
    /// What it gives.
    pub capability: Capability,
    /// Its tier.
    pub tier: Tier,
    /// Whether it attached.
    pub attached: bool,
    /// Why not, or what is suspicious about it.
    pub why: Option<String>,
    /// What helps.
    pub fix: Option<String>,
    /// What it cost within the second it was watched; `null` if that could not
    /// be measured.
    pub cost: Option<Cost>,
}

/// What a hook cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// Runs per second.
    pub runs_per_s: f64,
    /// Nanoseconds per run; `null` if it did not run.
    pub ns_per_run: Option<f64>,
    /// CPU of that, as a share of one core in percent; `null` if it did not run.
    pub core_pct: Option<f64>,
}

/// One right.
#[derive(Clone, Debug, Serialize)]
pub struct RightLine {
    /// Its name, such as `CAP_BPF`.
    pub right: &'static str,
    /// Whether the process has it, or one that stands for it.
    pub held: bool,
    /// What it is for: without it, that is unavailable.
    pub buys: &'static str,
    /// What helps; `None` if it is held.
    pub fix: Option<String>,
}

/// One capability.
#[derive(Clone, Debug, Serialize)]
pub struct CapabilityLine {
    /// Which.
    pub capability: Capability,
    /// By which tier; `None` if not at all.
    pub tier: Option<Tier>,
    /// What is missing; `None` if nothing.
    pub lost: Option<String>,
}

/// As JSON, with its newline.
///
/// # Errors
/// None that a report can cause.
pub fn json(report: &Report) -> Result<String> {
    super::json::pretty(report)
}

/// As text.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_text(&mut out, report);
    out
}

fn write_text(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "Linux {}", report.kernel)?;
    writeln!(out, "\nHOOKS")?;
    for hook in &report.hooks {
        let mark = match (hook.attached, &hook.why) {
            (true, None) => "attached",
            (true, Some(_)) => "silent",
            (false, _) => "refused",
        };
        writeln!(out, "  {mark:<9} {} ({})", hook.name, hook.tier.name())?;
        let cost = hook.cost.as_ref().map(cost);
        for (label, text) in [("why", &hook.why), ("fix", &hook.fix), ("cost", &cost)] {
            if let Some(text) = text {
                writeln!(out, "            {label}: {text}")?;
            }
        }
    }
    if report.hooks.is_empty() {
        writeln!(out, "  none wanted")?;
    }
    if let Some(ns) = report.measuring_ns {
        writeln!(out, "  (costs within one second, without the {ns:.0} ns of measuring a run)")?;
    }
    writeln!(out, "\nCAPABILITIES")?;
    for line in &report.capabilities {
        let tier = line.tier.map_or("unavailable", Tier::name);
        writeln!(out, "  {:<12} {tier}", line.capability.name())?;
        if let Some(lost) = &line.lost {
            writeln!(out, "               missing: {lost}")?;
        }
    }
    write_rights(out, &report.rights)?;
    if let Some(why) = &report.sockets_left_out {
        writeln!(out, "  some sockets are left out: {why}")?;
    }
    writeln!(out, "\nEXACTNESS")?;
    for (word, keys) in by_word(report) {
        write_keys(out, word, &keys)?;
    }
    Ok(())
}

fn write_rights(out: &mut String, rights: &[RightLine]) -> std::fmt::Result {
    writeln!(out, "\nRIGHTS")?;
    for line in rights {
        let held = if line.held { "held" } else { "missing" };
        writeln!(out, "  {:<19}  {held:<7}  {}", line.right, line.buys)?;
    }
    if rights.iter().any(|line| !line.held) {
        writeln!(out, "  what is missing is unavailable: run as root, or give it to a unit or a")?;
        writeln!(out, "  file, and check again")?;
    }
    Ok(())
}

fn cost(cost: &Cost) -> String {
    match (cost.ns_per_run, cost.core_pct) {
        (Some(ns), Some(pct)) => {
            format!("{:.0} runs/s × {ns:.0} ns = {pct:.3} % of a core", cost.runs_per_s)
        }
        _ => "unknown: it did not run within a second".to_owned(),
    }
}

fn by_word(report: &Report) -> BTreeMap<&'static str, Vec<&str>> {
    let mut words: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for (key, exactness) in &report.exactness {
        let word = match exactness {
            Some(Exactness::Exact) => "exact",
            Some(Exactness::Inferred) => "inferred",
            Some(Exactness::UpperBound) => "upper bound",
            None => "unavailable",
        };
        words.entry(word).or_default().push(key);
    }
    words
}

/// Keys of one word, wrapped at 80 columns.
fn write_keys(out: &mut String, word: &str, keys: &[&str]) -> std::fmt::Result {
    const INDENT: usize = 15;
    const WIDTH: usize = 80;
    write!(out, "  {word:<12}")?;
    let mut column = INDENT - 1;
    for (index, key) in keys.iter().enumerate() {
        if index > 0 && column + 1 + key.len() > WIDTH {
            write!(out, "\n{:INDENT$}{key}", "")?;
            column = INDENT + key.len();
        } else {
            write!(out, " {key}")?;
            column += 1 + key.len();
        }
    }
    writeln!(out)
}
