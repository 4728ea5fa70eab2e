//! The sockets that exist already.

use anyhow::Result;
use log::{debug, warn};
use twtrace_common::TcpState;

use crate::{
    event::Tuple,
    frame::SeedSocket,
    host::{self, Capability, Netns, Socket},
};

/// What a look at the host's sockets found.
#[derive(Debug, Default)]
pub(super) struct Seeds {
    pub(super) sockets: Vec<SeedSocket>,
    /// Whether every namespace found was looked at.
    pub(super) complete: bool,
}

/// All connected and listening sockets of the host, or of one namespace.
///
/// To be called after attaching, so that a socket is either listed here or
/// tells of itself. A namespace that cannot be entered is left out; its sockets
/// will count as unmatched when they change.
pub(super) fn seeds(only: Option<u32>, netns_known: bool) -> Seeds {
    let mut sockets = Vec::new();
    let failed = look(only, |netns| {
        let found = host::tcp_sockets(netns, host::FULL_SOCKET_STATES)?;
        debug!("netns {}: {} sockets", netns.inode, found.len());
        let full = found.iter().filter(|socket| has_transitions(socket));
        sockets.extend(full.map(|socket| seed(netns, socket, netns_known)));
        Ok(())
    });
    if let Some(first) = &failed.first {
        warn!("some sockets are not seeded: {first}");
    }
    Seeds { sockets, complete: failed.first.is_none() }
}

/// How a look at all namespaces went.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) looked_at: usize,
    /// Why one could not be looked at, for the first of them.
    pub(super) first: Option<String>,
}

/// Looks at every namespace that can be reached, or at one.
pub(super) fn look(only: Option<u32>, mut at: impl FnMut(&Netns) -> Result<()>) -> Looked {
    let mut looked = Looked::default();
    let list = match host::list() {
        Ok(list) => list,
        Err(error) => return Looked { first: Some(format!("{error:#}")), ..looked },
    };
    let hidden = list.unreadable > 0 && !host::capabilities().has(Capability::SysPtrace);
    if only.is_none() && hidden {
        looked.first = Some(format!(
            "{} processes hide their network namespaces; CAP_SYS_PTRACE shows them",
            list.unreadable
        ));
    }
    for netns in list.found.iter().filter(|netns| only.is_none_or(|only| netns.inode == only)) {
        match at(netns) {
            Ok(()) => looked.looked_at += 1,
            Err(error) => {
                looked.first.get_or_insert_with(|| format!("netns {}: {error:#}", netns.inode));
            }
        }
    }
    looked
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
