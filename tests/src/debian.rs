//! A Debian to install packages on, with systemd as its first process.
//!
//! `cargo xtask test` makes the system once, below `target/debian`; nothing is ever written to it: what
//! happens inside is kept in memory and gone with the container.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::netns::PrivateNetns;
use crate::wait_for;

/// What booting takes on a machine that does other things too.
const BOOT: Duration = Duration::from_secs(90);
/// What a tracer needs, and a container does not have as a rule.
const CAPABILITIES: &str = "--capability=CAP_BPF,CAP_PERFMON,CAP_SYSLOG,CAP_NET_ADMIN";
const SYSTEM_CALLS: &str = "--system-call-filter=bpf perf_event_open";

/// The system as it is before a package is installed.
pub fn root() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debian/root");
    assert!(path.join("usr/bin/dpkg").exists(), "make it first: cargo xtask dist --debian");
    path.canonicalize().expect("the folder is there")
}

/// What `cargo xtask dist` made, which the container sees as /dist.
pub fn dist() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/dist");
    assert!(path.join("SHA256SUMS").exists(), "make it first: cargo xtask dist");
    path.canonicalize().expect("the folder is there")
}

/// A running Debian; switched off when dropped.
pub struct Debian {
    nspawn: Child,
    /// Its first process, by the number that it has outside.
    init: u32,
}

impl Debian {
    /// Boots it, in a network namespace that is there already. What it says goes to `console`.
    pub fn boot(netns: &PrivateNetns, console: &Path) -> Self {
        let said = File::create(console).expect("creating a file for the console");
        let nspawn = Command::new("systemd-nspawn")
            .args(["--quiet", "--boot", "--register=no", "--keep-unit", "--volatile=overlay"])
            .args([CAPABILITIES, SYSTEM_CALLS])
            .arg(format!("--directory={}", root().display()))
            .arg(format!("--bind-ro={}:/dist", dist().display()))
            .arg(format!("--network-namespace-path=/proc/{}/ns/net", netns.holder()))
            // Without it /proc/kallsyms is hidden, which no real host does.
            .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "yes")
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("a descriptor"))
            .stderr(said)
            .spawn()
            .expect("the live tests need `systemd-nspawn` of systemd-container");
        let mut debian = Self { nspawn, init: 0 };
        debian.init = wait_for("the container's first process", BOOT, || debian.first_process());
        wait_for("the container to be up", BOOT, || {
            let said = debian.command("systemctl", &["is-system-running"]).output().ok()?;
            // A unit of Debian's own may fail in a container.
            let up = ["running", "degraded"];
            up.contains(&String::from_utf8_lossy(&said.stdout).trim()).then_some(())
        });
        debian
    }

    /// The child of nspawn; nspawn itself is no part of the container.
    fn first_process(&mut self) -> Option<u32> {
        if let Some(status) = self.nspawn.try_wait().expect("waiting for the container") {
            panic!("systemd-nspawn ended: {status}; its console has more");
        }
        let id = self.nspawn.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        let child: u32 = children.split_whitespace().next()?.parse().ok()?;
        let comm = std::fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        (comm.trim() == "systemd").then_some(child)
    }

    /// A command to be run inside.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--all", "--target", &self.init.to_string(), "--", "/usr/bin/env", "-i"]);
        command.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", program]).args(args);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command inside and returns what it printed; panics unless it succeeds.
    #[track_caller]
    pub fn output(&self, program: &str, args: &[&str]) -> String {
        let output = self.command(program, args).output().expect("nsenter can be started");
        assert!(
            output.status.success(),
            "`{program} {}` failed inside, {}: {}{}",
            args.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        String::from_utf8(output.stdout).expect("a command prints UTF-8")
    }

    /// A folder or file of the container, as it is reached from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.init))
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        // Everything inside ends with its first process, and nspawn tidies up after it; a container
        // outlives an nspawn that is killed.
        if let Some(init) = Pid::from_raw(self.init.cast_signed()) {
            let _ = kill_process(init, Signal::KILL);
        } else {
            let _ = self.nspawn.kill();
        }
        let _ = self.nspawn.wait();
    }
}
