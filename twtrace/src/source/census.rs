//! One look at all sockets, for who has which.

use std::collections::{BTreeSet, HashSet};

use anyhow::Result;
use foldhash::fast::FixedState;

use super::seeding;
use crate::{
    census::{Census, Holders, ListeningSocket, Place, Socket},
    host::{self, Netns, Reach},
};

/// How often a namespace is listed when something comes between.
const TRIES: u32 = 3;

/// Lists the sockets of every namespace that can be reached, or of one; rows beyond `rows` are
/// summed.
pub fn look(reach: &Reach, only: Option<u32>, rows: usize) -> Census {
    let mut census = Census::new(rows);
    let looked = seeding::look(reach, only, |netns| {
        let place = place(netns);
        let place = place.inspect_err(|error| census.failed(netns.inode, format!("{error:#}")))?;
        census.add(place);
        Ok(())
    });
    if let Some(why) = looked.first {
        census.left_out(why);
    }
    census
}

/// One namespace. The kernel takes no snapshot, so a list that it says was interrupted is made
/// again, and counts as it is at last.
fn place(netns: &Netns) -> Result<Place> {
    let mut listed = list(netns)?;
    for _ in 1..TRIES {
        if !listed.1.interrupted {
            break;
        }
        listed = list(netns)?;
    }
    Ok(listed.0)
}

fn list(netns: &Netns) -> Result<(Place, host::Dump)> {
    let mut place = Place::new(netns.inode);
    host::visit_tcp_sockets(netns, host::LISTENERS, |socket| place.listener(&listening(socket)))?;
    let others = host::ALL_STATES & !host::LISTENERS;
    let dump = host::visit_tcp_sockets(netns, others, |socket| place.socket(&plain(socket)))?;
    Ok((place, dump))
}

fn listening(socket: &host::Socket) -> ListeningSocket {
    ListeningSocket {
        tuple: seeding::tuple(socket),
        inode: socket.inode,
        accept_queue: socket.receive_queue,
        backlog: socket.send_queue,
    }
}

fn plain(socket: &host::Socket) -> Socket {
    let host::Socket { state, mini, keepalive, inode, .. } = *socket;
    Socket { state, mini, keepalive, tuple: seeding::tuple(socket), inode }
}

/// Finds who holds the sockets that processes may hold.
pub fn holders(reach: &Reach, census: &Census) -> Holders {
    let wanted: HashSet<u32, FixedState> = census.inodes().collect();
    if wanted.is_empty() {
        return Holders::default();
    }
    let found = reach.socket_holders(&wanted);
    let pids: BTreeSet<u32> = found.values().map(|holder| holder.pid).collect();
    let name = |pid| Some((pid, String::from_utf8_lossy(&host::comm(pid)?).into_owned()));
    Holders {
        by_inode: found.into_iter().map(|(inode, holder)| (inode, holder.pid)).collect(),
        names: pids.into_iter().filter_map(name).collect(),
    }
}
