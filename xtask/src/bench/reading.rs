//! What it takes to read a recording.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::command;

/// Tells what a process took that is gone: GNU time, since /proc keeps no memory of one.
pub(super) const COMMAND: (&str, &str) = ("time", "time");
/// Seconds of CPU in user and kernel space, and the most kilobytes that were in RAM.
const FORMAT: &str = "%U %S %M";

/// What reading some files took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reading {
    /// How
    pub(super) what: &'static str,
    /// Events in the files
    pub(super) events: u64,
    /// By the clock on the wall
    pub(super) seconds: f64,
    /// CPU time, user and kernel, to 10 ms
    pub(super) cpu_s: f64,
    /// The most memory it had, in bytes
    pub(super) rss: u64,
}

/// A report, and whether it is true.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Report {
    /// What it took
    pub(super) reading: Reading,
    /// Closes that the churn made, of both ends
    pub(super) closes: u64,
    /// Those that the report tells of it
    pub(super) told: u64,
}

/// Ways to read a file, and their arguments; what they write is thrown away.
const WAYS: [(&str, &[&str]); 6] = [
    ("verify", &["verify"]),
    ("report --html", &["report", "--html", "/dev/null"]),
    ("export parquet", &["export", "--format", "parquet", "-o", "/dev/null"]),
    ("export csv", &["export", "--format", "csv", "-o", "/dev/null"]),
    (
        "  parquet --connections",
        &["export", "--format", "parquet", "--connections", "-o", "/dev/null"],
    ),
    ("  csv --connections", &["export", "--format", "csv", "--connections", "-o", "/dev/null"]),
];

impl Reading {
    /// Events per second of CPU.
    pub(super) fn per_cpu_s(&self) -> Option<f64> {
        (self.cpu_s > 0.0).then(|| self.events as f64 / self.cpu_s)
    }

    /// Events per second.
    pub(super) fn per_s(&self) -> f64 {
        self.events as f64 / self.seconds
    }

    /// In every way but as a report.
    pub(super) fn all(twtrace: &Path, file: &Path, events: u64) -> Result<Vec<Self>> {
        let of = |&(what, arguments): &(&'static str, &[&str])| {
            eprintln!("recording: {}", what.trim());
            let files = [file.to_owned()];
            Ok(Self::run(what, twtrace, arguments, &files, events)?.0)
        };
        WAYS.iter().map(of).collect()
    }

    /// Returns what was printed, too.
    pub(super) fn run(
        what: &'static str,
        twtrace: &Path,
        arguments: &[&str],
        files: &[PathBuf],
        events: u64,
    ) -> Result<(Self, String)> {
        let took = tempfile::NamedTempFile::new().context("cannot create a temporary file")?;
        let options = [OsStr::new("-f"), FORMAT.as_ref(), "-o".as_ref(), took.path().as_ref()];
        let mut command = Command::new(COMMAND.0);
        command.args(options).arg(twtrace).args(arguments).args(files);
        let begun = Instant::now();
        let printed = command::capture(&mut command)?;
        let seconds = begun.elapsed().as_secs_f64();
        let text = fs::read_to_string(took.path()).context("cannot read what time wrote")?;
        let (cpu_s, rss) = parse_took(&text).context("time wrote something else than asked")?;
        Ok((Self { what, events, seconds, cpu_s, rss }, printed))
    }
}

impl Report {
    /// Of files with so many events, in which the process `pid` closed so many sockets.
    pub(super) fn of(
        what: &'static str,
        twtrace: &Path,
        files: &[PathBuf],
        events: u64,
        (pid, closes): (u32, u64),
    ) -> Result<Self> {
        eprintln!("recording: {what}");
        let arguments = ["report", "--json"];
        let (reading, printed) = Reading::run(what, twtrace, &arguments, files, events)?;
        Ok(Self { reading, closes, told: closes_of(pid, &printed)? })
    }
}

fn parse_took(text: &str) -> Option<(f64, u64)> {
    let mut words = text.lines().last()?.split_whitespace();
    let user: f64 = words.next()?.parse().ok()?;
    let system: f64 = words.next()?.parse().ok()?;
    let kilobytes: u64 = words.next()?.parse().ok()?;
    Some((user + system, kilobytes * 1024))
}

/// Closes by a process in a Snapshot, first or answered. Others on the host close sockets too.
fn closes_of(pid: u32, printed: &str) -> Result<u64> {
    let snapshot: Value = serde_json::from_str(printed).context("twtrace printed no JSON")?;
    let rows = snapshot["closers"].as_array().context("the report tells no closers")?;
    let of_it = rows.iter().filter(|row| row["pid"].as_u64() == Some(pid.into()));
    let closes = |row: &Value| Some(row["active_closes"].as_u64()? + row["peer_closes"].as_u64()?);
    let closes: Option<Vec<u64>> = of_it.map(closes).collect();
    let closes = closes.context("a closer without a count")?;
    ensure!(!closes.is_empty(), "the report knows no process {pid}");
    Ok(closes.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_time_writes_is_read() {
        assert_eq!(parse_took("0.25 0.50 2048\n"), Some((0.75, 2_097_152)));
        assert_eq!(parse_took("Command exited\n1.00 0.00 1\n"), Some((1.0, 1024)));
        assert_eq!(parse_took(""), None);
    }

    #[test]
    fn closes_are_of_one_process() {
        let printed = r#"{"closers":[{"pid":7,"active_closes":3,"peer_closes":0},
            {"pid":8,"active_closes":9,"peer_closes":9},
            {"pid":7,"active_closes":0,"peer_closes":2}]}"#;
        assert_eq!(closes_of(7, printed).expect("it is there"), 5);
        assert!(closes_of(9, printed).is_err());
        assert!(closes_of(7, r#"{"closers":null}"#).is_err());
    }

    #[test]
    fn no_time_gives_no_rate() {
        let reading = Reading { what: "", events: 9, seconds: 3.0, cpu_s: 0.0, rss: 0 };
        assert_eq!(reading.per_cpu_s(), None);
        assert!((reading.per_s() - 3.0).abs() < 1e-9);
    }
}
