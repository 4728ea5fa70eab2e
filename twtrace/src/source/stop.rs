//! A flag that a thread in poll(2) notices.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::{Errno, write},
};

/// Shared between those who ask for the end and the one who works.
#[derive(Clone, Debug)]
pub struct Stop {
    raised: Arc<OwnedFd>,
}

impl Stop {
    pub(super) fn new() -> Result<Self> {
        let raised = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .context("cannot make an eventfd")?;
        Ok(Self { raised: Arc::new(raised) })
    }

    /// Asks for the end, once and for good.
    pub fn raise(&self) {
        // It can only fail when the counter is full: then it is raised already.
        let _ = write(&*self.raised, &1u64.to_ne_bytes());
    }

    /// Sleeps until the end is asked for or `timeout` has passed; returns
    /// whether the end is asked for.
    pub(super) fn wait(&self, timeout: Duration) -> Result<bool> {
        let mut fds = [PollFd::from_borrowed_fd(self.raised.as_fd(), PollFlags::IN)];
        let timeout = Timespec::try_from(timeout).ok();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(fds[0].revents().contains(PollFlags::IN)),
            Err(errno) => Err(errno).context("cannot wait for records"),
        }
    }
}
