//! Who closes towards whom: the sockets of each process by remote end, and the last ones of all.
//!
//! Only kept where somebody looks at one process or one destination.

use std::{collections::VecDeque, net::IpAddr};

use foldhash::fast::FixedState;
use hashlink::LruCache;
use twtrace_common::ProcessKey;

use super::{processes::Processes, snapshot::rfc3339};
use crate::{
    event::{Role, TransitionEvent, Tuple},
    tracker::{Credit, Transition},
};

/// Pairs of a process and a remote end that are remembered; those quiet longest are forgotten.
const MAX_CONTACTS: usize = 16_384;
/// Processes whose last closes are remembered.
const MAX_RECENT: usize = 1_024;
/// Last closes of each.
const RECENT: usize = 32;

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Focus {
    /// One process.
    Process {
        /// Thread group id.
        pid: u32,
        /// When it started, as the Snapshot shows it; `None` for any that had this number.
        start_time: Option<String>,
    },
    /// One remote end of connections.
    Destination {
        /// Inode of the network namespace.
        netns: Option<u32>,
        /// The local address, of which who closed is told for all.
        laddr: Option<String>,
        /// The remote address, as the Snapshot shows it.
        raddr: String,
        /// The remote port.
        rport: u16,
    },
}

/// What is known of a [`Focus`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detail {
    /// Who closed towards whom, the busiest first.
    pub contacts: Vec<Contact>,
    /// The sockets that were closed last, the last first.
    pub recent: Vec<Recent>,
}

/// The closes of one process towards one remote end, or of those that it accepted at one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Thread group id; `None` if nobody saw who it was.
    pub pid: Option<u32>,
    /// Its name.
    pub comm: Option<String>,
    /// Inode of the network namespace.
    pub netns: Option<u32>,
    /// How its sockets came to be connected.
    pub role: Role,
    /// The remote address; of sockets that it accepted `None`.
    pub raddr: Option<String>,
    /// The remote port, or of sockets that it accepted the local one.
    pub port: u16,
    /// How its sockets closed.
    pub closes: Closes,
}

/// How sockets closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closes {
    /// It sent the first FIN.
    pub active: u64,
    /// It answered the peer's.
    pub passive: u64,
    /// It cut the connection.
    pub reset: u64,
}

impl Closes {
    /// All of them.
    pub fn all(self) -> u64 {
        self.active + self.passive + self.reset
    }

    fn count(&mut self, credit: Credit) {
        match credit {
            Credit::ActiveClose => self.active += 1,
            // Both FINs crossed: it was counted as the first.
            Credit::ActiveCloseWithdrawn => self.active = self.active.saturating_sub(1),
            Credit::PeerClose => self.passive += 1,
            Credit::Reset => self.reset += 1,
        }
    }
}

/// A socket that was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent {
    /// When, in nanoseconds on the clock of records.
    pub time_ns: u64,
    /// Its ends.
    pub tuple: Tuple,
    /// How it came to be connected.
    pub role: Role,
    /// How it closed: `active`, `passive` or `reset`.
    pub how: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Pair {
    process: Option<ProcessKey>,
    netns: Option<u32>,
    role: Role,
    /// Unspecified of sockets that were accepted.
    raddr: [u8; 16],
    port: u16,
}

impl Pair {
    fn of(process: Option<ProcessKey>, transition: &Transition, tuple: &Tuple) -> Self {
        let (role, netns) = (transition.role, transition.netns);
        let (raddr, port) = match role {
            Role::Server => ([0; 16], tuple.lport),
            Role::Client | Role::Unknown => (tuple.raddr, tuple.rport),
        };
        Self { process, netns, role, raddr, port }
    }

    fn contact(&self, closes: Closes, processes: &Processes) -> Contact {
        Contact {
            pid: self.process.map(|process| process.tgid),
            comm: processes.comm(self.process),
            netns: self.netns,
            role: self.role,
            raddr: (self.role != Role::Server).then(|| Tuple::shown(self.raddr)),
            port: self.port,
            closes,
        }
    }
}

/// Who closes towards whom. See the module's documentation.
#[derive(Debug)]
pub(super) struct Contacts {
    pairs: LruCache<Pair, Closes, FixedState>,
    recent: LruCache<ProcessKey, VecDeque<Recent>, FixedState>,
}

impl Default for Contacts {
    fn default() -> Self {
        Self {
            pairs: LruCache::with_hasher(MAX_CONTACTS, FixedState::default()),
            recent: LruCache::with_hasher(MAX_RECENT, FixedState::default()),
        }
    }
}

impl Contacts {
    pub(super) fn apply(&mut self, event: &TransitionEvent, transition: &Transition) {
        let Some((credit, process)) = transition.credit else { return };
        let pair = Pair::of(process, transition, &event.tuple);
        self.pairs.entry(pair).or_insert_with(Closes::default).count(credit);
        let (Some(process), Some(how)) = (process, named(credit)) else { return };
        let recent = self.recent.entry(process).or_insert_with(VecDeque::new);
        if recent.len() == RECENT {
            recent.pop_back();
        }
        let (time_ns, tuple, role) = (event.time_ns, event.tuple, transition.role);
        recent.push_front(Recent { time_ns, tuple, role, how });
    }

    /// What is known of `focus`; a process started so many nanoseconds after
    /// `wall_at_boot_ns`.
    pub(super) fn of(&self, focus: &Focus, processes: &Processes, wall_at_boot_ns: u64) -> Detail {
        let is_meant = |process: &ProcessKey| match focus {
            Focus::Process { pid, start_time } => {
                let started = || rfc3339(wall_at_boot_ns.saturating_add(process.start_time_ns));
                process.tgid == *pid && start_time.as_ref().is_none_or(|it| *it == started())
            }
            Focus::Destination { .. } => false,
        };
        let remote = match focus {
            Focus::Destination { netns, raddr, rport, .. } => Some((*netns, octets(raddr), *rport)),
            Focus::Process { .. } => None,
        };
        let is_wanted = |pair: &Pair| match remote {
            Some((netns, raddr, rport)) => {
                (pair.netns, Some(pair.raddr), pair.port) == (netns, raddr, rport)
                    && pair.role != Role::Server
            }
            None => pair.process.as_ref().is_some_and(is_meant),
        };
        let wanted = self.pairs.iter().filter(|(pair, _)| is_wanted(pair));
        let mut contacts: Vec<Contact> =
            wanted.map(|(pair, closes)| pair.contact(*closes, processes)).collect();
        contacts.sort_by_key(|contact| std::cmp::Reverse(contact.closes.all()));
        let recent = self.recent.iter().filter(|(process, _)| is_meant(process));
        Detail { contacts, recent: recent.flat_map(|(_, list)| list.iter().cloned()).collect() }
    }
}

fn named(credit: Credit) -> Option<&'static str> {
    match credit {
        Credit::ActiveClose => Some("active"),
        Credit::PeerClose => Some("passive"),
        Credit::Reset => Some("reset"),
        Credit::ActiveCloseWithdrawn => None,
    }
}

/// An address as the Snapshot shows it, in the form of a tuple.
fn octets(address: &str) -> Option<[u8; 16]> {
    match address.parse().ok()? {
        IpAddr::V4(address) => Some(address.to_ipv6_mapped().octets()),
        IpAddr::V6(address) => Some(address.octets()),
    }
}
