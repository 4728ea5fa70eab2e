//! What it costs to write everything down, and to read it again.
//!
//! Events are of both ends of a connection and of its TIME_WAIT socket, the end of which included:
//! a run lasts until all of them have ended with their namespace.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::binaries::Binaries;
use super::churn::{Churn, Done};
use super::feed::Amplified;
use super::number::median;
use super::process;
use super::reading::{Reading, Report};
use super::recorder::{Recorded, Recorder};

/// A kernel worker may still take apart the namespace of the last run.
const SETTLE: Duration = Duration::from_secs(1);
/// A file a second.
const ROTATION: [&str; 2] = ["-G", "1"];

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// Runs beside ones that are not recorded
    rounds: usize,
    /// Connections in each
    connections: u64,
    /// Connections of the one run that lasts
    sustained: u64,
    /// Events in the long recording, at least
    long: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Recording {
    /// The runs that were recorded beside ones that were not
    pub(super) runs: Vec<Run>,
    /// The runs next to them that were not
    pub(super) bare: Vec<Churned>,
    /// The run that lasts
    pub(super) sustained: Run,
    /// A run of which a file a second was made, and how many those were
    pub(super) rotated: (Run, usize),
    /// Reports, of the shortest recording first, of the longest last
    pub(super) reports: Vec<Report>,
    /// Other ways to read the one that lasts
    pub(super) readings: Vec<Reading>,
}

/// Connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Churned {
    /// What was done
    pub(super) done: Done,
    /// By which process
    pub(super) pid: u32,
    /// CPU time of that process, with the programs that ran in its name
    pub(super) cpu_s: f64,
}

/// Connections that were recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// The connections
    pub(super) churned: Churned,
    /// CPU time of the recorder, user and kernel
    pub(super) cpu_ns: u64,
    /// What it recorded
    pub(super) recorded: Recorded,
}

impl Scale {
    /// The run that lasts takes some twenty seconds; a minute is what `lost` has.
    pub(super) const FULL: Self =
        Self { rounds: 4, connections: 60_000, sustained: 400_000, long: 100_000_000 };
    /// For a look.
    pub(super) const QUICK: Self =
        Self { rounds: 2, connections: 20_000, sustained: 100_000, long: 5_000_000 };

    /// Measures, and says on the error output how far it is.
    pub(super) fn run(self, binaries: &Binaries) -> Result<Recording> {
        let dir = tempfile::tempdir().context("cannot create a temporary directory")?;
        let file = |name| dir.path().join(name);
        let (runs, bare) = self.pairs(binaries, &file("short.twt"))?;
        let last = *runs.last().context("no rounds")?;
        eprintln!("recording: {} connections", self.sustained);
        let sustained = recorded(binaries, self.sustained, &file("sustained.twt"), &[])?;
        eprintln!("recording: a file a second");
        let rotated = recorded(binaries, self.connections, &file("rotated.twt"), &ROTATION)?;
        let files = rotated_files(dir.path())?;
        let (times, events) = self.amplify(binaries, &file("short.twt"), &file("long.twt"))?;
        let report = |what, files: &[PathBuf], events, run: Run, times| {
            let closes = (run.churned.pid, run.churned.done.connections * 2 * times);
            Report::of(what, &binaries.twtrace, files, events, closes)
        };
        let of = |name| [file(name)];
        let reports = vec![
            report("report, short", &of("short.twt"), last.recorded.events, last, 1)?,
            report("  rotated", &files, rotated.recorded.events, rotated, 1)?,
            report("  lasting", &of("sustained.twt"), sustained.recorded.events, sustained, 1)?,
            report("  long", &of("long.twt"), events, last, times)?,
        ];
        let events = sustained.recorded.events;
        let readings = Reading::all(&binaries.twtrace, &file("sustained.twt"), events)?;
        Ok(Recording { runs, bare, sustained, rotated: (rotated, files.len()), reports, readings })
    }

    fn pairs(self, binaries: &Binaries, file: &Path) -> Result<(Vec<Run>, Vec<Churned>)> {
        let (mut runs, mut all_bare) = (Vec::new(), Vec::new());
        for round in 0..self.rounds {
            eprintln!("recording: round {}/{}", round + 1, self.rounds);
            let bare_first = round.is_multiple_of(2);
            let before = if bare_first { Some(self.bare(binaries)?) } else { None };
            runs.push(recorded(binaries, self.connections, file, &[])?);
            all_bare.push(before.map_or_else(|| self.bare(binaries), Ok)?);
        }
        Ok((runs, all_bare))
    }

    fn bare(self, binaries: &Binaries) -> Result<Churned> {
        thread::sleep(SETTLE);
        Churned::run(binaries, self.connections)
    }

    /// How many times the short recording the long one is, and how many events it has.
    fn amplify(self, binaries: &Binaries, short: &Path, long: &Path) -> Result<(u64, u64)> {
        let run =
            |times| -> Result<u64> { Ok(Amplified::make(binaries, short, long, times)?.events) };
        eprintln!("recording: making {} events of it", self.long);
        let times = self.long.div_ceil(run(1)?.max(1));
        Ok((times, run(times)?))
    }
}

impl Recording {
    /// Rates of recorded runs by those of the runs next to them.
    pub(super) fn ratios(&self) -> Vec<f64> {
        self.by_pair(|churned| churned.done.rate())
    }

    /// The same of what a CPU second of the churn itself is good for: others on the host hardly
    /// change that.
    pub(super) fn cpu_ratios(&self) -> Vec<f64> {
        self.by_pair(|churned| churned.done.connections as f64 / churned.cpu_s)
    }

    /// The same of the processors' time that the churn was given: where it is far from 1, the
    /// rates tell of how the two runs shared the processors with others.
    pub(super) fn share_ratios(&self) -> Vec<f64> {
        self.by_pair(|churned| churned.cpu_s / churned.done.seconds)
    }

    fn by_pair(&self, of: impl Fn(&Churned) -> f64) -> Vec<f64> {
        let pairs = self.runs.iter().zip(&self.bare);
        pairs.map(|(run, bare)| of(&run.churned) / of(bare)).collect()
    }

    /// Bytes in the file for each event.
    pub(super) fn bytes_per_event(&self) -> Option<f64> {
        self.median(|run| run.recorded.bytes as f64)
    }

    /// CPU time of the recorder for each event.
    pub(super) fn cpu_us_per_event(&self) -> Option<f64> {
        self.median(|run| run.cpu_ns as f64 / 1e3)
    }

    /// Everything that was recorded.
    pub(super) fn all(&self) -> Recorded {
        let single = [self.sustained, self.rotated.0];
        self.runs.iter().chain(&single).map(|run| run.recorded).sum()
    }

    /// Of the shortest recording and of the longest.
    pub(super) fn ends(&self) -> Option<(&Report, &Report)> {
        self.reports.first().zip(self.reports.last())
    }

    /// Closes that reports tell, or do not tell, wrongly.
    pub(super) fn mistaken(&self) -> u64 {
        self.reports.iter().map(|report| report.told.abs_diff(report.closes)).sum()
    }

    fn median(&self, of: impl Fn(&Run) -> f64) -> Option<f64> {
        let per_event = |run: &Run| of(run) / run.recorded.events.max(1) as f64;
        median(self.runs.iter().map(per_event))
    }
}

impl Churned {
    fn run(binaries: &Binaries, connections: u64) -> Result<Self> {
        let held = Churn::of(connections, 1).run(&binaries.peer)?;
        let pid = held.pid();
        let cpu_s = process::cpu_s(pid)?;
        Ok(Self { done: held.release()?, pid, cpu_s })
    }
}

/// Connections while they are recorded, until what they left has ended.
fn recorded(binaries: &Binaries, connections: u64, file: &Path, options: &[&str]) -> Result<Run> {
    let mut recorder = Recorder::start(&binaries.twtrace, file, options)?;
    thread::sleep(SETTLE);
    let before = process::cpu_ns(recorder.pid())?;
    let churned = Churned::run(binaries, connections)?;
    recorder.wait_until_quiet()?;
    let cpu_ns = process::cpu_ns(recorder.pid())?.saturating_sub(before);
    Ok(Run { churned, cpu_ns, recorded: recorder.stop()? })
}

fn rotated_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = dir.read_dir().with_context(|| format!("cannot read {}", dir.display()))?;
    let paths: std::io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.with_context(|| format!("cannot read {}", dir.display()))?;
    let is_part = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("rotated."))
    };
    paths.retain(is_part);
    Ok(paths)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn recording() -> Recording {
        let recorded = Recorded { events: 1_000, ring_full: 0, missed: Some(0), bytes: 5_000 };
        let done = Done { connections: 100, seconds: 0.01 };
        let churned = Churned { done, pid: 7, cpu_s: 0.01 };
        let run = Run { churned, cpu_ns: 400_000, recorded };
        let bare = |seconds| Churned { done: Done { seconds, ..done }, pid: 8, cpu_s: seconds };
        let reading = |what, times| Reading {
            what,
            events: 1_000 * times,
            seconds: 0.001 * times as f64,
            cpu_s: 0.00025 * times as f64,
            rss: 25_000_000,
        };
        let report = |what, times: u64| {
            let closes = 200 * times;
            Report { reading: reading(what, times), closes, told: closes }
        };
        Recording {
            runs: vec![run, run],
            bare: vec![bare(0.0095), bare(0.0099)],
            sustained: run,
            rotated: (run, 3),
            reports: vec![report("report, short", 1), report("  long", 100)],
            readings: vec![reading("verify", 1)],
        }
    }

    #[test]
    fn figures_are_per_event() {
        let recording = recording();
        let near =
            |value: Option<f64>, wanted: f64| value.is_some_and(|it| (it - wanted).abs() < 1e-9);
        assert!(near(median(recording.ratios()), 0.97));
        assert!(near(median(recording.cpu_ratios()), 0.97));
        assert!(near(median(recording.share_ratios()), 1.0));
        assert!(near(recording.bytes_per_event(), 5.0));
        assert!(near(recording.cpu_us_per_event(), 0.4));
        assert_eq!(recording.all().events, 4_000);
        assert_eq!(recording.mistaken(), 0);
    }

    #[test]
    fn what_is_told_too_much_or_too_little_is_mistaken() {
        let mut recording = recording();
        recording.reports[0].told += 2;
        recording.reports[1].told -= 3;
        assert_eq!(recording.mistaken(), 5);
    }

    #[test]
    fn the_files_of_a_rotation_are_found() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["rotated.twt", "rotated.1.twt", "short.twt"] {
            std::fs::write(dir.path().join(name), "").expect("a file");
        }
        assert_eq!(rotated_files(dir.path()).expect("they are there").len(), 2);
    }
}
