//! The sockets that exist already.

use log::{debug, warn};
use twtrace_common::TcpState;

use crate::{
    event::Tuple,
    frame::SeedSocket,
    host::{self, Netns, Socket},
};

/// All connected and listening sockets of the host, or of one namespace.
///
/// To be called after attaching, so that a socket is either listed here or
/// tells of itself. A namespace that cannot be entered is left out; its sockets
/// will count as unmatched when they change.
pub(super) fn seeds(only: Option<u32>, netns_known: bool) -> Vec<SeedSocket> {
    let mut seeds = Vec::new();
    for netns in namespaces(only) {
        match host::tcp_sockets(&netns) {
            Ok(sockets) => {
                debug!("netns {}: {} sockets", netns.inode, sockets.len());
                let full = sockets.iter().filter(|socket| has_transitions(socket));
                seeds.extend(full.map(|socket| seed(&netns, socket, netns_known)));
            }
            Err(error) => warn!("sockets of netns {} are not seeded: {error:#}", netns.inode),
        }
    }
    seeds
}

/// The namespaces that can be reached.
pub(super) fn namespaces(only: Option<u32>) -> Vec<Netns> {
    match host::list() {
        Ok(list) => list
            .found
            .into_iter()
            .filter(|netns| only.is_none_or(|only| netns.inode == only))
            .collect(),
        Err(error) => {
            warn!("network namespaces cannot be listed: {error:#}");
            Vec::new()
        }
    }
}

/// Mini-sockets and half-open requests are no full sockets and change silently.
fn has_transitions(socket: &Socket) -> bool {
    !socket.mini && !matches!(socket.state, TcpState::SynRecv | TcpState::Close)
}

fn seed(netns: &Netns, socket: &Socket, netns_known: bool) -> SeedSocket {
    SeedSocket {
        netns: netns_known.then_some(netns.inode),
        state: socket.state,
        tuple: Tuple {
            laddr: socket.laddr,
            raddr: socket.raddr,
            lport: socket.lport,
            rport: socket.rport,
        },
    }
}
