//! Who has which sockets, at one moment: by state, namespace, process, listener and other end.
//!
//! One namespace after the other is counted, socket by socket, as the kernel lists them
//! ([`Place`]); of each only what will be shown is kept ([`Census`]). So half a million TIME_WAITs
//! take no more memory than a few. A process is told by the inodes of what it has open
//! ([`Census::report`]).

mod counts;
mod ends;
mod holders;
mod listeners;
mod place;
pub mod report;

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;
use twtrace_common::TcpState;

pub use self::{counts::Counts, place::Place};
use self::{holders::Held, listeners::Listener};
use crate::event::Tuple;

/// A socket, as sock_diag lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its state; of a mini-socket its substate.
    pub state: TcpState,
    /// Whether it is a timewait mini-socket.
    pub mini: bool,
    /// Whether it is established and asks whether its peer still lives (SO_KEEPALIVE).
    pub keepalive: bool,
    /// Its ends.
    pub tuple: Tuple,
    /// The inode by which processes hold it; 0 if none can.
    pub inode: u32,
}

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListeningSocket {
    /// Where it listens.
    pub tuple: Tuple,
    /// The inode by which processes hold it.
    pub inode: u32,
    /// Connections that wait to be accepted.
    pub accept_queue: u32,
    /// How many may wait.
    pub backlog: u32,
}

/// Which processes hold sockets.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    /// Their numbers, by the inode of the socket.
    pub by_inode: HashMap<u32, u32, FixedState>,
    /// Their names; those that were gone before it could be read have none.
    pub names: BTreeMap<u32, String>,
}

/// All namespaces that were looked at.
#[derive(Debug)]
pub struct Census {
    rows: usize,
    namespaces: Vec<Namespace>,
    held: Vec<Held>,
    listeners: Vec<Listener>,
    destinations: Vec<report::Destination>,
    clients: Vec<report::Client>,
    /// Why something is left out, if anything is.
    left_out: Option<String>,
}

/// What is known of one namespace.
#[derive(Debug)]
struct Namespace {
    netns: u32,
    /// Or why they are not known.
    counts: Result<Counts, String>,
    /// Of these, sockets that no process can hold: mini-sockets, half-open requests, those that
    /// were closed, and those that were not accepted yet.
    held_by_none: Counts,
    /// Established sockets that ask whether their peer still lives.
    keepalive: u64,
}

impl Census {
    /// One that will show `rows` rows in each array.
    pub fn new(rows: usize) -> Self {
        Self {
            rows,
            namespaces: Vec::new(),
            held: Vec::new(),
            listeners: Vec::new(),
            destinations: Vec::new(),
            clients: Vec::new(),
            left_out: None,
        }
    }

    /// Takes in a namespace that was listed to its end.
    pub fn add(&mut self, place: Place) {
        let Place {
            netns,
            counts,
            held_by_none,
            keepalive,
            held,
            listeners,
            destinations,
            clients,
        } = place;
        self.namespaces.push(Namespace { netns, counts: Ok(counts), held_by_none, keepalive });
        self.held.extend(held);
        self.listeners.extend(listeners.into_rows());
        self.destinations.extend(destinations.into_rows(self.rows, netns));
        self.clients.extend(clients.into_rows(self.rows, netns));
    }

    /// Takes in that a namespace could not be listed, and why.
    pub fn failed(&mut self, netns: u32, why: String) {
        self.namespaces.push(Namespace {
            netns,
            counts: Err(why),
            held_by_none: Counts::default(),
            keepalive: 0,
        });
    }

    /// Learns that namespaces or processes may be missing, and why.
    pub fn left_out(&mut self, why: String) {
        self.left_out.get_or_insert(why);
    }

    /// The inodes whose holders are to be found.
    pub fn inodes(&self) -> impl Iterator<Item = u32> {
        self.held.iter().map(|held| held.inode)
    }
}
