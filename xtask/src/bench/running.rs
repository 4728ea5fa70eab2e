//! A tracer from its start to its end.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

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

/// A tracer at work; killed when dropped.
pub(super) struct Running {
    name: &'static str,
    child: Child,
    stderr: File,
    /// What it prints, of others that are listened to
    printed: Option<File>,
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
        let mut running = Self { name, child, stderr, printed: None, output };
        running.wait_until_attached()?;
        Ok(running)
    }

    /// The same of a tracer that is not ours, and keeps what it prints: that costs more than to
    /// throw it away.
    pub(super) fn start_and_keep(name: &'static str, command: &mut Command) -> Result<Self> {
        let printed = tempfile::tempfile().context("cannot create a temporary file")?;
        let copy = printed.try_clone().context("cannot share a temporary file")?;
        let mut running = Self::start(name, command.stdout(copy))?;
        running.printed = Some(printed);
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

    /// The same, and of others how many events they said they lost, if it was kept.
    pub(super) fn stop_and_count(mut self) -> Result<(Option<Snapshots>, Option<u64>)> {
        self.end()?;
        let Some(printed) = self.printed.take() else {
            return Ok((self.output.take().map(Output::finish).transpose()?, None));
        };
        Ok((None, Some(lost(&self.said()) + lost(&text_of(&printed)?))))
    }

    /// Ends it, and returns what it said on its error output.
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
        match text_of(&self.stderr) {
            Ok(text) => text.trim().to_owned(),
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
                let why = gist(&said);
                bail!("{name} ended before it traced ({status}): {why}");
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

fn text_of(mut file: &File) -> Result<String> {
    let mut text = Vec::new();
    file.rewind().context("cannot go back in a temporary file")?;
    file.read_to_end(&mut text).context("cannot read a temporary file")?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// `lost 12 events on CPU #0`, as libbpf-tools have it, or `Lost 12 events`, as bpftrace has it.
fn lost(said: &str) -> u64 {
    let told = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| word.eq_ignore_ascii_case("lost"))?;
        let [number, "events", ..] = words.get(at + 1..)? else { return None };
        number.parse::<u64>().ok()
    };
    said.lines().filter_map(told).sum()
}

/// Why a tracer gave up, of all that it said: what it said first, without what bpftrace says in
/// any case.
fn gist(said: &str) -> &str {
    const NOISE: &str = "RLIMIT_MEMLOCK";
    let mut lines = said.lines().map(str::trim);
    lines.find(|line| !line.is_empty() && !line.contains(NOISE)).unwrap_or("no word")
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
    fn losses_are_told_in_two_ways() {
        let said = "lost 12 events on CPU #0\nLost 30 events\n7 lost socks 1 > 2\nlost hope\n";
        assert_eq!(lost(said), 42);
        assert_eq!(lost(""), 0);
    }

    #[test]
    fn the_reason_is_what_was_said_first() {
        let said = "ERROR: couldn't set RLIMIT_MEMLOCK\n\nlibbpf: no kprobe\nfailed: -2\n";
        assert_eq!(gist(said), "libbpf: no kprobe");
        assert_eq!(gist(""), "no word");
    }
}
