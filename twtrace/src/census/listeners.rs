//! Listening sockets, and which of them a connection came through.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;
use twtrace_common::TcpState;

use super::{Counts, ListeningSocket};
use crate::event::Tuple;

/// `::`, on which a listener takes connections of IPv4, too, unless it was told not to
/// ([`ipv6_rcv_saddr_equal`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_connection_sock.c)).
const ANY_V6: [u8; 16] = [0; 16];
/// `0.0.0.0`.
const ANY_V4: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];

/// Listening sockets of one namespace with the same address and port (SO_REUSEPORT).
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) netns: u32,
    pub(super) laddr: [u8; 16],
    pub(super) lport: u16,
    pub(super) sockets: u64,
    /// Of the first.
    pub(super) inode: u32,
    pub(super) accept_queue: u64,
    pub(super) backlog: u64,
    /// The connections that came through them.
    pub(super) connections: Counts,
}

/// The listening sockets of a namespace.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    by_port: HashMap<u16, BTreeMap<[u8; 16], Listener>, FixedState>,
}

impl Listeners {
    pub(super) fn add(&mut self, netns: u32, socket: &ListeningSocket) {
        let Tuple { laddr, lport, .. } = socket.tuple;
        let rows = self.by_port.entry(lport).or_default();
        let row = rows.entry(laddr).or_insert_with(|| Listener {
            netns,
            laddr,
            lport,
            sockets: 0,
            inode: socket.inode,
            accept_queue: 0,
            backlog: 0,
            connections: Counts::default(),
        });
        row.sockets += 1;
        row.accept_queue += u64::from(socket.accept_queue);
        row.backlog += u64::from(socket.backlog);
    }

    /// Counts a connection at the listener that it came through; returns whether there is one.
    pub(super) fn count(&mut self, tuple: &Tuple, state: TcpState) -> bool {
        let Some(rows) = self.by_port.get_mut(&tuple.lport) else { return false };
        let found = addresses(tuple).into_iter().find(|address| rows.contains_key(address));
        let Some(row) = found.and_then(|address| rows.get_mut(&address)) else { return false };
        row.connections.count(state);
        true
    }

    pub(super) fn into_rows(self) -> impl Iterator<Item = Listener> {
        self.by_port.into_values().flat_map(BTreeMap::into_values)
    }
}

/// The addresses at which a connection may have come in, the one that the kernel prefers first
/// ([`inet_lhash2_lookup`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_hashtables.c)).
fn addresses(tuple: &Tuple) -> [[u8; 16]; 3] {
    let any = if tuple.is_v4() { ANY_V4 } else { ANY_V6 };
    [tuple.laddr, any, ANY_V6]
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: [u8; 16] = Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets();
    const THERE: [u8; 16] = Ipv4Addr::new(10, 0, 0, 2).to_ipv6_mapped().octets();
    const V6: [u8; 16] = [0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

    fn listeners(laddrs: &[[u8; 16]]) -> Listeners {
        let mut listeners = Listeners::default();
        for laddr in laddrs {
            let tuple = Tuple { laddr: *laddr, raddr: [0; 16], lport: 80, rport: 0 };
            let socket = ListeningSocket { tuple, inode: 1, accept_queue: 2, backlog: 5 };
            listeners.add(7, &socket);
        }
        listeners
    }

    /// Where connections to these addresses are counted.
    fn counted(mut listeners: Listeners, laddr: [u8; 16], raddr: [u8; 16]) -> Vec<[u8; 16]> {
        let tuple = Tuple { laddr, raddr, lport: 80, rport: 9 };
        let found = listeners.count(&tuple, TcpState::Established);
        let rows = listeners.into_rows().filter(|row| row.connections.sum() == 1);
        let rows: Vec<_> = rows.map(|row| row.laddr).collect();
        assert_eq!(found, !rows.is_empty());
        rows
    }

    #[test]
    fn a_connection_is_of_the_listener_that_fits_best() {
        assert_eq!(counted(listeners(&[HERE, ANY_V4, ANY_V6]), HERE, THERE), [HERE]);
        assert_eq!(counted(listeners(&[THERE, ANY_V4, ANY_V6]), HERE, THERE), [ANY_V4]);
        assert_eq!(counted(listeners(&[ANY_V6]), HERE, THERE), [ANY_V6]);
        assert_eq!(counted(listeners(&[ANY_V4, ANY_V6]), V6, V6), [ANY_V6]);
        assert_eq!(counted(listeners(&[ANY_V4, THERE]), V6, V6), [[0; 16]; 0]);
    }

    #[test]
    fn those_that_share_a_port_are_one_row() {
        let rows: Vec<_> = listeners(&[HERE, HERE]).into_rows().collect();
        let [row] = &rows[..] else { panic!("one row: {rows:?}") };
        assert_eq!((row.sockets, row.accept_queue, row.backlog), (2, 4, 10));
    }

    #[test]
    fn a_port_that_nobody_listens_on_has_no_listener() {
        let tuple = Tuple { laddr: HERE, raddr: THERE, lport: 81, rport: 9 };
        assert!(!listeners(&[HERE]).count(&tuple, TcpState::Established));
    }
}
