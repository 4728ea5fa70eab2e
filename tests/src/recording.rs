//! `twtrace record` at work, and what is in the files it wrote.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use twtrace::decode;
use twtrace::frame::{Carried, Frame};
use twtrace::trace::{Damage, End, FileError, FileMeta, Found, Reader};

use crate::netns::PrivateNetns;
use crate::snapshot::WITHHELD;
use crate::tool::{Run, exit_status, program};
use crate::wait_for;
use crate::withheld::Witness;

/// Attaching, listing what exists, and the first tick may take this long.
const READY: Duration = Duration::from_secs(20);
/// The next line of status may take this long.
const ANSWER: Duration = Duration::from_secs(10);

/// A directory of one test, and the files that it records to.
pub struct Place {
    directory: TempDir,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// An empty one.
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A file in it, which need not exist.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The names of the files in it, sorted.
    pub fn names(&self) -> Vec<String> {
        let listed = fs::read_dir(self.path()).expect("the directory can be listed");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> =
            listed.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// `record` with the arguments `args`, before it is started.
pub fn record(args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.arg("record").args(args);
    command
}

/// `record` of one namespace to `output`, with `args` besides.
pub fn record_to(netns: &PrivateNetns, output: &Path, args: &[&str]) -> Command {
    let mut command = record(&["--netns", &netns.selector(), "-o"]);
    command.arg(output).args(args);
    command
}

/// A recording under way; killed when dropped.
pub struct Recording {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    witness: Option<Witness>,
}

impl Recording {
    /// Records one namespace to `output`, with `args` besides; waits until it is attached,
    /// seeded, and past its first tick.
    #[track_caller]
    pub fn on(netns: &PrivateNetns, output: &Path, args: &[&str]) -> Self {
        Self::launch(&mut record_to(netns, output, args))
    }

    /// Starts any such command, and waits as long.
    #[track_caller]
    pub fn launch(command: &mut Command) -> Self {
        let mut recording = Self::spawn(command);
        let ready = wait_for("the recording to begin", READY, || recording.is_ready());
        assert!(ready, "it ended at once: {}", recording.said().join("; "));
        recording
    }

    /// Starts any such command, and waits for nothing.
    #[track_caller]
    pub fn spawn(command: &mut Command) -> Self {
        let witness = Witness::new().ok();
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let said = Arc::<Mutex<Vec<String>>>::default();
        let (sink, stderr) = (Arc::clone(&said), child.stderr.take().expect("stderr is piped"));
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let line = line.expect("the tool complains in UTF-8");
                sink.lock().expect("no holder of this lock panics").push(line);
            }
        });
        Self { child, said, reader: Some(reader), witness }
    }

    /// Whether a tick was recorded; `None` if not yet, and `false` if there will be none.
    fn is_ready(&mut self) -> Option<bool> {
        if self.child.try_wait().expect("waiting for the tool").is_some() {
            return Some(false);
        }
        // Until it is caught the signal would end it.
        if !catches(self.child.id(), Signal::USR1) {
            return None;
        }
        let status = self.answer()?;
        // Before the first tick nothing is known of losses.
        status.ring_full.is_some().then_some(true)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output, if that is piped.
    pub fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("the output is piped, and taken once")
    }

    /// What it said so far on standard error, line by line.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().expect("no holder of this lock panics").clone()
    }

    /// What it answers to SIGUSR1.
    #[track_caller]
    pub fn status(&self) -> Summary {
        self.answer().unwrap_or_else(|| panic!("no line of status: {:?}", self.said()))
    }

    fn answer(&self) -> Option<Summary> {
        let answers = || self.said().iter().filter_map(|line| line.parse().ok()).collect();
        let before = Vec::<Summary>::len(&answers());
        self.signal(Signal::USR1);
        let start = Instant::now();
        while start.elapsed() < ANSWER {
            if let Some(answer) = answers().get(before) {
                return Some(*answer);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// Waits for a line on standard error that contains `what`.
    #[track_caller]
    pub fn wait_to_hear(&self, what: &str) {
        wait_for(&format!("{what:?} among what it says"), READY, || {
            self.said().iter().any(|line| line.contains(what)).then_some(())
        });
    }

    /// Waits until it has gone on for so many more seconds, by its own count.
    #[track_caller]
    pub fn wait_seconds(&self, seconds: f64) {
        let until = self.status().seconds + seconds;
        let limit = READY + Duration::from_secs_f64(seconds);
        wait_for("time to pass in the recording", limit, || {
            let left = until - self.status().seconds;
            // Asking all the time would be heard in what it says.
            std::thread::sleep(Duration::from_secs_f64(left.clamp(0.0, 0.2)));
            (left <= 0.0).then_some(())
        });
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signalling the tool");
    }

    /// Sends a signal and waits for the end.
    #[track_caller]
    pub fn stop(self, signal: Signal) -> Done {
        self.signal(signal);
        self.ended()
    }

    /// Stops it by SIGINT, which it must end without a complaint.
    #[track_caller]
    pub fn finish(self) -> Done {
        let done = self.stop(Signal::INT);
        assert_eq!((done.code, &done.complaints[..]), (Some(0), &[][..]), "after SIGINT");
        done
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn ended(mut self) -> Done {
        let status = exit_status(&mut self.child);
        self.reader.take().expect("waited for once").join().expect("reading its stderr");
        let said = self.said();
        let summaries = said.iter().filter_map(|line| line.parse().ok());
        Done {
            code: status.code(),
            summary: summaries.last(),
            last_line: said.last().cloned().unwrap_or_default(),
            complaints: said.into_iter().filter(|line| line.starts_with(COMPLAINT)).collect(),
            withheld: self.witness.as_mut().map_or(0, Witness::count),
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether process `pid` has a handler for `signal`.
fn catches(pid: u32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal.as_raw() - 1)) != 0
}

/// What errors and warnings begin with.
const COMPLAINT: &str = "twtrace: ";

/// How a recording ended.
pub struct Done {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it said that it recorded.
    pub summary: Option<Summary>,
    /// The last line on standard error.
    pub last_line: String,
    /// Errors and warnings.
    pub complaints: Vec<String>,
    /// Events that the kernel kept from every program.
    withheld: u64,
}

impl Done {
    /// What it said that it recorded.
    #[track_caller]
    pub fn summary(&self) -> Summary {
        self.summary.unwrap_or_else(|| panic!("no last line: {:?}", self.complaints))
    }

    /// A Snapshot of this recording, to be compared within what nobody can have seen.
    pub fn forgiving(&self, mut snapshot: Value) -> Value {
        snapshot[WITHHELD] = self.withheld.into();
        snapshot
    }
}

/// The line that tells how much was recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Records.
    pub events: u64,
    /// Those that got lost; `None` where that is not known.
    pub lost: Option<u64>,
    /// Of these, those that found no room.
    pub ring_full: Option<u64>,
    /// Of these, those that were not seen.
    pub missed: Option<u64>,
    /// How long it took.
    pub seconds: f64,
    /// How long the files are together.
    pub bytes: u64,
}

impl FromStr for Summary {
    type Err = &'static str;

    /// `N events, M lost (ring_full a, missed b), S s, F bytes`, to the letter.
    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let between = |from: &str, to: &str| -> Option<&str> {
            let (_, rest) = line.split_once(from)?;
            rest.split_once(to).map(|(part, _)| part)
        };
        let parsed = || {
            let events = line.split_once(" events, ")?.0;
            let lost = between(" events, ", " lost (ring_full ")?;
            let ring_full = between(" lost (ring_full ", ", missed ")?;
            let missed = between(", missed ", "), ")?;
            let seconds = between("), ", " s, ")?;
            let bytes = between(" s, ", " bytes")?;
            let rebuilt = format!(
                "{events} events, {lost} lost (ring_full {ring_full}, missed {missed}), {seconds} s, {bytes} bytes"
            );
            // A tenth of a second is told, and no more.
            let is_exact = seconds.split_once('.').is_some_and(|(_, tenths)| tenths.len() == 1);
            (rebuilt == line && is_exact).then_some(())?;
            let known = |number: &str| number.parse().ok();
            Some(Self {
                events: events.parse().ok()?,
                lost: known(lost),
                ring_full: known(ring_full),
                missed: known(missed),
                seconds: seconds.parse().ok()?,
                bytes: bytes.parse().ok()?,
            })
        };
        parsed().ok_or("a line of status")
    }
}

/// What is in a file.
#[derive(Debug, Default)]
pub struct Told {
    /// What each file within it is.
    pub metas: Vec<FileMeta>,
    /// The steps of the run, in order.
    pub frames: Vec<Frame>,
    /// How each file within it ended.
    pub ends: Vec<End>,
    /// What is not sound.
    pub damages: Vec<Damage>,
}

impl Told {
    /// Reads a whole file.
    #[track_caller]
    pub fn of(path: &Path) -> Self {
        let file = File::open(path).unwrap_or_else(|e| panic!("opening {}: {e}", path.display()));
        Self::read(file).unwrap_or_else(|error| panic!("{} {error}", path.display()))
    }

    /// What is in a file, however much of it was written yet.
    ///
    /// # Errors
    /// It is no recording.
    pub fn read(input: impl Read) -> Result<Self, FileError> {
        let mut reader = Reader::new(input)?;
        let mut told = Self::default();
        while let Some(found) = reader.next()? {
            match found {
                Found::File(meta) => told.metas.push(*meta),
                Found::Frame(frame) => told.frames.push(frame),
                Found::End(end) => told.ends.push(*end),
                Found::Damage(damage) => told.damages.push(damage),
                Found::Unknown(unknown) => panic!("this version writes no {unknown:?}"),
            }
        }
        Ok(told)
    }

    /// The Snapshot at the end of a file that was finished.
    #[track_caller]
    pub fn snapshot(&self) -> Value {
        let [end] = &self.ends[..] else { panic!("one END, not {:?}", self.ends) };
        end.snapshot.clone().expect("there was a tick")
    }

    /// When each tick came, on the wall clock.
    pub fn ticks(&self) -> Vec<u64> {
        let tick = |frame: &Frame| match frame {
            Frame::Tick { wall_ns, .. } => Some(*wall_ns),
            _ => None,
        };
        self.frames.iter().filter_map(tick).collect()
    }

    /// What records found no room on the way to the file.
    pub fn lost_on_the_way(&self) -> u64 {
        let lost = |frame: &Frame| match frame {
            Frame::Lost { records } => *records,
            _ => 0,
        };
        self.frames.iter().map(lost).sum()
    }

    /// What records found no room in the ring, by the last totals.
    pub fn ring_full(&self) -> u64 {
        let totals = |frame: &Frame| match frame {
            Frame::Totals(totals) => Some(totals.by_netns.iter().map(|(_, it)| it.ring_full).sum()),
            _ => None,
        };
        self.frames.iter().rev().find_map(totals).expect("there are totals")
    }

    /// How many records tell again, at the beginning, who the processes are that a file
    /// before introduced.
    pub fn introduced_again(&self) -> u64 {
        let is_last = |frame: &&Frame| !matches!(frame, Frame::Carried(Carried::Counts(_)));
        let records = |frame: &Frame| match frame {
            Frame::Records(batch) => decode::records(batch).count() as u64,
            _ => 0,
        };
        if !self.is_carried_over() {
            return 0;
        }
        self.frames.iter().take_while(is_last).map(records).sum()
    }

    /// Whether it goes on from a file before, and all that was there is told.
    pub fn is_carried_over(&self) -> bool {
        self.frames.iter().any(|frame| matches!(frame, Frame::Carried(Carried::Counts(_))))
    }
}

/// Waits until the file at `path` exists, and ended as it should.
#[track_caller]
pub fn wait_for_end(path: &Path) -> Told {
    wait_for(&format!("END in {}", path.display()), READY, || {
        let told = Told::read(File::open(path).ok()?).ok()?;
        (!told.ends.is_empty()).then_some(told)
    })
}

/// Waits until the file at `path` has taken over all that was there before.
#[track_caller]
pub fn wait_for_next(path: &Path) {
    wait_for(&format!("{} to go on", path.display()), READY, || {
        let told = Told::read(File::open(path).ok()?).ok()?;
        told.is_carried_over().then_some(())
    });
}

/// Runs a subcommand that reads files, with `args` before their names.
#[track_caller]
pub fn reading<P: AsRef<Path>>(args: &[&str], files: &[P]) -> Run {
    let mut command = Command::new(program());
    command.args(args).args(files.iter().map(AsRef::as_ref));
    Run::of(&mut command)
}

/// What `report --json` says of the files, without a complaint.
#[track_caller]
pub fn report<P: AsRef<Path>>(files: &[P]) -> Value {
    let run = reading(&["report", "--json"], files);
    assert_eq!((run.code, &run.stderr[..]), (Some(0), ""), "report");
    let mut snapshots = run.snapshots();
    assert_eq!(snapshots.len(), 1, "report prints one Snapshot");
    snapshots.remove(0)
}

/// Checks that a file is sound and that its report is, to the last digit, the Snapshot that
/// the live run wrote at its end; returns that.
#[track_caller]
pub fn report_is_end(path: &Path) -> Value {
    let verified = reading(&["verify"], &[path]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
    let (live, replayed) = (Told::of(path).snapshot(), report(&[path]));
    assert_eq!(differences(&live, &replayed), BTreeMap::new(), "{}", path.display());
    assert_eq!(live, replayed, "{}", path.display());
    live
}

/// Where two documents differ, and how.
pub fn differences(a: &Value, b: &Value) -> BTreeMap<String, (Value, Value)> {
    let mut found = BTreeMap::new();
    compare(String::new(), a, b, &mut found);
    found
}

fn compare(path: String, a: &Value, b: &Value, found: &mut BTreeMap<String, (Value, Value)>) {
    match (a, b) {
        (Value::Object(one), Value::Object(other)) => {
            for key in one.keys().chain(other.keys()) {
                compare(format!("{path}.{key}"), &a[key], &b[key], found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (a, b)) in one.iter().zip(other).enumerate() {
                compare(format!("{path}[{index}]"), a, b, found);
            }
        }
        _ if a == b => {}
        _ => drop(found.insert(path, (a.clone(), b.clone()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_status_is_taken_apart_and_another_is_none() {
        let line = "250123 events, 1003 lost (ring_full 1002, missed 1), 12.0 s, 3141592 bytes";
        let summary: Summary = line.parse().expect("a line of status");
        let lost = (summary.lost, summary.ring_full, summary.missed);
        assert_eq!(lost, (Some(1_003), Some(1_002), Some(1)));
        assert_eq!((summary.events, summary.seconds, summary.bytes), (250_123, 12.0, 3_141_592));
        for other in ["", "twtrace: cannot write", &line[1..line.len() - 1], &format!(" {line} ")] {
            assert!(other.parse::<Summary>().is_err(), "{other:?}");
        }
    }
}
