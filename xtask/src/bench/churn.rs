//! Connections made as fast as it goes, in a network namespace of their own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// Settings of the namespace: no TIME_WAIT is refused or taken over, no port runs out, no SYN is
/// dropped.
const SYSCTLS: [(&str, &str); 5] = [
    ("ipv4/tcp_max_tw_buckets", "1000000"),
    ("ipv4/ip_local_port_range", "10000 65535"),
    ("ipv4/tcp_tw_reuse", "0"),
    ("core/somaxconn", "65535"),
    ("ipv4/tcp_max_syn_backlog", "65535"),
];

/// Addresses that the clients connect to in turn, so that the ports towards one never run out.
const DESTINATIONS: u16 = 250;

/// What to do: a byte each way, and the client closes first.
pub(super) struct Churn {
    /// How many connections, over all threads
    pub(super) connections: u64,
    /// How many pairs of one client and one server thread
    pub(super) threads: u64,
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
    /// Does it, and leaves the namespace with its TIME_WAIT sockets.
    pub(super) fn run(&self, peer: &Path) -> Result<Held> {
        let mut child = self.command(peer).spawn().context("cannot start setpriv of util-linux")?;
        let stdout = child.stdout.take().context("the churn has no output")?;
        // From here on the child ends with this value, whatever fails.
        let mut held = Held { done: Done { connections: 0, seconds: 0.0 }, child };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("cannot hear the churn")?;
        held.done = Done::parse(&line).context("the churn failed: see above")?;
        Ok(held)
    }

    fn command(&self, peer: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", &script(), "sh"])
            .arg(peer)
            .args(["churn", &self.traffic()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command
    }

    /// As twtrace-peer reads it: connections, who closes first, SO_LINGER 0, family, threads,
    /// destinations.
    fn traffic(&self) -> String {
        format!("{} client false v4 {} {DESTINATIONS}", self.connections, self.threads)
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
    /// The number of timewait mini-sockets in the namespace, as the kernel counts them.
    pub(super) fn time_wait(&self) -> Result<u64> {
        let path = format!("/proc/{}/net/sockstat", self.child.id());
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        parse_sockstat(&text).with_context(|| format!("{path} has no `tw N`"))
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

/// Sets up the namespace and becomes the program that is its argument.
fn script() -> String {
    let settings = SYSCTLS.map(|(key, value)| format!("echo {value} > /proc/sys/net/{key}"));
    format!("ip link set lo up && {} && exec \"$@\"", settings.join(" && "))
}

fn parse_sockstat(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("TCP:"))?;
    let mut words = line.split_whitespace().skip_while(|word| *word != "tw");
    words.nth(1)?.parse().ok()
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
    fn mini_sockets_are_read_from_sockstat() {
        let text = "sockets: used 9\nTCP: inuse 3 orphan 0 tw 1234 alloc 4 mem 0\nUDP: inuse 0\n";
        assert_eq!(parse_sockstat(text), Some(1234));
        assert_eq!(parse_sockstat("UDP: inuse 0 tw 1\n"), None);
    }

    #[test]
    fn the_traffic_is_what_the_helper_reads() {
        let churn = Churn { connections: 7, threads: 2 };
        assert_eq!(churn.traffic(), "7 client false v4 2 250");
    }
}
