//! The process that still has rights when another has given them up: see [`host::Helper`].

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use rustix::net::{SocketType, sockopt::socket_type};

use crate::{bpf::run_time, host, privileges};

/// Answers on standard input and standard output, which are sockets, until nobody asks any more.
///
/// # Errors
/// Somebody else has started it than twtrace, or something is asked that twtrace does not ask.
pub fn run() -> Result<ExitCode> {
    ignore_signals();
    let (namespaces, holders) = (socket(io::stdin().as_fd())?, socket(io::stdout().as_fd())?);
    privileges::become_helper()?;
    host::serve(namespaces, holders, run_time::open)?;
    Ok(ExitCode::SUCCESS)
}

fn socket(file: BorrowedFd<'_>) -> Result<OwnedFd> {
    let is_one = socket_type(file).is_ok_and(|kind| kind == SocketType::SEQPACKET);
    ensure!(is_one, "this subcommand is for twtrace itself, which starts it when it needs it");
    file.try_clone_to_owned().context("out of file descriptors; raise `ulimit -n`")
}

/// Whoever ends a service signals all of its processes, and this one is asked until the last has
/// been told: it ends when nobody can ask any more.
fn ignore_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: no handler of ours runs: the signal is ignored. The arguments are constants.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}
