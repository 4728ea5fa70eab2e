//! The table of sockets, bounded: when it is full, the one that has been quiet
//! longest is forgotten.

use foldhash::fast::FixedState;
use hashlink::LruCache;
use twtrace_common::{ProcessKey, TcpState};

use super::ports::Hold;
use crate::event::{Role, TransitionEvent};

/// What is remembered of a socket between its transitions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Socket {
    /// Its state, as far as the population counts it.
    pub(super) state: Option<TcpState>,
    pub(super) role: Role,
    /// The process that connected it.
    pub(super) owner: Option<ProcessKey>,
    /// The process that sent its FIN, first or second, `Some(None)` if that is `unknown`;
    /// `None` if none was seen.
    pub(super) closer: Option<Option<ProcessKey>>,
    /// Whether that credit is in the counts of this file.
    pub(super) credited: bool,
    /// What it keeps from others.
    pub(super) hold: Hold,
}

impl Socket {
    /// A socket first met in `event`; `seed` is the state in which it was counted.
    pub(super) fn new(event: &TransitionEvent, seed: Option<TcpState>) -> Self {
        let role = match (event.change.old, event.change.new) {
            (TcpState::Close, TcpState::SynSent) | (TcpState::SynSent, _) => Role::Client,
            (TcpState::SynRecv, _) => Role::Server,
            _ => Role::Unknown,
        };
        Self { state: seed, role, owner: None, closer: None, credited: false, hold: Hold::Nothing }
    }
}

/// Sockets by their kernel address. It grows as needed: an idle host does not
/// pay for the bound.
#[derive(Debug)]
pub(super) struct Sockets {
    table: LruCache<u64, Socket, FixedState>,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { table: LruCache::with_hasher(usize::MAX, FixedState::default()) }
    }
}

impl Sockets {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn remove(&mut self, sk: u64) -> Option<Socket> {
        self.table.remove(&sk)
    }

    /// What a socket keeps from others, to change it.
    pub(super) fn hold_mut(&mut self, sk: u64) -> Option<&mut Hold> {
        self.table.peek_mut(&sk).map(|socket| &mut socket.hold)
    }

    /// What all of them keep from others.
    pub(super) fn holds(&self) -> impl Iterator<Item = Hold> {
        self.table.iter().map(|(_, socket)| socket.hold)
    }

    /// All of them, the one that has been quiet longest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Socket)> {
        self.table.iter().map(|(sk, socket)| (*sk, socket))
    }

    /// Remembers a socket; returns the one that had to make room if there is
    /// only `room` for so many.
    pub(super) fn insert(&mut self, sk: u64, socket: Socket, room: usize) -> Option<Socket> {
        let oldest = (self.table.len() >= room)
            .then(|| self.table.remove_lru())
            .flatten()
            .map(|(_, oldest)| oldest);
        self.table.insert(sk, socket);
        oldest
    }
}
