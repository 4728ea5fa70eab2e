//! What administrators do without a tracer: they ask once a second.

use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::netns;
use super::process;

/// The namespace to ask in is made within this time.
const LIMIT: Duration = Duration::from_secs(5);
/// How often that is looked at.
const POLL: Duration = Duration::from_millis(1);

/// A shell that asks, and waits; killed when dropped.
pub(super) struct Poller {
    child: Child,
}

impl Poller {
    /// Asks by this script from now on, in the namespace of a process that is about to have one
    /// of its own. What is answered is thrown away.
    pub(super) fn start(pid: u32, script: &str) -> Result<Self> {
        let deadline = Instant::now() + LIMIT;
        while !netns::is_another(pid)? {
            if Instant::now() > deadline {
                bail!("process {pid} stays in our network namespace");
            }
            thread::sleep(POLL);
        }
        let forever = format!("while {{ {script}; }} > /dev/null; do sleep 1; done");
        let child = netns::inside(pid, "KILL")
            .args(["sh", "-c", &forever])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start setpriv of util-linux")?;
        Ok(Self { child })
    }

    /// CPU time that it took so far, with all that it started and that has ended, to 10 ms.
    pub(super) fn cpu_ns(&self) -> Result<u64> {
        let seconds = process::cpu_s_with_children(self.child.id())?;
        Ok((seconds * 1e9) as u64)
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
