//! What `twtrace selftest` found, as text and as JSON.

use std::fmt::Write;

use anyhow::Result;
use serde::Serialize;

use crate::{
    probes::Tier,
    selftest::case::{Case, Verdict},
};

/// The findings.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `uname -r`.
    pub kernel: String,
    /// The tier that tells of mini-sockets, or else of transitions.
    pub tier: Tier,
    /// Every case, in the order of the table.
    pub cases: Vec<Case>,
}

impl Report {
    /// The gravest verdict.
    pub fn verdict(&self) -> Verdict {
        self.cases.iter().map(|case| case.verdict).max().unwrap_or(Verdict::Pass)
    }
}

/// As JSON, with its newline.
///
/// # Errors
/// None that a report can cause.
pub fn json(report: &Report) -> Result<String> {
    super::json::pretty(report)
}

/// As text, at most 80 columns wide.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_text(&mut out, report);
    out
}

fn write_text(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "Linux {}  probes {}", report.kernel, report.tier.name())?;
    writeln!(out, "\n{:<10}{:<50}{:>10}{:>10}", "VERDICT", "CASE", "EXPECTED", "SEEN")?;
    for case in &report.cases {
        write_case(out, case)?;
    }
    let count = |verdict| report.cases.iter().filter(|case| case.verdict == verdict).count();
    let [pass, inferred, fail] = [Verdict::Pass, Verdict::Inferred, Verdict::Fail].map(count);
    let all = report.cases.len();
    writeln!(out, "\n{all} cases: {pass} pass, {inferred} inferred, {fail} fail")
}

fn write_case(out: &mut String, case: &Case) -> std::fmt::Result {
    writeln!(out, "{:<10}{}", case.verdict.name(), case.name)?;
    for (key, expected) in &case.expected {
        let seen = case.seen.get(key).copied().flatten();
        let seen = seen.map_or_else(|| "-".to_owned(), |seen| seen.to_string());
        writeln!(out, "{:12}{key:<48}{:>10}{seen:>10}", "", expected.to_string())?;
    }
    if let Some(why) = &case.why {
        write_wrapped(out, why)?;
    }
    Ok(())
}

fn write_wrapped(out: &mut String, why: &str) -> std::fmt::Result {
    const WIDTH: usize = 68;
    let mut line = String::new();
    for word in why.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(out, "{:12}{line}", "")?;
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(out, "{:12}{line}", "")
}
