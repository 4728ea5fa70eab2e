//! What is remembered of sockets: whether each is wanted, and of those of which that is
//! not known yet what they have told.

use foldhash::fast::FixedState;
use hashlink::LruCache;
use twtrace_common::{ProcessKey, TcpState};

use super::{Filter, records::wants_held};
use crate::{
    event::{TransitionEvent, Tuple},
    frame::{CarriedSocket, Held, SeedSocket},
};

/// What one socket may tell before it is known whether it is wanted: several times what
/// any does between its birth and its close.
const MAX_KEPT: usize = 2_048;

/// One socket.
#[derive(Clone, Debug)]
pub(super) struct Socket {
    pub(super) netns: Option<u32>,
    /// As its last transition told.
    pub(super) tuple: Tuple,
    /// By its last transition.
    pub(super) state: TcpState,
    /// Whether it is a listener's child, whose birth nobody counted yet.
    pub(super) is_child: bool,
    /// Whether its ends are wanted; `None` as long as those that decide are not known.
    ends: Option<bool>,
    /// Whether no end is missing but its local port.
    has_remote: bool,
    /// Whether a process that is wanted has done something with it, if one is asked for.
    owned: bool,
    /// The process that did something with it, as long as it is not known whether it is wanted.
    pub(super) awaits: Option<ProcessKey>,
    /// Where it listens, as long as it is left out.
    pub(super) listens: Option<(u32, u16)>,
    /// How sock_diag told of it, if nobody was told that yet.
    pub(super) seed: Option<SeedSocket>,
    /// How another file told of it, if nobody was told that yet.
    pub(super) carried: Option<Box<CarriedSocket>>,
    /// Its records so far, if nobody was told them yet.
    pub(super) kept: Vec<u8>,
}

impl Socket {
    /// A socket that is first met in `event`.
    pub(super) fn new(filter: &Filter, event: &TransitionEvent, is_child: bool) -> Self {
        Self {
            netns: event.netns,
            tuple: event.tuple,
            state: event.change.old,
            is_child,
            ends: None,
            has_remote: true,
            owned: !filter.asks_for_process(),
            awaits: None,
            listens: None,
            seed: None,
            carried: None,
            kept: Vec::new(),
        }
    }

    /// A socket that another file tells of.
    pub(super) fn carried(filter: &Filter, carried: &CarriedSocket) -> Self {
        let ends = carried.held.ends();
        let netns = match (ends, carried.held) {
            (Some((netns, _)), _) | (None, Held::Port { netns, .. }) => Some(netns),
            _ => None,
        };
        let nowhere = Tuple { laddr: [0; 16], raddr: [0; 16], lport: 0, rport: 0 };
        Self {
            netns,
            tuple: ends.map_or(nowhere, |(_, tuple)| tuple),
            state: carried.state.unwrap_or(TcpState::Close),
            is_child: false,
            ends: wants_held(filter, netns, &carried.held),
            has_remote: ends.is_some(),
            owned: !filter.asks_for_process(),
            awaits: None,
            listens: None,
            seed: None,
            carried: Some(Box::new(*carried)),
            kept: Vec::new(),
        }
    }

    /// Whether it is known whether its ends are wanted, but for a port that it has not yet.
    pub(super) fn knows_ends(&self) -> bool {
        self.ends.is_some() || self.has_remote
    }

    /// Whether it is wanted; `None` as long as that is not known.
    pub(super) fn is_wanted(&self) -> Option<bool> {
        match self.ends {
            Some(true) if self.owned => Some(true),
            Some(false) => Some(false),
            _ => None,
        }
    }

    /// Whether nothing is lost with it: its ends are not wanted, which each of its transitions
    /// tells again.
    pub(super) fn can_be_forgotten(&self) -> bool {
        self.ends == Some(false) && self.listens.is_none()
    }

    /// Its ends as a transition tells them.
    pub(super) fn learn_ends(&mut self, filter: &Filter, event: &TransitionEvent) {
        if self.ends.is_none() {
            self.ends = filter.wants(event.netns, &event.tuple);
        }
    }

    /// Its local port, once there is one: nothing else was missing.
    pub(super) fn learn_lport(&mut self, filter: &Filter, lport: u16) {
        if self.ends.is_none() && self.has_remote {
            self.ends = filter.wants_lport(lport);
        }
    }

    /// Somebody did something with it, of whom it is known whether he is wanted, or not yet.
    pub(super) fn learn_owner(&mut self, process: ProcessKey, is_wanted: Option<bool>) {
        match is_wanted {
            Some(true) => {
                self.owned = true;
                self.awaits = None;
            }
            Some(false) if self.awaits == Some(process) => self.awaits = None,
            Some(false) => {}
            None => self.awaits = Some(process),
        }
    }

    /// Keeps a record back. One that tells too much is no sound socket.
    pub(super) fn keep(&mut self, record: &[u8]) {
        if self.kept.len() + record.len() > MAX_KEPT {
            self.ends = Some(false);
            self.kept = Vec::new();
        } else {
            self.kept.extend_from_slice(record);
        }
    }
}

/// Sockets by their kernel address, bounded: the one that has been quiet longest is
/// forgotten.
#[derive(Debug)]
pub(super) struct Sockets {
    limit: usize,
    table: LruCache<u64, Socket, FixedState>,
}

impl Sockets {
    pub(super) fn new(limit: usize) -> Self {
        // It grows as needed: an idle host does not pay for the bound.
        Self { limit, table: LruCache::with_hasher(usize::MAX, FixedState::default()) }
    }

    pub(super) fn remove(&mut self, sk: u64) -> Option<Socket> {
        self.table.remove(&sk)
    }

    /// Remembers a socket; returns the one that had to make room.
    pub(super) fn put(&mut self, sk: u64, socket: Socket) -> Option<Socket> {
        let oldest = (self.table.len() >= self.limit)
            .then(|| self.table.remove_lru())
            .flatten()
            .map(|(_, oldest)| oldest);
        self.table.insert(sk, socket);
        oldest
    }

    /// The addresses of those that wait for `process`.
    pub(super) fn awaiting(&self, process: ProcessKey) -> Vec<u64> {
        let awaits = |socket: &Socket| socket.awaits == Some(process);
        self.table.iter().filter(|(_, socket)| awaits(socket)).map(|(sk, _)| *sk).collect()
    }
}
