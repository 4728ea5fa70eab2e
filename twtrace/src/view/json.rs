//! One Snapshot, one line of JSON.

use anyhow::{Context, Result};

use crate::stats::snapshot::Snapshot;

/// `snapshot` as JSON, with its newline.
///
/// # Errors
/// None that a Snapshot can cause.
pub fn line(snapshot: &Snapshot) -> Result<String> {
    let mut line = serde_json::to_string(snapshot).context("cannot write JSON")?;
    line.push('\n');
    Ok(line)
}
