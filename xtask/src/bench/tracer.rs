//! The tracers, from their start to their end.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::plan::Row;
use super::programs;
use super::snapshot::Snapshots;
use crate::command;

/// A tracer that is not attached, or not gone, after this time is broken.
const LIMIT: Duration = Duration::from_secs(20);
/// A tracer whose programs have been the same for this long has loaded them all; bpftrace loads
/// others before, to find out what the kernel can do.
const STEADY: Duration = Duration::from_secs(1);
/// How often that is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Counts, and prints nothing before its end: about the least that a tracer can do.
const COUNTER: &str = "tracepoint:sock:inet_sock_set_state { @[args->newstate] = count(); }";

/// The peers read the format of tracepoints from tracefs. It is mounted in a mount namespace of
/// theirs, which goes with them.
const WITH_TRACEFS: &str = r#"mount -t tracefs tracefs /sys/kernel/tracing && exec "$@""#;

/// A tracer to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tracer {
    /// Ours
    Twtrace,
    /// One line per connection
    Tcplife,
    /// One line per transition
    Tcpstates,
    /// A counter
    Bpftrace,
}

impl Tracer {
    /// All of them.
    pub(super) const ALL: [Self; 4] =
        [Self::Twtrace, Self::Tcplife, Self::Tcpstates, Self::Bpftrace];

    /// What it is called here.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Twtrace => "twtrace",
            Self::Tcplife => "tcplife",
            Self::Tcpstates => "tcpstates",
            Self::Bpftrace => "bpftrace",
        }
    }

    /// How it is asked for.
    pub(super) fn row(self) -> Row {
        match self {
            Self::Twtrace => Row::Twtrace,
            Self::Tcplife => Row::Tcplife,
            Self::Tcpstates => Row::Tcpstates,
            Self::Bpftrace => Row::Bpftrace,
        }
    }

    /// Its command and the Debian package that has it, unless it is ours.
    pub(super) fn package(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Twtrace => None,
            Self::Tcplife | Self::Tcpstates => Some((self.name(), "libbpf-tools")),
            Self::Bpftrace => Some((self.name(), "bpftrace")),
        }
    }

    /// The command, which stays one process from setpriv to the tracer, and ends when we do.
    fn command(self, twtrace: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "INT"]);
        if self == Self::Twtrace {
            command.arg(twtrace).args(["top", "--batch", "--json", "-d", "0.5"]);
            command.stdout(Stdio::piped());
        } else {
            command.args(["unshare", "--mount", "sh", "-c", WITH_TRACEFS, "sh", self.name()]);
            command.stdout(Stdio::null());
        }
        if self == Self::Bpftrace {
            command.args(["-e", COUNTER]);
        }
        command
    }

    /// Starts it and waits until it is attached.
    pub(super) fn start(self, twtrace: &Path) -> Result<Running> {
        self.start_with(twtrace, &[])
    }

    /// The same with more options.
    pub(super) fn start_with(self, twtrace: &Path, options: &[&str]) -> Result<Running> {
        Running::start(self.name(), self.command(twtrace).args(options))
    }
}

/// A tracer at work; killed when dropped.
pub(super) struct Running {
    name: &'static str,
    child: Child,
    stderr: File,
    output: Option<Output>,
}

impl Running {
    /// Starts a command, which is called `name` here, and waits until it is attached.
    pub(super) fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        // A file, since a pipe that nobody reads would stop a tracer that complains a lot.
        let stderr = tempfile::tempfile().context("cannot create a temporary file")?;
        let copy = stderr.try_clone().context("cannot share a temporary file")?;
        let mut child = command
            .stdin(Stdio::null())
            .stderr(copy)
            .spawn()
            .context("cannot start setpriv of util-linux")?;
        let output = child.stdout.take().map(Output::read);
        let mut running = Self { name, child, stderr, output };
        running.wait_until_attached()?;
        Ok(running)
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as Ctrl-C does, and returns what it printed, if it is ours.
    pub(super) fn stop(mut self) -> Result<Option<Snapshots>> {
        self.end()?;
        self.output.take().map(Output::finish).transpose()
    }

    /// The same, and returns what it said on its error output.
    pub(super) fn stop_and_hear(mut self) -> Result<String> {
        self.end()?;
        Ok(self.said())
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, name: &str) -> Result<()> {
        let pid = self.pid().to_string();
        let kill = ["-c", r#"kill -s "$0" "$1""#, name, &pid];
        command::capture(Command::new("sh").args(kill)).map(drop)
    }

    /// What it said on its error output so far.
    pub(super) fn said(&mut self) -> String {
        let mut text = Vec::new();
        match self.stderr.rewind().and_then(|()| self.stderr.read_to_end(&mut text)) {
            Ok(_) => String::from_utf8_lossy(&text).trim().to_owned(),
            Err(error) => format!("(its complaints cannot be read: {error})"),
        }
    }

    fn end(&mut self) -> Result<()> {
        self.signal("INT")?;
        let deadline = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.ended()? {
                break status;
            }
            if Instant::now() > deadline {
                bail!("{} does not end by SIGINT", self.name);
            }
            thread::sleep(POLL);
        };
        if !status.success() {
            let (name, said) = (self.name, self.said());
            bail!("{name} failed ({status}): {said}");
        }
        Ok(())
    }

    /// Ours prints its first snapshot when everything is attached; of the others, the programs
    /// are looked at.
    fn wait_until_attached(&mut self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        let mut known = BTreeSet::new();
        let mut since = Instant::now();
        while Instant::now() < deadline {
            if let Some(status) = self.ended()? {
                let (name, said) = (self.name, self.said());
                bail!("{name} ended before it traced ({status}): {said}");
            }
            let attached = match &mut self.output {
                Some(output) => output.has_begun(),
                None => !known.is_empty() && since.elapsed() >= STEADY,
            };
            if attached {
                return Ok(());
            }
            let ids = programs::ids(self.pid())?;
            if ids != known {
                (known, since) = (ids, Instant::now());
            }
            thread::sleep(POLL);
        }
        let (name, said) = (self.name, self.said());
        bail!("{name} did not attach: {said}")
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if the child is gone already, as it is after `stop`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The snapshots of ours, read by a thread so that the tracer never waits for us.
struct Output {
    first: Option<String>,
    begun: Receiver<String>,
    /// Ends with the output, with its last line
    reader: JoinHandle<Option<String>>,
}

impl Output {
    fn read(stdout: ChildStdout) -> Self {
        let (send, begun) = mpsc::channel();
        let reader = thread::spawn(move || last_line(BufReader::new(stdout), &send));
        Self { first: None, begun, reader }
    }

    fn has_begun(&mut self) -> bool {
        if self.first.is_none() {
            self.first = self.begun.try_recv().ok();
        }
        self.first.is_some()
    }

    fn finish(self) -> Result<Snapshots> {
        let last = self.reader.join().ok().flatten();
        let (first, last) = self.first.zip(last).context("twtrace printed no two snapshots")?;
        Ok(Snapshots { first, last })
    }
}

/// Sends the first line, and returns the last. Lines are parsed when all is over: that CPU time
/// is not to be taken from the run.
fn last_line(output: impl BufRead, begun: &Sender<String>) -> Option<String> {
    let mut last = None;
    for line in output.lines() {
        let line = line.ok()?;
        if last.is_none() {
            // Fails only if the start was given up, and then nobody asks.
            let _ = begun.send(line.clone());
        }
        last = Some(line);
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_line_are_kept() {
        let (send, begun) = mpsc::channel();
        assert_eq!(last_line(&b"one\ntwo\nthree\n"[..], &send).as_deref(), Some("three"));
        assert_eq!(begun.try_iter().collect::<Vec<_>>(), ["one"]);
        assert_eq!(last_line(&b""[..], &send), None);
    }

    #[test]
    fn peers_get_a_mount_namespace_and_ours_does_not() {
        let words = |tracer: Tracer| {
            let command = tracer.command(Path::new("/bin/twtrace"));
            command.get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(words(Tracer::Twtrace)[2], "/bin/twtrace");
        assert_eq!(words(Tracer::Tcplife)[2..4], ["unshare", "--mount"]);
        assert_eq!(words(Tracer::Bpftrace).last().map(String::as_str), Some(COUNTER));
    }
}
