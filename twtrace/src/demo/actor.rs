//! A process that plays a part: how it is started, and how it begins.

use std::{
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitCode, Output, Stdio},
};

use anyhow::{Context, Result, anyhow, ensure};

use super::{lease, scenes};
use crate::{cli::DEMO_ACTOR, host};

/// Who plays a part.
pub(super) struct Actor {
    /// What others call the process; the kernel keeps 15 bytes.
    pub(super) name: &'static str,
    /// Plays it without end.
    pub(super) play: fn() -> Result<()>,
}

/// What an actor says when others may count on it.
const READY: u8 = b'.';

/// Starts an actor in the calling thread's namespace, whose inode is `netns`, and waits until it
/// is ready. Its standard input is its lease: it ends when nobody holds the other end any more.
pub(super) fn start(actor: &Actor, netns: u32) -> Result<Child> {
    let mut child = Command::new("/proc/self/exe")
        .arg0("twtrace")
        .arg(DEMO_ACTOR)
        .arg(actor.name)
        .arg(netns.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Nothing of it shows up on a terminal that is somebody else's by then.
        .stderr(Stdio::piped())
        // A signal from the terminal is for twtrace, which has a last word to say.
        .process_group(0)
        .spawn()
        .context("cannot start a process of our own program: mount /proc")?;
    if is_ready(&mut child) {
        return Ok(child);
    }
    Err(anyhow!("{} did not begin: {}", actor.name, last_words(child)?))
}

fn is_ready(child: &mut Child) -> bool {
    let mut said = [0];
    let heard = child.stdout.take().map(|mut stdout| stdout.read_exact(&mut said));
    matches!(heard, Some(Ok(()))) && said == [READY]
}

/// What a process said that did not begin, or how it ended if it said nothing.
fn last_words(mut child: Child) -> io::Result<String> {
    // It fails only if it has ended already.
    let _ = child.kill();
    let Output { status, stderr, .. } = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&stderr);
    let said = said.trim().trim_start_matches("twtrace: ");
    Ok(if said.is_empty() { status.to_string() } else { said.to_owned() })
}

/// What is started as a process of its own: plays the part `name` in the namespace `netns`,
/// until its lease ends.
///
/// # Errors
/// It was not started by [`Stage::play`](super::Stage::play), or cannot begin.
pub fn act(name: &str, netns: u32) -> Result<ExitCode> {
    let actor = scenes::actor(name).with_context(|| format!("there is no actor {name}"))?;
    // Before there is a socket or a thread, which would have another name.
    rustix::thread::set_name(&std::ffi::CString::new(name)?)?;
    ensure!(
        host::own()?.inode == netns,
        "{name} plays in a network namespace that `twtrace top --demo` makes"
    );
    lease::end_with_it()?;
    (actor.play)()?;
    Ok(ExitCode::SUCCESS)
}

/// Tells whoever has started us that we can be counted on.
pub(super) fn ready() -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(&[READY]).and_then(|()| out.flush()).context("nobody waits for us")
}
