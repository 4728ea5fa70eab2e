//! A flag that a thread in poll(2) notices.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
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
        Ok(self.wait_with(Some(timeout), None)?.is_raised)
    }

    /// The same, and until `other` can be read; without a `timeout`, for as long as it takes.
    pub(super) fn wait_with(
        &self,
        timeout: Option<Duration>,
        other: Option<BorrowedFd<'_>>,
    ) -> Result<Woken> {
        let watched = [Some(self.raised.as_fd()), other];
        let watched = watched.into_iter().flatten();
        let mut fds: Vec<PollFd<'_>> =
            watched.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {
                let is_ready = |fd: &PollFd<'_>| fd.revents().contains(PollFlags::IN);
                Ok(Woken { is_raised: fds.first().is_some_and(is_ready) })
            }
            Err(errno) => Err(errno).context("cannot wait for records"),
        }
    }
}

/// Why a sleep was over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Woken {
    /// The end is asked for; otherwise it is time, something else is there, or a signal came.
    pub(super) is_raised: bool,
}
