//! One namespace, while its sockets are listed.

use twtrace_common::TcpState;

use super::{
    Counts, ListeningSocket, Socket,
    ends::{ClientKey, DestinationKey, Ends},
    holders::Held,
    listeners::Listeners,
};

/// What is counted of the sockets of one namespace.
#[derive(Debug)]
pub struct Place {
    pub(super) netns: u32,
    pub(super) counts: Counts,
    pub(super) held_by_none: Counts,
    pub(super) keepalive: u64,
    pub(super) held: Vec<Held>,
    pub(super) listeners: Listeners,
    pub(super) destinations: Ends<DestinationKey>,
    pub(super) clients: Ends<ClientKey>,
}

impl Place {
    /// Of the namespace with this inode; its listening sockets come first.
    pub fn new(netns: u32) -> Self {
        Self {
            netns,
            counts: Counts::default(),
            held_by_none: Counts::default(),
            keepalive: 0,
            held: Vec::new(),
            listeners: Listeners::default(),
            destinations: Ends::default(),
            clients: Ends::default(),
        }
    }

    /// Takes in a listening socket.
    pub fn listener(&mut self, socket: &ListeningSocket) {
        self.listeners.add(self.netns, socket);
        self.held_by(socket.inode, TcpState::Listen);
    }

    /// Takes in any other socket.
    pub fn socket(&mut self, socket: &Socket) {
        self.held_by(socket.inode, socket.state);
        self.keepalive += u64::from(socket.keepalive);
        if self.listeners.count(&socket.tuple, socket.state) {
            self.clients.count(ClientKey::from(&socket.tuple), socket.mini);
        } else if socket.tuple.rport != 0 {
            self.destinations.count(DestinationKey::from(&socket.tuple), socket.mini);
        }
    }

    fn held_by(&mut self, inode: u32, state: TcpState) {
        self.counts.count(state);
        if inode == 0 {
            self.held_by_none.count(state);
        } else {
            self.held.push(Held { inode, state, netns: self.netns });
        }
    }
}
