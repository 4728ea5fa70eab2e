//! The helper whose connects search a port, and what its own clocks say of them.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::netns::{self, Ports};

/// The last segments of connections may be under way when both ends are closed, but not for long.
const LIMIT: Duration = Duration::from_secs(5);
/// How often that is looked at.
const POLL: Duration = Duration::from_millis(10);

/// A client and a server in a network namespace of their own; they end with this value.
pub(super) struct Searcher {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Ports that it left in TIME_WAIT
    used: u64,
}

/// When to stop connecting, in seconds: whichever comes first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Time on the clock
    pub(super) elapsed: f64,
    /// CPU time of the client in connects
    pub(super) cpu: f64,
}

/// What its own clocks say of connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outside {
    /// How many
    pub(super) connects: u64,
    /// The sum of what they took on the clock
    pub(super) total_ns: u64,
    /// Half of them took no more
    pub(super) p50_ns: u64,
    /// 99 % of them took no more
    pub(super) p99_ns: u64,
    /// CPU time of the client in them
    pub(super) cpu_ns: u64,
    /// From the first to the last
    pub(super) elapsed_ns: u64,
}

impl Searcher {
    /// Starts it; its connects take one of `ports`.
    pub(super) fn start(peer: &Path, ports: Ports) -> Result<Self> {
        let mut command = netns::helper(peer, ports);
        let mut child = command.arg("search").spawn().context("cannot start setpriv")?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (input, output) = input.zip(output).context("the helper has no input and output")?;
        let output = BufReader::new(output);
        let mut searcher = Self { child, input, output, used: 0 };
        searcher.expect("ready")?;
        Ok(searcher)
    }

    /// Its process, which is in the namespace.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The ports in TIME_WAIT towards its destination.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Leaves more ports in TIME_WAIT, until so many are.
    pub(super) fn fill(&mut self, used: u64) -> Result<()> {
        let more = used.saturating_sub(self.used);
        writeln!(self.input, "fill {more}").context("cannot tell the helper to fill")?;
        self.expect("filled")?;
        self.used += more;
        let deadline = Instant::now() + LIMIT;
        while netns::time_wait(self.pid())? != self.used {
            if Instant::now() > deadline {
                return self.check_level();
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Connects until a limit is reached; the level is the same before and after, or it fails.
    pub(super) fn measure(&mut self, limits: Limits) -> Result<Outside> {
        let Limits { elapsed, cpu } = limits;
        writeln!(self.input, "measure {elapsed} {cpu}").context("cannot tell it to measure")?;
        let line = self.line()?;
        let outside = Outside::parse(&line).context("the helper failed: see above")?;
        self.check_level()?;
        Ok(outside)
    }

    fn check_level(&self) -> Result<()> {
        let (wanted, found) = (self.used, netns::time_wait(self.pid())?);
        if found != wanted {
            bail!("{found} ports in TIME_WAIT and not {wanted}: did this take over a minute?");
        }
        Ok(())
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        let line = self.line()?;
        if line != word {
            bail!("the helper said `{line}` and not `{word}`: see above");
        }
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).context("cannot hear the helper")?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Searcher {
    fn drop(&mut self) {
        // Both fail only if the child is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Outside {
    /// What each connect took on the clock.
    pub(super) fn mean_ns(self) -> Option<f64> {
        (self.connects > 0).then(|| self.total_ns as f64 / self.connects as f64)
    }

    /// What each connect took of CPU.
    pub(super) fn mean_cpu_ns(self) -> Option<f64> {
        (self.connects > 0).then(|| self.cpu_ns as f64 / self.connects as f64)
    }

    /// As twtrace-peer prints it.
    fn parse(line: &str) -> Option<Self> {
        let words: Result<Vec<u64>, _> = line.split(' ').map(str::parse).collect();
        let [connects, total_ns, p50_ns, p99_ns, cpu_ns, elapsed_ns] = words.ok()?[..] else {
            return None;
        };
        Some(Self { connects, total_ns, p50_ns, p99_ns, cpu_ns, elapsed_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_helper_prints_is_read() {
        let outside = Outside::parse("4 1000 200 400 600 2000").expect("what twtrace-peer prints");
        assert_eq!(outside.mean_ns(), Some(250.0));
        assert_eq!(outside.mean_cpu_ns(), Some(150.0));
        assert_eq!((outside.p50_ns, outside.p99_ns, outside.elapsed_ns), (200, 400, 2000));
        assert_eq!(Outside::parse("4 1000 200 400 600"), None);
        assert_eq!(Outside::parse(""), None);
        assert_eq!(Outside::default().mean_ns(), None);
    }
}
