//! What an event costs in a recording, in bytes, and to read again, in instructions.
//!
//! Of two recordings, one longer than the other: what the program does once cancels out. The
//! program is the static one that is shipped, so that no library of the machine is counted; which
//! variants of copying and of checksums it takes depends on the processor that valgrind shows it, which
//! is one with AVX2 on every machine that has it, whatever comes beyond. Without AVX2 it is 1 % less.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::baseline::Counts;
use crate::{apt, command};

/// One of the two.
#[derive(Clone, Copy, Debug)]
struct Recording {
    events: u64,
    bytes: u64,
    instructions: u64,
}

/// Of an event, each.
pub(super) fn costs(root: &Path, twtrace: &Path) -> Result<Counts> {
    apt::provide(&[("valgrind", "valgrind")])?;
    let folder = tempfile::tempdir().context("cannot create a folder for recordings")?;
    write(root, folder.path())?;
    let [short, long] = ["short", "long"].map(|name| Recording::of(folder.path(), name, twtrace));
    per_event(short?, long?)
}

/// The recordings are a test's, which holds them to be what they should be.
fn write(root: &Path, folder: &Path) -> Result<()> {
    let mut test = command::cargo(root, &["test", "--locked", "-p", "twtrace"]);
    test.args(["--test", "guard_recordings", "--quiet"]).env("TWTRACE_GUARD", folder);
    command::capture(&mut test).map(drop)
}

impl Recording {
    fn of(folder: &Path, name: &str, twtrace: &Path) -> Result<Self> {
        let (file, events) =
            (folder.join(format!("{name}.twt")), folder.join(format!("{name}.events")));
        let events = fs::read_to_string(&events).context("no test has written recordings")?;
        let bytes = fs::metadata(&file).context("no test has written recordings")?.len();
        let instructions = instructions(Command::new("valgrind").args([
            "--tool=callgrind".as_ref(),
            "--callgrind-out-file=/dev/null".as_ref(),
            twtrace.as_os_str(),
            "report".as_ref(),
            "--json".as_ref(),
            file.as_os_str(),
        ]))?;
        Ok(Self { events: events.parse().context("events are a number")?, bytes, instructions })
    }
}

/// valgrind says it at the end, on standard error.
fn instructions(valgrind: &mut Command) -> Result<u64> {
    let output = valgrind.output().context("cannot start valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "twtrace report under valgrind failed: {}", said.trim());
    collected(&said).with_context(|| format!("valgrind does not say what it counted: {said}"))
}

fn collected(said: &str) -> Option<u64> {
    let line = said.lines().rfind(|line| line.contains("Collected :"))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

fn per_event(short: Recording, long: Recording) -> Result<Counts> {
    let events = long.events.checked_sub(short.events).filter(|events| *events > 0);
    let events = events.context("the long recording has no more events than the short one")?;
    let more = |long: u64, short: u64| {
        long.checked_sub(short).context("more events cost less: something else was counted")
    };
    let instructions = more(long.instructions, short.instructions)? / events;
    let bytes = more(long.bytes, short.bytes)? * 1_000 / events;
    Ok(Counts::from([
        ("report.instructions_per_event".to_owned(), instructions),
        ("recording.bytes_per_1000_events".to_owned(), bytes),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_once_cancels_out() {
        let short = Recording { events: 10, bytes: 1_050, instructions: 5_000 };
        let long = Recording { events: 30, bytes: 1_150, instructions: 7_000 };
        let counts = per_event(short, long).expect("there are more");
        assert_eq!(counts["report.instructions_per_event"], 100);
        assert_eq!(counts["recording.bytes_per_1000_events"], 5_000);
        assert!(per_event(long, short).is_err());
    }

    #[test]
    fn valgrind_is_read() {
        let said = "==7== Events    : Ir\n==7== Collected : 123456\n==7== \n";
        assert_eq!(collected(said), Some(123_456));
        assert_eq!(collected("==7== killed"), None);
    }
}
