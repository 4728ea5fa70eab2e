//! Network namespaces that belong to one test.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace that lives as long as this value.
///
/// A child process holds it and reads a pipe from us, so it ends with the test
/// even when the test is killed: nothing is left in `/run/netns`, and no
/// destructor has to run. Being a process of its own, the holder is found by
/// `pid:N` and by whoever looks for the inode in `/proc/*/ns/net`.
pub struct PrivateNetns {
    holder: Child,
    handle: File,
    inode: u64,
}

impl Default for PrivateNetns {
    fn default() -> Self {
        Self::new()
    }
}

impl PrivateNetns {
    /// A namespace with `lo` up and room for large runs: TIME_WAIT is never
    /// refused, ports 10000 to 65535 are automatic, and no SYN is dropped.
    ///
    /// `tcp_tw_reuse` is off, so that every TIME_WAIT made stays and can be counted.
    pub fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up && echo ready && exec cat >/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the live tests need `unshare` of util-linux");
        let mut ready = String::new();
        BufReader::new(holder.stdout.take().expect("stdout is piped"))
            .read_line(&mut ready)
            .expect("reading from the namespace holder");
        if ready != "ready\n" {
            let said = holder.wait_with_output().expect("waiting for the namespace holder").stderr;
            panic!(
                "cannot make a network namespace; the live tests need root and `ip` of iproute2: {}",
                String::from_utf8_lossy(&said).trim()
            );
        }
        let handle = File::open(format!("/proc/{}/ns/net", holder.id()))
            .expect("opening the namespace of its holder");
        let inode = handle.metadata().expect("stat of the namespace").ino();
        let netns = Self { holder, handle, inode };
        netns.sysctl_set("net.ipv4.tcp_max_tw_buckets", "1000000");
        netns.sysctl_set("net.ipv4.ip_local_port_range", "10000 65535");
        netns.sysctl_set("net.ipv4.tcp_tw_reuse", "0");
        netns.sysctl_set("net.core.somaxconn", "65535");
        netns.sysctl_set("net.ipv4.tcp_max_syn_backlog", "65535");
        netns
    }

    /// The inode number that names this namespace.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// The process that holds it.
    pub fn holder(&self) -> u32 {
        self.holder.id()
    }

    /// The argument of `--netns` that selects it by its holder.
    pub fn selector(&self) -> String {
        format!("pid:{}", self.holder.id())
    }

    /// Runs `work` on a thread inside; threads and processes it starts are inside too.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            move_into_link_name_space(self.handle.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("entering the private namespace");
            work()
        };
        let done = std::thread::scope(|scope| scope.spawn(inside).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Starts a process inside.
    pub fn spawn(&self, command: &mut Command) -> Child {
        let program = command.get_program().to_owned();
        self.run(|| command.spawn())
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()))
    }

    /// Runs a command inside and returns what it printed; panics unless it succeeds.
    #[track_caller]
    pub fn output(&self, program: &str, args: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let Output { status, stdout, stderr } =
            self.spawn(&mut command).wait_with_output().expect("waiting for a command");
        assert!(
            status.success(),
            "`{program} {}` failed, {status}: {}",
            args.join(" "),
            String::from_utf8_lossy(&stderr).trim()
        );
        String::from_utf8(stdout).expect("a command prints UTF-8")
    }

    /// Gives it a name that `ip netns` knows, until the name is dropped.
    pub fn publish(&self) -> NetnsName {
        let name = format!("twtrace-test-{}", self.inode);
        self.output("ip", &["netns", "attach", &name, &self.holder.id().to_string()]);
        NetnsName { name }
    }

    /// Sets a sysctl inside, such as `net.ipv4.tcp_fin_timeout`.
    pub fn sysctl_set(&self, key: &str, value: &str) {
        self.run(|| fs::write(sysctl_path(key), value))
            .unwrap_or_else(|error| panic!("cannot set {key} to {value}: {error}"));
    }

    /// Reads a sysctl inside.
    pub fn sysctl_get(&self, key: &str) -> String {
        let value = self.run(|| fs::read_to_string(sysctl_path(key)));
        let value = value.unwrap_or_else(|error| panic!("cannot read {key}: {error}"));
        value.trim().to_owned()
    }

    /// The number of timewait mini-sockets inside, of both substates.
    pub fn sockstat_tw(&self) -> u64 {
        let sockstat = self.proc_net("sockstat");
        let mut words = sockstat.split_ascii_whitespace().skip_while(|word| *word != "tw").skip(1);
        words.next().and_then(|n| n.parse().ok()).expect("sockstat has `tw N`")
    }

    /// Waits until there are `count` of them: the last segment of a connection
    /// may still be under way when both ends are closed.
    #[track_caller]
    pub fn wait_for_tw(&self, count: u64) {
        crate::wait_for(&format!("{count} mini-sockets"), Duration::from_secs(10), || {
            (self.sockstat_tw() == count).then_some(())
        });
    }

    /// Whether this kernel has a sysctl.
    pub fn sysctl_exists(&self, key: &str) -> bool {
        self.run(|| fs::exists(sysctl_path(key)).unwrap_or(false))
    }

    /// One counter of this namespace, such as `("TcpExt", "TW")`.
    pub fn netstat(&self, group: &str, counter: &str) -> u64 {
        let file = if group == "Tcp" { "snmp" } else { "netstat" };
        let text = self.proc_net(file);
        let mut rows = text
            .lines()
            .filter(|line| line.strip_prefix(group).is_some_and(|rest| rest.starts_with(':')));
        let (names, values) = rows.next().zip(rows.next()).expect("a row of names, one of values");
        let mut columns = names.split_ascii_whitespace().zip(values.split_ascii_whitespace());
        columns
            .find(|(name, _)| *name == counter)
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or_else(|| panic!("this kernel has no counter {group} {counter}"))
    }

    fn proc_net(&self, file: &str) -> String {
        let path = format!("/proc/{}/net/{file}", self.holder.id());
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
    }
}

impl Drop for PrivateNetns {
    fn drop(&mut self) {
        // Both fail only if the holder is gone already.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn sysctl_path(key: &str) -> String {
    format!("/proc/sys/{}", key.replace('.', "/"))
}

/// A name in `/run/netns`, removed when dropped.
pub struct NetnsName {
    name: String,
}

impl NetnsName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

impl Drop for NetnsName {
    fn drop(&mut self) {
        // A name left behind cannot be helped here, and must not hide the test's own failure.
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}
