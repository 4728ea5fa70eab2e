//! Port searches under way.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use twtrace_common::{Outcome, ProcessKey, Search, TcpState};

use super::ports::{Half, RangeNow};
use crate::event::{ConnectEvent, SearchEvent, TransitionEvent};

/// What a connect without a free port fails with, by the kernel's number.
const EADDRNOTAVAIL: u16 = 99;

/// The remote end that a connect searches a port for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// The network namespace; `None` where the hook cannot tell.
    pub netns: Option<u32>,
    /// The address, IPv4 mapped into IPv6.
    pub raddr: [u8; 16],
    /// The port.
    pub rport: u16,
}

/// A search for a local port, or the check of one, that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortSearch {
    /// Which kind.
    pub search: Search,
    /// Whose; `None` if nobody saw who it was.
    pub process: Option<ProcessKey>,
    /// For which remote end; `None` for a bind.
    pub destination: Option<Destination>,
    /// How long it took at most; `None` if nobody saw its end.
    pub latency_ns: Option<u64>,
    /// A positive errno if it found none; 0 if there is a port.
    pub error: u16,
    /// The network namespace; `None` where the hook cannot tell.
    pub netns: Option<u32>,
    /// Of a connect, the local address; `None` where the hook cannot tell.
    pub laddr: Option<[u8; 16]>,
    /// Of a check, the port that was asked for; `None` where the hook cannot tell.
    pub asked_port: Option<u16>,
    /// In which half of the range the port was found, if in any.
    pub half: Option<Half>,
    /// If none was found, how full the range was then; `None` if that is not known.
    pub range: Option<RangeNow>,
    /// How many ports others had that it looked at; `None` where nobody counts.
    pub tried: Option<u32>,
}

impl From<&SearchEvent> for PortSearch {
    fn from(event: &SearchEvent) -> Self {
        let destination =
            Destination { netns: Some(event.netns), raddr: event.raddr, rport: event.rport };
        Self {
            search: event.search,
            process: Some(event.owner),
            destination: (event.search == Search::Connect).then_some(destination),
            latency_ns: Some(event.latency_ns),
            error: event.error,
            netns: Some(event.netns),
            laddr: None,
            asked_port: (event.search == Search::BindExplicit && event.lport != 0)
                .then_some(event.lport),
            half: None,
            range: None,
            tried: event.tried,
        }
    }
}

/// Connects that search, by socket, where only what comes before and after is
/// seen. See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Searches {
    connecting: HashMap<u64, Searching, FixedState>,
}

#[derive(Clone, Copy, Debug)]
struct Searching {
    since_ns: u64,
    process: Option<ProcessKey>,
    laddr: [u8; 16],
    destination: Destination,
}

impl Searches {
    /// Follows a transition; returns the search that is over with it.
    pub(super) fn follow(
        &mut self,
        event: &TransitionEvent,
        outcome: Option<Outcome>,
    ) -> Option<PortSearch> {
        match event.change.search() {
            Some(Search::Connect) => {
                self.connecting.insert(event.sk, Searching::new(event));
                None
            }
            Some(search) => Some(PortSearch {
                search,
                process: event.owner,
                destination: None,
                latency_ns: None,
                error: 0,
                netns: event.netns,
                laddr: None,
                asked_port: None,
                half: None,
                range: None,
                tried: None,
            }),
            None if event.change.new == TcpState::SynSent => {
                // It has its port; whoever was there before is gone.
                self.connecting.remove(&event.sk);
                None
            }
            None if event.change.old == TcpState::SynSent => {
                let searching = self.connecting.remove(&event.sk)?;
                // A connect that got further had its port, though nobody saw it.
                let failed = outcome == Some(Outcome::ConnectNoPort);
                failed.then(|| searching.over(event.time_ns, EADDRNOTAVAIL))
            }
            None => None,
        }
    }

    /// A connect has its port. `None` for one that had it all along.
    pub(super) fn found(&mut self, event: &ConnectEvent) -> Option<PortSearch> {
        let searching = self.connecting.remove(&event.sk)?;
        Some(searching.over(event.time_ns, 0))
    }
}

impl Searching {
    fn new(event: &TransitionEvent) -> Self {
        let destination =
            Destination { netns: event.netns, raddr: event.tuple.raddr, rport: event.tuple.rport };
        let laddr = event.tuple.laddr;
        Self { since_ns: event.time_ns, process: event.owner, laddr, destination }
    }

    fn over(&self, time_ns: u64, error: u16) -> PortSearch {
        PortSearch {
            search: Search::Connect,
            process: self.process,
            destination: Some(self.destination),
            latency_ns: Some(time_ns.saturating_sub(self.since_ns)),
            error,
            netns: self.destination.netns,
            laddr: Some(self.laddr),
            asked_port: None,
            half: None,
            range: None,
            tried: None,
        }
    }
}
