//! What `twtrace doctor` has to say, as text and as JSON.

use std::fmt::{self, Write};

use anyhow::Result;

use super::text::format::{UNKNOWN, harmless_line, line};
use crate::doctor::{Diagnosis, finding::Finding, myths::Myth};

/// Wide enough for what matters, narrow enough for any terminal.
const WIDTH: usize = 80;
/// Where what a label is about begins.
const INDENT: usize = 11;

/// As one line of JSON.
///
/// # Errors
/// None that a diagnosis can cause.
pub fn json(diagnosis: &Diagnosis) -> Result<String> {
    super::json::object(diagnosis)
}

/// As text.
pub fn text(diagnosis: &Diagnosis) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_text(&mut out, diagnosis);
    out
}

fn write_text(out: &mut String, diagnosis: &Diagnosis) -> fmt::Result {
    let (host, window_s) = (&diagnosis.host, diagnosis.window_s);
    let head = format!("{}  Linux {}  {window_s:.1} s", host.hostname, host.kernel);
    line(out, &harmless_line(&head))?;
    match diagnosis.findings.len() {
        0 => writeln!(out, "nothing is wrong as far as could be seen")?,
        1 => writeln!(out, "1 finding")?,
        found => writeln!(out, "{found} findings, the worst first")?,
    }
    diagnosis.findings.iter().try_for_each(|it| finding(out, it))?;
    writeln!(out, "\nWHAT IS SAID OF TIME_WAIT, AND WHAT IS TRUE HERE")?;
    diagnosis.myths.iter().try_for_each(|it| myth(out, it))?;
    if !diagnosis.unknown.is_empty() {
        writeln!(out, "\nUNKNOWN")?;
        for it in &diagnosis.unknown {
            prose(out, "", &format!("{}: {}", it.what, it.why))?;
        }
    }
    Ok(())
}

fn finding(out: &mut String, it: &Finding) -> fmt::Result {
    let netns = it.netns.map_or(String::new(), |netns| format!("  netns {netns}"));
    writeln!(out, "\n{} {}{netns}", it.severity.name().to_uppercase(), it.id)?;
    prose(out, "what", &it.what)?;
    prose(out, "why", &it.why)?;
    prose(out, "do first", &it.do_first)?;
    for remedy in &it.then {
        command(out, "then", &remedy.command)?;
        prose(out, "", &remedy.side_effects)?;
    }
    for futile in &it.futile {
        prose(out, "no use", &format!("{}: {}", futile.advice, futile.because))?;
    }
    prose(out, "check", &it.check)
}

fn myth(out: &mut String, it: &Myth) -> fmt::Result {
    writeln!(out, "\n\"{}\"", it.claim)?;
    prose(out, "here", it.measured.as_deref().unwrap_or(UNKNOWN))?;
    prose(out, "verdict", it.verdict)
}

/// A label and words, broken where a line is full.
fn prose(out: &mut String, label: &str, text: &str) -> fmt::Result {
    let mut current = format!("  {label:<width$}", width = INDENT - 2);
    let mut empty = true;
    for word in harmless_line(text).split(' ') {
        if !empty && current.chars().count() + 1 + word.chars().count() > WIDTH {
            line(out, &current)?;
            current = " ".repeat(INDENT);
            empty = true;
        }
        if !empty {
            current.push(' ');
        }
        current.push_str(word);
        empty = false;
    }
    line(out, &current)
}

/// A command is to be copied, so it stays on one line.
fn command(out: &mut String, label: &str, command: &str) -> fmt::Result {
    line(out, &format!("  {label:<width$}{}", harmless_line(command), width = INDENT - 2))
}
