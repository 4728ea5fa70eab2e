//! The tool under test, run as its users run it.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::withheld::Witness;
use crate::{bpf_objects, netns::PrivateNetns, profile_dir, snapshot::WITHHELD, wait_for};

/// The first snapshot says that everything is attached and seeded.
const READY: Duration = Duration::from_secs(20);
/// Draining and detaching may take this long.
const STOP: Duration = Duration::from_secs(20);

/// The path of the tool: `TWTRACE_BIN`, or the build in the same target directory.
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("TWTRACE_BIN") {
        return path.into();
    }
    let dir = profile_dir();
    let candidates = [dir.join("twtrace"), dir.with_file_name("release").join("twtrace")];
    let found = candidates.iter().find(|path| path.is_file());
    found.cloned().unwrap_or_else(|| {
        panic!(
            "no {}: run `cargo build --release -p twtrace` first, or set TWTRACE_BIN",
            candidates[0].display()
        )
    })
}

/// The path of a program of this package, which was built with the tests and not with the tool.
pub fn helper(name: &str) -> PathBuf {
    let path = profile_dir().join(name);
    assert!(path.is_file(), "no {}: run `cargo test`, which builds it", path.display());
    path
}

/// `twtrace top --batch --json` at work; killed when dropped.
pub struct Tool {
    child: Child,
    seen: Arc<Mutex<Seen>>,
    /// Ends when the tool's output does, with the error output.
    readers: Option<(JoinHandle<()>, JoinHandle<String>)>,
}

/// What the tool has printed so far.
#[derive(Default)]
struct Seen {
    snapshots: u64,
    latest: Option<Value>,
    garbage: Option<String>,
    ended: bool,
}

/// How a run ended.
pub struct Ended {
    /// The exit status.
    pub status: ExitStatus,
    /// The last snapshot, if there was one.
    pub last: Option<Value>,
    /// How many snapshots there were.
    pub snapshots: u64,
    /// The error output.
    pub stderr: String,
}

impl Tool {
    /// Starts `top --batch --json` with `args` besides, and a snapshot every
    /// 0.2 s unless they say otherwise; waits until it is attached and seeded.
    #[track_caller]
    pub fn start(args: &[&str]) -> Self {
        let mut command = Command::new(program());
        command.args(["top", "--batch", "--json"]).args(args);
        if !args.contains(&"-d") {
            command.args(["-d", "0.2"]);
        }
        Self::launch(&mut command)
    }

    /// Starts it on one namespace, with `args` besides.
    #[track_caller]
    pub fn on(netns: &PrivateNetns, args: &[&str]) -> Self {
        Self::start(&[&["--netns", &netns.selector()], args].concat())
    }

    /// Starts any command that prints snapshots, and waits for the first.
    #[track_caller]
    pub fn launch(command: &mut Command) -> Self {
        let witness = Witness::new().ok();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let seen = Arc::<Mutex<Seen>>::default();
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut stderr = child.stderr.take().expect("stderr is piped");
        let sink = Arc::clone(&seen);
        let readers = (
            std::thread::spawn(move || read_snapshots(BufReader::new(stdout), &sink, witness)),
            std::thread::spawn(move || {
                let mut text = Vec::new();
                stderr.read_to_end(&mut text).expect("reading the tool's stderr");
                String::from_utf8_lossy(&text).into_owned()
            }),
        );
        let mut tool = Self { child, seen, readers: Some(readers) };
        let ready = wait_for("the tool's first snapshot", READY, || {
            let seen = tool.seen.lock().expect("the reader does not panic");
            (seen.snapshots > 0 || seen.ended).then_some(seen.snapshots > 0)
        });
        if !ready {
            let Ended { status, stderr, .. } = tool.wait();
            panic!("the tool ended before its first snapshot, {status}: {stderr}");
        }
        tool
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The latest snapshot.
    #[track_caller]
    pub fn snapshot(&self) -> Value {
        let seen = self.seen.lock().expect("the reader does not panic");
        assert_eq!(seen.garbage, None, "the tool printed a line that is not JSON");
        seen.latest.clone().expect("there was a first snapshot")
    }

    /// Waits for a snapshot that `wanted` accepts; `what` says which.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_long_for(what, READY, wanted)
    }

    /// Waits longer, or less, for a snapshot that `wanted` accepts.
    #[track_caller]
    pub fn wait_long_for(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let start = std::time::Instant::now();
        loop {
            let snapshot = self.snapshot();
            if wanted(&snapshot) {
                return snapshot;
            }
            assert!(start.elapsed() < limit, "waited in vain for {what}; last was {snapshot:#}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a snapshot that was begun after this call.
    #[track_caller]
    pub fn next_snapshot(&self) -> Value {
        let count = || self.seen.lock().expect("the reader does not panic").snapshots;
        // The next one may have been put together before this call.
        let wanted = count() + 2;
        wait_for("the snapshot after next", READY, || (count() >= wanted).then_some(()));
        self.snapshot()
    }

    /// Stops it by SIGINT and returns the last snapshot; the exit code must be
    /// 0 and there must be nothing on stderr.
    #[track_caller]
    pub fn finish(self) -> Value {
        let Ended { status, last, stderr, .. } = self.stop(Signal::INT);
        assert_eq!(status.code(), Some(0), "after SIGINT the tool said {stderr:?}");
        assert_eq!(stderr, "", "an undisturbed run has nothing to complain about");
        last.expect("there was a first snapshot")
    }

    /// Sends a signal and waits for the end.
    #[track_caller]
    pub fn stop(mut self, signal: Signal) -> Ended {
        let held = bpf_objects::held_by(self.pid());
        kill_process(Pid::from_child(&self.child), signal).expect("signalling the tool");
        let ended = self.wait();
        // The kernel detaches in the background; the next test begins when all is gone.
        wait_for("the kernel to let go of the tool's programs", STOP, || {
            held.iter().all(|object| !object.exists()).then_some(())
        });
        ended
    }

    #[track_caller]
    fn wait(&mut self) -> Ended {
        let status = exit_status(&mut self.child);
        let (stdout, stderr) = self.readers.take().expect("waited for once");
        stdout.join().expect("reading the tool's stdout");
        let stderr = stderr.join().expect("reading the tool's stderr");
        let mut seen = self.seen.lock().expect("the reader does not panic");
        assert_eq!(seen.garbage, None, "the tool printed a line that is not JSON");
        Ended { status, last: seen.latest.take(), snapshots: seen.snapshots, stderr }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Adds to each snapshot how many events were withheld until then.
fn read_snapshots(stdout: impl BufRead, seen: &Mutex<Seen>, mut witness: Option<Witness>) {
    for line in stdout.lines() {
        let line = line.expect("reading the tool's stdout");
        let parsed = serde_json::from_str::<Value>(&line);
        let withheld = witness.as_mut().map_or(0, Witness::count);
        let mut seen = seen.lock().expect("no holder of this lock panics");
        match parsed {
            Ok(mut snapshot) => {
                snapshot[WITHHELD] = withheld.into();
                seen.snapshots += 1;
                seen.latest = Some(snapshot);
            }
            Err(_) => seen.garbage = Some(line),
        }
    }
    seen.lock().expect("no holder of this lock panics").ended = true;
}

/// Waits for a child's end, no longer than the tool may take for it.
#[track_caller]
pub fn exit_status(child: &mut Child) -> ExitStatus {
    let limit = std::time::Instant::now() + STOP;
    loop {
        if let Some(status) = child.try_wait().expect("waiting for the tool") {
            return status;
        }
        if std::time::Instant::now() > limit {
            // The panic below says what matters.
            let _ = child.kill();
            let _ = child.wait();
            panic!("the tool had not ended after {STOP:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A run of the tool that ends by itself.
pub struct Run {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The output.
    pub stdout: String,
    /// The error output.
    pub stderr: String,
}

impl Run {
    /// Runs a short command to its end.
    #[track_caller]
    pub fn of(command: &mut Command) -> Self {
        // Files, unlike pipes, hold any amount while nobody reads.
        let file = || tempfile::tempfile().expect("a temporary file");
        let (mut out, mut err) = (file(), file());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a second descriptor"))
            .stderr(err.try_clone().expect("a second descriptor"))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let code = exit_status(&mut child).code();
        let text = |file: &mut std::fs::File| {
            use std::io::Seek;
            let mut text = String::new();
            file.rewind().expect("rewinding a temporary file");
            file.read_to_string(&mut text).expect("the tool prints UTF-8");
            text
        };
        Self { code, stdout: text(&mut out), stderr: text(&mut err) }
    }

    /// The snapshots it printed.
    #[track_caller]
    pub fn snapshots(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.stdout.lines().map(parse).collect()
    }
}

/// What the tool says of `scene`, played in a namespace of its own, and that namespace.
#[track_caller]
pub fn traced(scene: impl FnOnce(&PrivateNetns) + Send) -> (Value, u64) {
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &[]);
    netns.run(|| scene(&netns));
    (tool.finish(), netns.inode())
}
