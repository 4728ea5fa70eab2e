//! How long a process of the demo lives.

use std::{io, process, thread};

use anyhow::{Context, Result};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
};

/// An hour; whoever still looks at it then has seen it all.
const LONGEST: Timespec = Timespec { tv_sec: 3_600, tv_nsec: 0 };

/// Ends this process when the other end of its standard input is closed, or after an hour. The
/// kernel closes that however twtrace ends, and nobody else has it. `PR_SET_PDEATHSIG` would
/// not do: it is sent when the thread ends that has started us, and that one only visits our
/// namespace.
/// ([`forget_original_parent`](https://github.com/torvalds/linux/blob/v6.12/kernel/exit.c))
pub(super) fn end_with_it() -> Result<()> {
    let wait = || {
        let stdin = io::stdin();
        // Nothing is ever written there; the end is told unasked.
        let mut fds = [PollFd::new(&stdin, PollFlags::empty())];
        // However it comes out, there is nothing to wait for any more.
        let _ = retry_on_intr(|| poll(&mut fds, Some(&LONGEST)));
        process::exit(0);
    };
    // Without a name it has that of the process.
    thread::Builder::new()
        .spawn(wait)
        .context("cannot start a thread; raise the limit on tasks (ulimit -u)")?;
    Ok(())
}
