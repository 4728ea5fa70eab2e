//! Connections made as fast as it goes, in a network namespace of their own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::netns::{self, Ports, Room};

/// So many that none runs out towards one destination.
pub(super) const PORTS: Ports = Ports { low: 10_000, high: 65_535 };

/// Addresses that the clients connect to in turn, so that the ports towards one never run out.
const DESTINATIONS: u16 = 250;

/// What to do: a byte each way, and the client closes first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Churn {
    /// How many connections, over all threads
    pub(super) connections: u64,
    /// How many pairs of one client and one server thread
    pub(super) threads: u64,
    /// To how many addresses in turn
    pub(super) destinations: u16,
    /// The time from one connection of a client to its next; none if as fast as it goes
    pub(super) every: Duration,
}

/// Churn that is under way, in a namespace that is there.
pub(super) struct Churning {
    held: Held,
    output: BufReader<ChildStdout>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Done {
    /// Connections
    pub(super) connections: u64,
    /// The time they took
    pub(super) seconds: f64,
}

/// Churn that is over, and its namespace, which lives as long as this value.
pub(super) struct Held {
    /// What was done
    pub(super) done: Done,
    child: Child,
}

impl Churn {
    /// So many connections by so many pairs of threads, as fast as it goes.
    pub(super) fn of(connections: u64, threads: u64) -> Self {
        Self { connections, threads, destinations: DESTINATIONS, every: Duration::ZERO }
    }

    /// For so many seconds, so many each second, as far as the machine makes them.
    pub(super) fn paced(per_second: u64, seconds: u64, threads: u64) -> Self {
        let every = Duration::from_secs(threads).div_f64(per_second as f64);
        Self { every, ..Self::of(per_second * seconds, threads) }
    }

    /// Does it, and leaves the namespace with its TIME_WAIT sockets.
    pub(super) fn run(&self, peer: &Path) -> Result<Held> {
        self.start(peer)?.finish()
    }

    /// Starts it; the namespace is made, or about to be.
    pub(super) fn start(&self, peer: &Path) -> Result<Churning> {
        Churning::start(self.within(&mut netns::helper(peer, PORTS)))
    }

    /// Does it in a namespace that is there.
    pub(super) fn run_in(&self, room: &Room, peer: &Path) -> Result<Held> {
        Churning::start(self.within(&mut room.helper(peer)))?.finish()
    }

    fn within<'a>(&self, helper: &'a mut Command) -> &'a mut Command {
        helper.args(["churn", &self.traffic()])
    }

    /// As twtrace-peer reads it: connections, who closes first, SO_LINGER 0, family, threads,
    /// destinations, nanoseconds from one to the next.
    fn traffic(&self) -> String {
        let Self { connections, threads, destinations, every } = self;
        format!("{connections} client false v4 {threads} {destinations} {}", every.as_nanos())
    }
}

impl Churning {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.spawn().context("cannot start setpriv of util-linux")?;
        let stdout = child.stdout.take().context("the churn has no output")?;
        // From here on the child ends with this value, whatever fails.
        let held = Held { done: Done { connections: 0, seconds: 0.0 }, child };
        Ok(Self { held, output: BufReader::new(stdout) })
    }

    /// The process that has both ends.
    pub(super) fn pid(&self) -> u32 {
        self.held.pid()
    }

    /// Waits until it is done.
    pub(super) fn finish(mut self) -> Result<Held> {
        let mut line = String::new();
        self.output.read_line(&mut line).context("cannot hear the churn")?;
        self.held.done = Done::parse(&line).context("the churn failed: see above")?;
        Ok(self.held)
    }
}

impl Done {
    /// Connections per second.
    pub(super) fn rate(self) -> f64 {
        self.connections as f64 / self.seconds
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let connections = words.next()?.parse().ok()?;
        let seconds = words.next()?.parse().ok()?;
        Some(Self { connections, seconds })
    }
}

impl Held {
    /// The process that has both ends.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The number of timewait mini-sockets in the namespace, as the kernel counts them.
    pub(super) fn time_wait(&self) -> Result<u64> {
        netns::time_wait(self.child.id())
    }

    /// Lets the namespace go.
    pub(super) fn release(mut self) -> Result<Done> {
        drop(self.child.stdin.take());
        let status = self.child.wait().context("cannot wait for the churn")?;
        if !status.success() {
            bail!("the churn failed ({status}): see above");
        }
        Ok(self.done)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Both fail only if the child is gone already, as it is after `release`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_read() {
        let done = Done::parse("20000 1.25 16000\n").expect("what twtrace-peer prints");
        assert_eq!(done, Done { connections: 20_000, seconds: 1.25 });
        assert!((done.rate() - 16_000.0).abs() < f64::EPSILON);
        assert_eq!(Done::parse(""), None);
    }

    #[test]
    fn the_traffic_is_what_the_helper_reads() {
        assert_eq!(Churn::of(7, 2).traffic(), "7 client false v4 2 250 0");
        let paced = Churn::paced(1_000, 3, 2);
        assert_eq!(paced.traffic(), "3000 client false v4 2 250 2000000");
    }
}
