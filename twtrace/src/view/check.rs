//! What `twtrace check` found, as text and as JSON.

use std::{collections::BTreeMap, fmt::Write};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::probes::{Capability, Exactness, Tier};

/// The findings.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `uname -r`.
    pub kernel: String,
    /// Every hook that had its turn, in order.
    pub hooks: Vec<HookLine>,
    /// What that gives.
    pub capabilities: Vec<CapabilityLine>,
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
    /// Why not.
    pub why: Option<String>,
    /// What helps.
    pub fix: Option<String>,
    /// Nanoseconds per run. `null` in this version.
    pub cost: Option<f64>,
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
    let mut text = serde_json::to_string_pretty(report).context("cannot write JSON")?;
    text.push('\n');
    Ok(text)
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
        let mark = if hook.attached { "attached" } else { "refused" };
        writeln!(out, "  {mark:<9} {} ({})", hook.name, hook.tier.name())?;
        for (label, text) in [("why", &hook.why), ("fix", &hook.fix)] {
            if let Some(text) = text {
                writeln!(out, "            {label}: {text}")?;
            }
        }
    }
    if report.hooks.is_empty() {
        writeln!(out, "  none wanted")?;
    }
    writeln!(out, "\nCAPABILITIES")?;
    for line in &report.capabilities {
        let tier = line.tier.map_or("unavailable", Tier::name);
        writeln!(out, "  {:<12} {tier}", line.capability.name())?;
        if let Some(lost) = &line.lost {
            writeln!(out, "               missing: {lost}")?;
        }
    }
    writeln!(out, "\nEXACTNESS")?;
    for (word, keys) in by_word(report) {
        write_keys(out, word, &keys)?;
    }
    Ok(())
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
