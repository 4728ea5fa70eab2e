//! What the screen shows, as a file.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, time::SystemTime};

use anyhow::{Context, Result};

use crate::{stats::snapshot::Snapshot, view::json};

/// Writes `snapshot` to a file in the current folder that was not there; returns its name.
///
/// # Errors
/// It is there, or cannot be written.
pub(super) fn export(snapshot: &Snapshot) -> Result<String> {
    let digits = |c: &char| c.is_ascii_digit();
    // 2026-11-21T16:20:02Z
    let time: String = humantime::format_rfc3339_seconds(SystemTime::now())
        .to_string()
        .chars()
        .filter(digits)
        .collect();
    let (date, time) = time.split_at(8);
    let name = format!("twtrace-{date}-{time}.json");
    let cannot = || format!("cannot write {name}");
    // It tells of processes what only root may know.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&name)
        .with_context(cannot)?;
    file.write_all(json::line(snapshot)?.as_bytes()).with_context(cannot)?;
    Ok(name)
}
