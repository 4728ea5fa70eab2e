//! `twtrace record` at work.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::running::Running;

/// How often it is asked how far it has come.
const POLL: Duration = Duration::from_millis(500);
/// So few events in that time are those of the rest of the host.
const FEW: u64 = 1_000;
/// A kernel that takes longer to end the TIME_WAIT sockets of a namespace is stuck.
const LIMIT: Duration = Duration::from_secs(60);

/// A recording under way; ends with this value.
pub(super) struct Recorder {
    running: Running,
}

/// What it says that it recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Recorded {
    /// Events written
    pub(super) events: u64,
    /// Records that found no room in the ring, or on their way to the file
    pub(super) ring_full: u64,
    /// Times a program did not run; nothing where the kernel does not tell
    pub(super) missed: Option<u64>,
    /// Bytes written
    pub(super) bytes: u64,
}

impl Recorder {
    /// Starts one, host-wide and at default settings but for `options`, and waits until it is
    /// attached.
    pub(super) fn start(twtrace: &Path, file: &Path, options: &[&str]) -> Result<Self> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "INT"]);
        Self::start_by(command, twtrace, file, options)
    }

    /// The same by a command that becomes what is added to it.
    pub(super) fn start_by(
        mut command: Command,
        twtrace: &Path,
        file: &Path,
        options: &[&str],
    ) -> Result<Self> {
        command.arg(twtrace).args(["record", "--force", "-o"]);
        command.arg(file).args(options).stdout(Stdio::null());
        Ok(Self { running: Running::start("twtrace record", &mut command)? })
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Waits until hardly anything comes any more: the TIME_WAIT sockets of a namespace that was let
    /// go have ended, too.
    pub(super) fn wait_until_quiet(&mut self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        let mut before = self.so_far()?.events;
        while Instant::now() < deadline {
            let now = self.so_far()?.events;
            if now - before < FEW {
                return Ok(());
            }
            before = now;
        }
        bail!("the recording does not come to rest: what else is going on here?")
    }

    /// Ends it.
    pub(super) fn stop(self) -> Result<Recorded> {
        Recorded::last(&self.running.stop_and_hear()?)
    }

    fn so_far(&mut self) -> Result<Recorded> {
        self.running.signal("USR1")?;
        thread::sleep(POLL);
        Recorded::last(&self.running.said())
    }
}

impl Recorded {
    fn last(said: &str) -> Result<Self> {
        let line = said.lines().last().unwrap_or_default();
        Self::parse(line).with_context(|| format!("twtrace record said {line:?}"))
    }

    /// `12 events, 0 lost (ring_full 0, missed 0), 1.0 s, 345 bytes`
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split([' ', ',', '(', ')']).collect();
        let named = |name| words.iter().position(|word| *word == name);
        let after = |name| words.get(named(name)? + 1)?.parse().ok();
        let before = |name| words.get(named(name)?.checked_sub(1)?)?.parse().ok();
        Some(Self {
            events: before("events")?,
            ring_full: after("ring_full")?,
            missed: after("missed"),
            bytes: before("bytes")?,
        })
    }
}

impl std::iter::Sum for Recorded {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        let none = Self { missed: Some(0), ..Self::default() };
        all.fold(none, |sum, one| Self {
            events: sum.events + one.events,
            ring_full: sum.ring_full + one.ring_full,
            missed: sum.missed.zip(one.missed).map(|(a, b)| a + b),
            bytes: sum.bytes + one.bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_is_read() {
        let line = "250123 events, 1,003 lost (ring_full 1002, missed 1), 12.0 s, 3141592 bytes";
        let recorded = Recorded::last(&format!("a warning\n{line}")).expect("a summary");
        let (ring_full, missed) = (1_002, Some(1));
        assert_eq!(recorded, Recorded { events: 250_123, ring_full, missed, bytes: 3_141_592 });
    }

    #[test]
    fn what_is_not_known_stays_unknown() {
        let line = "5 events, 0 lost (ring_full 0, missed unavailable), 1.0 s, 9 bytes";
        let recorded = Recorded::parse(line).expect("a summary");
        assert_eq!(recorded.missed, None);
        assert_eq!([recorded, recorded].into_iter().sum::<Recorded>().missed, None);
        assert!(Recorded::last("").is_err());
        assert!(Recorded::last("error: no room").is_err());
    }
}
