//! What the user-space side takes of events that no kernel could send it on this machine: a
//! recording is replayed at a rate, through the decoder, the tracker and the counting, to the
//! snapshots of `top`.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::binaries::Binaries;
use super::churn::Churn;
use super::number::grouped;
use super::reading::Reading;
use super::recorder::Recorder;
use crate::command;

/// Quiet time, as in the runs that are compared.
const SETTLE: Duration = Duration::from_secs(1);

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// Events per second
    rates: &'static [u64],
    /// How long, in seconds
    seconds: u64,
    /// Connections in the recording
    connections: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    /// Connections in the recording
    pub(super) connections: u64,
    /// What it holds
    pub(super) recording: Amplified,
    /// Each rate, the last as fast as it goes
    pub(super) levels: Vec<Fed>,
}

/// One rate.
#[derive(Clone, Debug)]
pub(super) struct Fed {
    /// Events per second that were wanted; nothing if as fast as it goes
    pub(super) wanted: Option<u64>,
    /// What it took
    pub(super) reading: Reading,
}

/// What a recording holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Amplified {
    /// Events of the longer one
    pub(super) events: u64,
    /// Bytes that the records of the shorter one took in the ring
    pub(super) ring_bytes: u64,
    /// How long the shorter one is
    pub(super) length_ns: u64,
}

impl Scale {
    /// As the issue of scaling has them, and one between.
    pub(super) const FULL: Self =
        Self { rates: &[100_000, 300_000, 1_000_000], seconds: 8, connections: 40_000 };
    /// For a look.
    pub(super) const QUICK: Self =
        Self { rates: &[100_000, 1_000_000], seconds: 3, connections: 20_000 };

    /// Measures, and says on the error output how far it is.
    pub(super) fn run(self, binaries: &Binaries) -> Result<Feed> {
        let dir = tempfile::tempdir().context("cannot create a temporary directory")?;
        let (short, long) = (dir.path().join("short.twt"), dir.path().join("long.twt"));
        eprintln!("scaling: recording {} connections", grouped(self.connections));
        record(binaries, self.connections, &short)?;
        let recording = Amplified::make(binaries, &short, &long, 1)?;
        let rates = self.rates.iter().map(|&rate| Some(rate)).chain([None]);
        let fed = |wanted: Option<u64>| {
            let most = wanted.or(self.rates.last().copied()).unwrap_or_default();
            let times = (most * self.seconds).div_ceil(recording.events.max(1));
            let events = Amplified::make(binaries, &short, &long, times)?.events;
            let speed = wanted.map_or_else(|| "max".into(), |rate| recording.speed(rate));
            eprintln!("scaling: {} events at speed {speed}", grouped(events));
            let arguments = ["top", "--batch", "--json", "--speed", &speed, "--replay"];
            let files = [long.clone()];
            let (reading, _) =
                Reading::run("top --replay", &binaries.twtrace, &arguments, &files, events)?;
            Ok(Fed { wanted, reading })
        };
        let levels = rates.map(fed).collect::<Result<_>>()?;
        Ok(Feed { connections: self.connections, recording, levels })
    }
}

/// Records connections until what they left has ended with their namespace.
fn record(binaries: &Binaries, connections: u64, file: &Path) -> Result<()> {
    let mut recorder = Recorder::start(&binaries.twtrace, file, &[])?;
    thread::sleep(SETTLE);
    Churn::of(connections, 1).run(&binaries.peer)?.release()?;
    recorder.wait_until_quiet()?;
    recorder.stop().map(drop)
}

impl Amplified {
    /// Makes a long recording of a short one, as many times as long.
    pub(super) fn make(binaries: &Binaries, short: &Path, long: &Path, times: u64) -> Result<Self> {
        let mut amplify = Command::new(&binaries.amplify);
        let printed = command::capture(amplify.args([short, long]).arg(times.to_string()))?;
        Self::parse(&printed).context("twtrace-amplify printed no three numbers")
    }

    fn parse(printed: &str) -> Option<Self> {
        let numbers: Vec<u64> =
            printed.split_whitespace().map(|word| word.parse().ok()).collect::<Option<_>>()?;
        let [events, ring_bytes, length_ns] = numbers[..] else { return None };
        Some(Self { events, ring_bytes, length_ns })
    }

    /// How much faster than it was it has to go for so many events a second.
    fn speed(&self, rate: u64) -> String {
        let seconds = self.length_ns as f64 / 1e9;
        format!("{:.3}", rate as f64 * seconds / self.events.max(1) as f64)
    }
}

impl Fed {
    /// Of one core, in percent.
    pub(super) fn core_pct(&self) -> f64 {
        self.reading.cpu_s / self.reading.seconds * 100.0
    }

    /// CPU time for each event, in nanoseconds.
    pub(super) fn cpu_ns_per_event(&self) -> f64 {
        self.reading.cpu_s * 1e9 / self.reading.events.max(1) as f64
    }
}

impl Feed {
    /// Events of a connection, with its TIME_WAIT and its end.
    pub(super) fn events_per_connection(&self) -> f64 {
        self.recording.events as f64 / self.connections as f64
    }

    /// Bytes in the ring of a connection.
    pub(super) fn ring_bytes_per_connection(&self) -> f64 {
        self.recording.ring_bytes as f64 / self.connections as f64
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A tenth of a core at 100,000 events a second, and three million at most.
    pub(in super::super) fn feed() -> Feed {
        let fed = |wanted, events, seconds, cpu_s| Fed {
            wanted,
            reading: Reading { what: "top --replay", events, seconds, cpu_s, rss: 60_000_000 },
        };
        Feed {
            connections: 1_000,
            recording: Amplified {
                events: 20_000,
                ring_bytes: 2_000_000,
                length_ns: 4_000_000_000,
            },
            levels: vec![
                fed(Some(100_000), 800_000, 8.0, 0.4),
                fed(Some(1_000_000), 8_000_000, 8.0, 3.2),
                fed(None, 8_000_000, 2.5, 2.4),
            ],
        }
    }

    #[test]
    fn what_amplify_prints_is_read() {
        let amplified = Amplified::parse("20000 2000000 4000000000\n").expect("three numbers");
        assert_eq!(amplified, feed().recording);
        assert_eq!(amplified.speed(100_000), "20.000");
        assert_eq!(Amplified::parse("20000 7"), None);
    }

    #[test]
    fn figures_are_per_event_and_per_connection() {
        let feed = feed();
        assert!((feed.levels[0].core_pct() - 5.0).abs() < 1e-9);
        assert!((feed.levels[1].cpu_ns_per_event() - 400.0).abs() < 1e-9);
        assert!((feed.events_per_connection() - 20.0).abs() < 1e-9);
        assert!((feed.ring_bytes_per_connection() - 2_000.0).abs() < 1e-9);
    }
}
