//! What it takes to list half a million sockets: `twtrace states` beside `ss -Htan`, in turn, in
//! the same namespace.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::binaries::Binaries;
use super::churn::Churn;
use super::number::{grouped, median};

/// Lists sockets, as its Debian package has it.
const SS: &str = "ss";
/// Seconds of CPU in user and kernel space, by GNU time.
const FORMAT: &str = "%U %S";

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// TIME_WAIT sockets
    sockets: u64,
    /// How often each lists them
    rounds: usize,
}

/// One listing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Listing {
    /// By the clock on the wall, in seconds
    pub(super) seconds: f64,
    /// CPU time, user and kernel, to 10 ms
    pub(super) cpu_s: f64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct States {
    /// TIME_WAIT sockets that were there after the last round
    pub(super) time_wait: u64,
    /// Those that were wanted
    pub(super) wanted: u64,
    /// By twtrace
    pub(super) ours: Vec<Listing>,
    /// By ss
    pub(super) ss: Vec<Listing>,
}

impl Scale {
    /// So many that a listing takes its time.
    pub(super) const FULL: Self = Self { sockets: 500_000, rounds: 5 };
    /// For a look.
    pub(super) const QUICK: Self = Self { sockets: 100_000, rounds: 2 };

    /// Measures, and says on the error output how far it is.
    pub(super) fn run(self, binaries: &Binaries) -> Result<States> {
        eprintln!("states: making {} TIME_WAIT sockets", grouped(self.sockets));
        let churn = Churn::of(self.sockets, 2);
        let held = churn.run(&binaries.peer)?;
        let (mut ours, mut ss) = (Vec::new(), Vec::new());
        for round in 0..self.rounds {
            eprintln!("states: round {} of {}", round + 1, self.rounds);
            let twtrace = ["states", "--json", "--netns", "self"];
            ours.push(listing(held.pid(), &binaries.twtrace, &twtrace)?);
            ss.push(listing(held.pid(), Path::new(SS), &["-Htan"])?);
        }
        Ok(States { time_wait: held.time_wait()?, wanted: self.sockets, ours, ss })
    }
}

/// Runs a program in the namespace of a process; what it prints is thrown away.
fn listing(pid: u32, program: &Path, arguments: &[&str]) -> Result<Listing> {
    let took = tempfile::NamedTempFile::new().context("cannot create a temporary file")?;
    let mut command = Command::new("nsenter");
    command
        .args(["--target", &pid.to_string(), "--net", "time", "-f", FORMAT, "-o"])
        .args([took.path().as_os_str(), program.as_os_str()])
        .args(arguments.iter().map(OsStr::new))
        .stdout(Stdio::null());
    let begun = Instant::now();
    let status = command.status().context("cannot start nsenter of util-linux")?;
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(status.success(), "{} failed, {status}", program.display());
    let text = fs::read_to_string(took.path()).context("cannot read what time wrote")?;
    let cpu_s = parse_took(&text).context("time wrote something else than asked")?;
    Ok(Listing { seconds, cpu_s })
}

fn parse_took(text: &str) -> Option<f64> {
    let mut words = text.lines().last()?.split_whitespace().map(str::parse::<f64>);
    Some(words.next()?.ok()? + words.next()?.ok()?)
}

impl States {
    /// What a listing takes in the median.
    pub(super) fn of(listings: &[Listing], what: impl Fn(&Listing) -> f64) -> Option<f64> {
        median(listings.iter().map(what))
    }

    /// Ours by that of ss.
    pub(super) fn ratio(&self, what: impl Fn(&Listing) -> f64) -> Option<f64> {
        let [ours, ss] = [&self.ours, &self.ss].map(|listings| Self::of(listings, &what));
        ours.zip(ss).map(|(ours, ss)| ours / ss)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Ours takes a quarter of the time and a half of the CPU.
    pub(in super::super) fn states() -> States {
        let listing = |seconds, cpu_s| Listing { seconds, cpu_s };
        States {
            time_wait: 499_990,
            wanted: 500_000,
            ours: vec![listing(0.2, 0.35), listing(0.3, 0.45), listing(0.2, 0.35)],
            ss: vec![listing(0.8, 0.7), listing(0.9, 0.8), listing(0.8, 0.7)],
        }
    }

    #[test]
    fn medians_are_compared() {
        assert_eq!(states().ratio(|it| it.seconds), Some(0.25));
        assert_eq!(states().ratio(|it| it.cpu_s), Some(0.5));
        assert_eq!(States { ss: Vec::new(), ..states() }.ratio(|it| it.cpu_s), None);
    }

    #[test]
    fn what_time_writes_is_read() {
        assert_eq!(parse_took("0.25 0.50\n"), Some(0.75));
        assert_eq!(parse_took("Command exited with non-zero status 1\n0.5 0.25\n"), Some(0.75));
        assert_eq!(parse_took("oops"), None);
    }
}
