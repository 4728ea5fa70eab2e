//! The sockets that exist already.

use anyhow::Result;
use log::{debug, warn};
use twtrace_common::TcpState;

use crate::{
    event::Tuple,
    frame::{SeedMini, SeedSocket},
    host::{self, Netns, Reach, Socket},
};

/// What to look for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Only in this namespace.
    pub(super) netns: Option<u32>,
    /// Whether the hooks tell namespaces apart.
    pub(super) netns_known: bool,
    /// Mini-sockets too.
    pub(super) minis: bool,
}

/// What a look at the host's sockets found.
#[derive(Debug, Default)]
pub(super) struct Seeds {
    pub(super) sockets: Vec<SeedSocket>,
    pub(super) minis: Vec<SeedMini>,
    /// Whether every namespace found was looked at.
    pub(super) complete: bool,
}

/// All connected and listening sockets of the host, or of one namespace, and
/// the mini-sockets.
///
/// To be called after attaching, so that a socket is either listed here or
/// tells of itself. A namespace that cannot be entered is left out; its sockets
/// will count as unmatched when they change.
pub(super) fn seeds(reach: &Reach, wanted: Wanted) -> Seeds {
    let mut seeds = Seeds::default();
    let states = if wanted.minis { host::ALL_STATES } else { host::FULL_SOCKET_STATES };
    let failed = look(reach, wanted.netns, |netns| {
        let found = host::tcp_sockets(netns, states)?;
        debug!("netns {}: {} sockets", netns.inode, found.len());
        let full = found.iter().filter(|socket| has_transitions(socket));
        seeds.sockets.extend(full.map(|socket| seed(netns, socket, wanted.netns_known)));
        let minis = found.iter().filter(|socket| wanted.minis && socket.mini);
        let mini = |socket: &Socket| SeedMini {
            netns: netns.inode,
            substate: socket.state,
            expires_ms: socket.expires_ms,
            tuple: tuple(socket),
        };
        seeds.minis.extend(minis.map(mini));
        Ok(())
    });
    if let Some(first) = &failed.first {
        warn!("some sockets are not seeded: {first}");
    }
    seeds.complete = failed.first.is_none();
    seeds
}

/// How a look at all namespaces went.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) looked_at: usize,
    /// Whether namespaces could be listed; some may not have been found even so.
    pub(super) listed: bool,
    /// Whether there may be some that cannot be found.
    pub(super) hidden: bool,
    /// Why one could not be looked at, for the first of them.
    pub(super) first: Option<String>,
}

/// Looks at every namespace that can be reached, or at one.
pub(super) fn look(
    reach: &Reach,
    only: Option<u32>,
    mut at: impl FnMut(&Netns) -> Result<()>,
) -> Looked {
    let list = match reach.list() {
        Ok(list) => list,
        Err(error) => return Looked { first: Some(format!("{error:#}")), ..Looked::default() },
    };
    let told = (list.unreadable > 0).then(|| {
        let unreadable = list.unreadable;
        format!("{unreadable} processes hide their network namespaces; CAP_SYS_PTRACE shows them")
    });
    // Of one namespace none can be missing: it was found.
    let first = told.or_else(|| reach.hidden_processes()).filter(|_| only.is_none());
    let hidden = first.is_some();
    let mut looked = Looked { listed: true, hidden, first, ..Looked::default() };
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
pub(super) fn has_transitions(socket: &Socket) -> bool {
    !socket.mini && !matches!(socket.state, TcpState::SynRecv | TcpState::Close)
}

pub(super) fn seed(netns: &Netns, socket: &Socket, netns_known: bool) -> SeedSocket {
    SeedSocket {
        netns: netns_known.then_some(netns.inode),
        state: socket.state,
        tuple: tuple(socket),
    }
}

pub(super) fn tuple(socket: &Socket) -> Tuple {
    Tuple { laddr: socket.laddr, raddr: socket.raddr, lport: socket.lport, rport: socket.rport }
}
