//! Network namespaces of the helpers: one for each run, gone with its last process.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Settings of the namespace: no TIME_WAIT is refused or taken over, no SYN is dropped.
const SYSCTLS: [(&str, &str); 4] = [
    ("ipv4/tcp_max_tw_buckets", "4000000"),
    ("ipv4/tcp_tw_reuse", "0"),
    ("core/somaxconn", "65535"),
    ("ipv4/tcp_max_syn_backlog", "65535"),
];

/// The ports that connects take in such a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    /// The first
    pub(super) low: u16,
    /// The last
    pub(super) high: u16,
}

impl Ports {
    /// How many.
    pub(super) fn count(self) -> u64 {
        u64::from(self.high - self.low) + 1
    }
}

/// The helper in a namespace of its own, which stays one process from setpriv to the helper, and
/// ends when we do.
pub(super) fn helper(peer: &Path, ports: Ports) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", &script(ports), "sh"])
        .arg(peer)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// A namespace that nothing runs in yet; processes that are started in it may outlive this value.
pub(super) struct Room {
    keeper: Child,
}

impl Room {
    /// Makes one.
    pub(super) fn make(ports: Ports) -> Result<Self> {
        let mut command = helper(Path::new("sh"), ports);
        let mut keeper = command
            .args(["-c", "echo ready; exec cat"])
            .spawn()
            .context("cannot start setpriv of util-linux")?;
        let output = keeper.stdout.take();
        let room = Self { keeper };
        let mut said = String::new();
        let mut output = BufReader::new(output.context("the namespace has no output")?);
        output.read_line(&mut said).context("cannot hear whether the namespace is there")?;
        ensure!(said == "ready\n", "cannot make a network namespace: see above");
        Ok(room)
    }

    /// A process that is in it.
    pub(super) fn pid(&self) -> u32 {
        self.keeper.id()
    }

    /// The helper in it.
    pub(super) fn helper(&self, peer: &Path) -> Command {
        let mut command = self.command("KILL");
        command.arg(peer).stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    /// A command in it, to which arguments are to be added; it gets this signal when we end.
    pub(super) fn command(&self, signal: &str) -> Command {
        inside(self.pid(), signal)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// A command in the namespace of a process, which stays one process from setpriv on.
pub(super) fn inside(pid: u32, signal: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal, "nsenter", "--target", &pid.to_string(), "--net", "--"]);
    command
}

/// Whether a process is in another namespace than we.
pub(super) fn is_another(pid: u32) -> Result<bool> {
    let of = |who: &str| {
        let link = format!("/proc/{who}/ns/net");
        fs::read_link(&link).with_context(|| format!("cannot read {link}"))
    };
    Ok(of(&pid.to_string())? != of("self")?)
}

/// The number of timewait mini-sockets in the namespace of a process, as the kernel counts them.
pub(super) fn time_wait(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/net/sockstat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse_sockstat(&text).with_context(|| format!("{path} has no `tw N`"))
}

/// Sets up the namespace and becomes the program that is its argument.
fn script(Ports { low, high }: Ports) -> String {
    let range = format!("{low} {high}");
    let settings: Vec<String> = SYSCTLS
        .iter()
        .chain(&[("ipv4/ip_local_port_range", range.as_str())])
        .map(|(key, value)| format!("echo {value} > /proc/sys/net/{key}"))
        .collect();
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
    fn mini_sockets_are_read_from_sockstat() {
        let text = "sockets: used 9\nTCP: inuse 3 orphan 0 tw 1234 alloc 4 mem 0\nUDP: inuse 0\n";
        assert_eq!(parse_sockstat(text), Some(1234));
        assert_eq!(parse_sockstat("UDP: inuse 0 tw 1\n"), None);
    }

    #[test]
    fn the_range_is_set_in_the_namespace() {
        let ports = Ports { low: 32_768, high: 60_999 };
        assert_eq!(ports.count(), 28_232);
        let setting = "echo 32768 60999 > /proc/sys/net/ipv4/ip_local_port_range &&";
        assert!(script(ports).contains(setting));
    }
}
