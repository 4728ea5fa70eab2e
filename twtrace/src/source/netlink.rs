//! The `none` tier: where no BPF is allowed, sock_diag is asked every interval.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use log::warn;
use twtrace_common::TcpState;

use super::{Pace, Source, seeding};
use crate::{
    frame::{Frame, Population},
    host,
    probes::Hooks,
};

/// Starts polling; a look at all sockets and a tick come every `interval`.
///
/// # Errors
/// No thread, no file descriptor.
pub fn start(netns: Option<u32>, interval: Duration) -> Result<Source> {
    Source::start("sock-diag", Hooks::POLLING, move |sender, stop| {
        let mut poller = Poller::default();
        let mut pace = Pace::new(interval);
        let mut stopping = false;
        loop {
            if pace.is_due(host::monotonic_ns()) || stopping {
                let look = Frame::Population(poller.population(netns));
                let tick = super::tick(host::monotonic_ns());
                if sender.blocking_send(look).is_err() || sender.blocking_send(tick).is_err() {
                    return Ok(());
                }
            }
            if stopping {
                return Ok(());
            }
            stopping = stop.wait(None, pace.until_next(host::monotonic_ns()))?;
        }
    })
}

/// Asks sock_diag, and says once what it did not answer.
#[derive(Debug, Default)]
struct Poller {
    warned: bool,
}

impl Poller {
    /// All sockets of the host, or of one namespace, counted; `None` if no
    /// namespace could be looked at.
    fn population(&mut self, only: Option<u32>) -> Option<Population> {
        let mut states: BTreeMap<TcpState, u64> = BTreeMap::new();
        let mut time_wait = 0;
        let failed = seeding::look(only, |netns| {
            host::visit_tcp_sockets(netns, host::ALL_STATES, |socket| {
                *states.entry(socket.state).or_default() += 1;
                time_wait += u64::from(socket.mini);
            })
            .map(drop)
        });
        let complete = failed.first.is_none();
        if let Some(first) = failed.first.filter(|_| !std::mem::replace(&mut self.warned, true)) {
            warn!("some sockets are left out: {first}");
        }
        (failed.looked_at > 0).then(|| Population {
            states: states.into_iter().collect(),
            time_wait,
            complete,
        })
    }
}
