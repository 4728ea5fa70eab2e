//! Output that nobody reads: the terminal was closed, or the reader stalls.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use twtrace_tests::tool::program;
use twtrace_tests::wait_for;

const SOON: Duration = Duration::from_secs(15);

/// Ends the tool when a test fails before it has ended by itself.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_closed_terminal_is_a_clean_end() {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
        .expect("a pseudo-terminal");
    grantpt(&terminal).expect("granting it");
    unlockpt(&terminal).expect("unlocking it");
    let name = ptsname(&terminal, Vec::new()).expect("its name");
    let name = name.to_str().expect("its name is UTF-8").to_owned();
    let end = || File::options().read(true).write(true).open(&name).expect("opening its other end");
    let mut command = Command::new(program());
    command.args(["top", "-d", "0.1"]).stdin(end()).stdout(end()).stderr(end());
    // SAFETY: setsid is safe to call between fork and exec. A session of its own
    // keeps the signals of our terminal away.
    unsafe {
        command.pre_exec(|| setsid().map(drop).map_err(Into::into));
    }
    let mut child = Ended(command.spawn().expect("starting the tool"));
    let mut terminal = File::from(terminal);
    terminal.read_exact(&mut [0]).expect("reading what it shows");
    drop(terminal);
    let status = wait_for("the tool to end", SOON, || child.0.try_wait().expect("waiting for it"));
    assert_eq!(status.code(), Some(0), "{status}");
}

#[test]
fn a_signal_is_heard_while_nobody_reads_the_output() {
    let child = Command::new(program())
        .args(["top", "--json", "-d", "0.05"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starting the tool");
    let mut child = Ended(child);
    let stdout = child.0.stdout.take().expect("stdout is piped");
    // Full is a pipe that takes no more while ten snapshots are due.
    let mut last = (0, Instant::now());
    wait_for("the pipe to fill", SOON, || {
        let waiting = ioctl_fionread(&stdout).expect("asking the pipe");
        if waiting != last.0 {
            last = (waiting, Instant::now());
        }
        (waiting > 0 && last.1.elapsed() > Duration::from_millis(500)).then_some(())
    });
    let pid = Pid::from_child(&child.0);
    kill_process(pid, Signal::TERM).expect("asking for the end");
    let status = wait_for("the tool to end", SOON, || child.0.try_wait().expect("waiting for it"));
    assert_eq!(status.code(), Some(0), "{status}");
}
