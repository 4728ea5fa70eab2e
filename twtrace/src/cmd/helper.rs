//! The process that still has rights when another has given them up: see [`host::Helper`].

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::{Context, Result, ensure};
use rustix::net::{SocketType, sockopt::socket_type};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

use crate::{bpf::run_time, host, privileges};

/// Answers on standard input and standard output, which are sockets, until nobody asks any more.
///
/// # Errors
/// Somebody else has started it than twtrace, or something is asked that twtrace does not ask.
pub fn run() -> Result<ExitCode> {
    // It was started as /proc/self/exe, which tells nobody what it is.
    rustix::thread::set_name(c"twtrace-helper").context("cannot set the name of a process")?;
    outlive_signals()?;
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
fn outlive_signals() -> Result<()> {
    let nobody_looks = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register(signal, Arc::clone(&nobody_looks)).context("cannot catch signals")?;
    }
    Ok(())
}
