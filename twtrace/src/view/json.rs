//! JSON: a Snapshot as one line, a report as several.

use anyhow::{Context, Result};
use serde::Serialize;

use crate::stats::snapshot::Snapshot;

/// `snapshot` as JSON, with its newline.
///
/// # Errors
/// None that a Snapshot can cause.
pub fn line(snapshot: &Snapshot) -> Result<String> {
    object(snapshot)
}

/// One object on one line, with its newline.
pub(super) fn object(report: &impl Serialize) -> Result<String> {
    let mut line = serde_json::to_string(report).context("cannot write JSON")?;
    line.push('\n');
    Ok(line)
}

/// One object over several lines, with its newline.
pub(super) fn pretty(report: &impl Serialize) -> Result<String> {
    let mut text = serde_json::to_string_pretty(report).context("cannot write JSON")?;
    text.push('\n');
    Ok(text)
}
