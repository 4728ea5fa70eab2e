//! The `none` tier: where no BPF is allowed, sock_diag is asked every interval.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
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
        let mut pace = Pace::new(interval);
        let mut stopping = false;
        loop {
            let now_ns = host::monotonic_ns();
            if pace.is_due(now_ns) || stopping {
                let look = Frame::Population(population(netns));
                let tick = Frame::Tick { time_ns: now_ns };
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

/// Counts all sockets of the host, or of one namespace.
fn population(only: Option<u32>) -> Population {
    let mut states: BTreeMap<TcpState, u64> = BTreeMap::new();
    let mut time_wait = 0;
    for netns in seeding::namespaces(only) {
        // A namespace that vanished between listing and looking has no sockets.
        let looked = host::visit_tcp_sockets(&netns, |socket| {
            *states.entry(socket.state).or_default() += 1;
            time_wait += u64::from(socket.mini);
        });
        if let Err(error) = looked {
            log::debug!("netns {}: {error:#}", netns.inode);
        }
    }
    Population { states: states.into_iter().collect(), time_wait }
}
