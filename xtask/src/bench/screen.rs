//! What the screen of `twtrace top` costs: on an idle host, with many rows, with many TIME_WAIT
//! sockets; and how soon it answers a key while connections are made at full speed.
//!
//! It runs on a terminal of its own, made by script of util-linux.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::binaries::Binaries;
use super::churn::Churn;
use super::number::grouped;
use super::process;

/// Makes a terminal, and the Debian package that has it.
pub(super) const COMMAND: (&str, &str) = ("script", "bsdutils");
/// What twtrace calls the thread that draws.
const SCREEN_THREAD: &str = "screen";
/// What the last load left behind has come to rest by then.
const SETTLE: Duration = Duration::from_secs(3);
/// A screen that shows nothing for so long shows nothing at all.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two keys.
const PAUSE: Duration = Duration::from_millis(80);
/// Keys that change what is seen: help comes and goes.
const KEYS: u32 = 60;
/// Rows of tables.
const ROWS: u16 = 10_000;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// How long each load is looked at, in seconds, of which each has a refresh
    seconds: u32,
    /// TIME_WAIT sockets
    sockets: u64,
    /// Connections that are made while keys are pressed
    connections: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Screen {
    /// CPU on an idle host, as a share of a core in percent
    pub(super) idle_pct: f64,
    /// What refreshes took
    pub(super) refreshes: Vec<Refresh>,
    /// From a key to what it changes, in milliseconds, while connections are made
    pub(super) answers_ms: Vec<f64>,
}

/// What refreshes took.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refresh {
    /// With what
    pub(super) what: Load,
    /// TIME_WAIT sockets, as the kernel counts them
    pub(super) time_wait: u64,
    /// CPU of a refresh in milliseconds, of all threads: with a second's reading of the ring, and
    /// what it takes to know all that is shown
    pub(super) cpu_ms: f64,
    /// Of that, what putting it in order and drawing it take
    pub(super) screen_ms: f64,
}

/// What there is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// Many destinations
    Rows,
    /// Many TIME_WAIT sockets
    Sockets,
}

impl Load {
    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rows => "10,000 rows",
            Self::Sockets => "many TIME_WAITs",
        }
    }
}

impl Scale {
    /// As many TIME_WAIT sockets as the target names.
    pub(super) const FULL: Self = Self { seconds: 10, sockets: 500_000, connections: 300_000 };
    /// For a look.
    pub(super) const QUICK: Self = Self { seconds: 4, sockets: 60_000, connections: 100_000 };

    /// Measures, and says on the error output how far it is.
    pub(super) fn run(self, binaries: &Binaries) -> Result<Screen> {
        eprintln!("screen: idle");
        let idle = Terminal::start(&binaries.twtrace, &[])?;
        thread::sleep(SETTLE);
        let (idle_ms, _) = idle.cpu_ms_each(self.seconds)?;
        drop(idle);
        let refreshes = [self.rows(binaries)?, self.many(binaries)?];
        let answers_ms = self.answers(binaries)?;
        Ok(Screen { idle_pct: idle_ms / 10.0, refreshes: refreshes.into(), answers_ms })
    }

    /// Two connections to each of as many destinations as there are to be rows.
    fn rows(self, binaries: &Binaries) -> Result<Refresh> {
        let churn = Churn { destinations: ROWS, ..Churn::of(u64::from(ROWS) * 2, 1) };
        self.refresh(binaries, Load::Rows, "5", &churn)
    }

    fn many(self, binaries: &Binaries) -> Result<Refresh> {
        let churn = Churn::of(self.sockets, 2);
        self.refresh(binaries, Load::Sockets, "1", &churn)
    }

    fn refresh(self, binaries: &Binaries, what: Load, tab: &str, churn: &Churn) -> Result<Refresh> {
        eprintln!("screen: {}, after {} connections", what.name(), grouped(churn.connections));
        let mut terminal = Terminal::start(&binaries.twtrace, &[])?;
        terminal.press(tab)?;
        let held = churn.run(&binaries.peer)?;
        thread::sleep(SETTLE);
        let time_wait = held.time_wait()?;
        let (cpu_ms, screen_ms) = terminal.cpu_ms_each(self.seconds)?;
        drop(terminal);
        held.release()?;
        Ok(Refresh { what, time_wait, cpu_ms, screen_ms })
    }

    /// Refreshes are a minute apart, so that what is seen to change is what a key changed.
    fn answers(self, binaries: &Binaries) -> Result<Vec<f64>> {
        eprintln!("screen: {KEYS} keys beside {} connections", grouped(self.connections));
        let mut terminal = Terminal::start(&binaries.twtrace, &["-d", "60"])?;
        let churn = Churn::of(self.connections, 1);
        let (churned, answers) = thread::scope(|scope| {
            // The churn ends with the thread that started it.
            let churning = scope.spawn(|| churn.run(&binaries.peer)?.release());
            let answers = terminal.answers_ms();
            (churning.join(), answers)
        });
        churned.map_err(|_| anyhow!("the churn panicked"))??;
        answers
    }
}

/// `twtrace top` on a terminal.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    /// What is written on it.
    written: Receiver<usize>,
    pid: u32,
}

impl Terminal {
    fn start(twtrace: &Path, arguments: &[&str]) -> Result<Self> {
        let file = tempfile::NamedTempFile::new().context("cannot create a temporary file")?;
        let told = file.path().display();
        let (twtrace, arguments) = (twtrace.display(), arguments.join(" "));
        let run = format!(
            "stty rows 50 cols 160; echo $$ > {told}; TERM=xterm-256color exec {twtrace} top {arguments}"
        );
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", COMMAND.0, "--quiet", "--flush", "--command", &run])
            .arg("/dev/null")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start setpriv of util-linux")?;
        let keys = child.stdin.take().context("the terminal has no input")?;
        let mut screen = child.stdout.take().context("the terminal has no output")?;
        let (sender, written) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while let Ok(read @ 1..) = screen.read(&mut buffer) {
                if sender.send(read).is_err() {
                    return;
                }
            }
        });
        let mut terminal = Self { child, keys, written, pid: 0 };
        terminal.wait_for_a_screen()?;
        let pid = fs::read_to_string(file.path()).context("cannot read a temporary file")?;
        terminal.pid = pid.trim().parse().context("the terminal told no process")?;
        Ok(terminal)
    }

    /// A screen with a moment has some thousand bytes, one before the first some hundred.
    fn wait_for_a_screen(&self) -> Result<()> {
        const SCREEN: usize = 1_500;
        let (deadline, mut seen) = (Instant::now() + LIMIT, 0);
        while seen < SCREEN {
            match self.written.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(written) => seen += written,
                Err(_) => bail!("twtrace top shows no screen"),
            }
        }
        Ok(())
    }

    fn press(&mut self, key: &str) -> Result<()> {
        self.keys.write_all(key.as_bytes()).context("cannot press a key")?;
        self.keys.flush().context("cannot press a key")
    }

    /// CPU of a refresh, of so many that are a second apart: of all threads, and of the one that
    /// draws.
    fn cpu_ms_each(&self, seconds: u32) -> Result<(f64, f64)> {
        let read = || -> Result<[u64; 2]> {
            let drawing = process::thread_cpu_ns(self.pid, SCREEN_THREAD)?;
            Ok([process::cpu_ns(self.pid)?, drawing])
        };
        let before = read()?;
        thread::sleep(Duration::from_secs(u64::from(seconds)));
        let after = read()?;
        let each = |which: usize| {
            after[which].saturating_sub(before[which]) as f64 / 1e6 / f64::from(seconds)
        };
        Ok((each(0), each(1)))
    }

    /// From a key to what it changes.
    fn answers_ms(&mut self) -> Result<Vec<f64>> {
        (0..KEYS).map(|_| self.answer_ms()).collect()
    }

    fn answer_ms(&mut self) -> Result<f64> {
        thread::sleep(PAUSE);
        while self.written.try_recv().is_ok() {}
        let pressed = Instant::now();
        self.press("?")?;
        match self.written.recv_timeout(LIMIT) {
            Ok(_) => Ok(pressed.elapsed().as_secs_f64() * 1e3),
            Err(RecvTimeoutError::Timeout) => bail!("twtrace top does not answer a key"),
            Err(RecvTimeoutError::Disconnected) => bail!("twtrace top has ended"),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It ends by the key, as a user ends it, and script ends with it.
        let deadline = Instant::now() + LIMIT;
        let is_over = |child: &mut Child| !matches!(child.try_wait(), Ok(None));
        if self.press("q").is_ok() {
            while !is_over(&mut self.child) && Instant::now() < deadline {
                thread::sleep(PAUSE);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Screen {
    /// The slowest answer.
    pub(super) fn slowest_ms(&self) -> Option<f64> {
        self.answers_ms.iter().copied().max_by(f64::total_cmp)
    }

    /// What a refresh took with that much to be shown.
    pub(super) fn refresh(&self, what: Load) -> Option<&Refresh> {
        self.refreshes.iter().find(|refresh| refresh.what == what)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Good figures.
    pub(in super::super) fn screen() -> Screen {
        let refresh =
            |what, time_wait, cpu_ms, screen_ms| Refresh { what, time_wait, cpu_ms, screen_ms };
        Screen {
            idle_pct: 0.9,
            refreshes: vec![
                refresh(Load::Rows, 20_000, 12.0, 4.5),
                refresh(Load::Sockets, 490_000, 30.0, 1.0),
            ],
            answers_ms: vec![2.0, 40.0, 3.0],
        }
    }

    #[test]
    fn the_slowest_answer_counts() {
        assert_eq!(screen().slowest_ms(), Some(40.0));
    }
}
