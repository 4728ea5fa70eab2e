//! A minute of connections at full speed, recorded: what is lost, and whether what is left adds up.
//!
//! The recorder runs in the namespace of the connections, since that is where it compares its
//! counts with the kernel's: it sees the whole host all the same. It goes on until every TIME_WAIT
//! socket has ended by itself, a minute later, so that births and ends are both of full speed.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::binaries::Binaries;
use super::churn::{self, Churn, Done};
use super::netns::{self, Room};
use super::number::grouped;
use super::process;
use super::recorder::{Recorded, Recorder};
use crate::command;

/// Quiet time, as in the runs that are compared.
const SETTLE: Duration = Duration::from_secs(2);
/// Connections that tell how many a second has.
const TRIAL: u64 = 20_000;
/// TIME_WAIT lasts a minute, and timers may be late.
const LIMIT: Duration = Duration::from_secs(100);
/// How often that is looked at.
const POLL: Duration = Duration::from_millis(200);

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// How long connections are made
    seconds: u64,
    /// Whether their TIME_WAIT sockets are waited for
    to_the_end: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Endurance {
    /// The connections
    pub(super) done: Done,
    /// What the recorder told at its end
    pub(super) recorded: Recorded,
    /// Its memory when the last connection was made, in bytes
    pub(super) rss: u64,
    /// TIME_WAIT sockets then, as the kernel counts them
    pub(super) time_wait: u64,
    /// What the report of the recording tells
    pub(super) told: Told,
}

/// What a report tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    /// State transitions
    pub(super) transitions: u64,
    /// Transitions and ends of sockets it should have known
    pub(super) unmatched: u64,
    /// Sockets forgotten because the table was full
    pub(super) evicted: u64,
    /// Its counts minus the kernel's, by name; nothing where this kernel counts otherwise
    pub(super) differences: Vec<(String, Option<i64>)>,
}

impl Scale {
    /// As the target has it.
    pub(super) const FULL: Self = Self { seconds: 60, to_the_end: true };
    /// For a look: nothing ends yet.
    pub(super) const QUICK: Self = Self { seconds: 10, to_the_end: false };

    /// Measures, and says on the error output how far it is.
    pub(super) fn run(self, binaries: &Binaries) -> Result<Endurance> {
        let rate = Churn::of(TRIAL, 1).run(&binaries.peer)?.release()?.rate();
        let connections = (rate * self.seconds as f64) as u64;
        eprintln!("lost: {} connections, about {} s", grouped(connections), self.seconds);
        let dir = tempfile::tempdir().context("cannot create a temporary directory")?;
        let file = dir.path().join("lost.twt");
        let room = Room::make(churn::PORTS)?;
        let recorder = Recorder::start_by(room.command("INT"), &binaries.twtrace, &file, &[])?;
        thread::sleep(SETTLE);
        let held = Churn::of(connections, 1).run_in(&room, &binaries.peer)?;
        let (rss, time_wait) = (process::rss(recorder.pid())?, held.time_wait()?);
        let done = held.release()?;
        if self.to_the_end {
            eprintln!("lost: until {} TIME_WAIT sockets have ended", grouped(time_wait));
            wait_for_the_end(&room)?;
        }
        thread::sleep(SETTLE);
        let recorded = recorder.stop()?;
        let told = Told::by(&binaries.twtrace, &file)?;
        Ok(Endurance { done, recorded, rss, time_wait, told })
    }
}

fn wait_for_the_end(room: &Room) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while netns::time_wait(room.pid())? > 0 {
        if Instant::now() > deadline {
            bail!("TIME_WAIT sockets do not end: what holds them?");
        }
        thread::sleep(POLL);
    }
    Ok(())
}

impl Told {
    fn by(twtrace: &Path, file: &Path) -> Result<Self> {
        let mut report = Command::new(twtrace);
        Self::parse(&command::capture(report.args(["report", "--json"]).arg(file))?)
    }

    fn parse(printed: &str) -> Result<Self> {
        let snapshot: Value = serde_json::from_str(printed).context("twtrace printed no JSON")?;
        let number = |pointer: &str| {
            let number = snapshot.pointer(pointer).and_then(Value::as_u64);
            number.with_context(|| format!("the report tells no {pointer}"))
        };
        let differences = snapshot["reconcile"].as_object().context("it reconciles nothing")?;
        Ok(Self {
            transitions: number("/transitions/total")?,
            unmatched: number("/loss/unmatched")?,
            evicted: number("/loss/evicted")?,
            differences: differences
                .iter()
                .map(|(name, value)| (name.clone(), value.as_i64()))
                .collect(),
        })
    }

    /// The sum of all differences that are known; nothing if none is.
    pub(super) fn difference(&self) -> Option<u64> {
        let known = self.differences.iter().filter_map(|(_, value)| *value);
        let known: Vec<u64> = known.map(i64::unsigned_abs).collect();
        (!known.is_empty()).then(|| known.iter().sum())
    }
}

impl Endurance {
    /// Times a program did not run, in 100,000 transitions; nothing where the kernel does not tell.
    pub(super) fn missed_in_100_000(&self) -> Option<f64> {
        let missed = self.recorded.missed?;
        Some(missed as f64 * 1e5 / self.told.transitions.max(1) as f64)
    }

    /// Bytes in the file for each event.
    pub(super) fn bytes_per_event(&self) -> f64 {
        self.recorded.bytes as f64 / self.recorded.events.max(1) as f64
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A run that missed two transitions.
    pub(in super::super) fn endurance() -> Endurance {
        Endurance {
            done: Done { connections: 1_000_000, seconds: 60.0 },
            recorded: Recorded {
                events: 20_000_000,
                ring_full: 0,
                missed: Some(2),
                bytes: 100_000_000,
            },
            rss: 120_000_000,
            time_wait: 990_000,
            told: Told {
                transitions: 10_000_000,
                unmatched: 1,
                evicted: 0,
                differences: vec![("births_minus_TW".into(), Some(0)), ("other".into(), None)],
            },
        }
    }

    #[test]
    fn a_report_is_read() {
        let printed = r#"{"transitions":{"total":9},"loss":{"unmatched":1,"evicted":0},
            "reconcile":{"births_minus_TW":-2,"reused_minus_TWRecycled":null,"refused_minus_overflow":1}}"#;
        let told = Told::parse(printed).expect("a report");
        assert_eq!((told.transitions, told.unmatched), (9, 1));
        assert_eq!(told.difference(), Some(3));
        assert!(Told::parse(r#"{"reconcile":null}"#).is_err());
    }

    #[test]
    fn figures_are_per_event() {
        let run = endurance();
        assert!((run.bytes_per_event() - 5.0).abs() < 1e-9);
        assert!(run.missed_in_100_000().is_some_and(|missed| (missed - 0.02).abs() < 1e-9));
        assert_eq!(Told::default().difference(), None, "unknown is not 0");
    }
}
