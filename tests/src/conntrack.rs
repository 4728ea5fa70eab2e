//! Entries of connection tracking without packets, by ctnetlink
//! ([`nf_conntrack_netlink.c`](https://github.com/torvalds/linux/blob/v6.12/net/netfilter/nf_conntrack_netlink.c)).

use std::net::Ipv4Addr;

use socket2::{Domain, Protocol, Socket, Type};

/// <https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/netfilter/nfnetlink.h>
const SUBSYSTEM: u16 = 1 << 8;
const NEW: u16 = SUBSYSTEM;
const DELETE: u16 = SUBSYSTEM | 2;
const REQUEST_CREATE: u16 = 0x1 | 0x400;
const REQUEST_ACK: u16 = 0x1 | 0x4;
/// Of attributes that hold others.
const NESTED: u16 = 1 << 15;
const UDP: u8 = 17;
/// As many in one datagram as the send buffer surely takes.
const BATCH: u32 = 500;

/// Makes so many entries in the network namespace of the calling thread.
pub fn fill(entries: u32) {
    let socket = netlink();
    for first in (0..entries).step_by(BATCH as usize) {
        let batch = (first..entries.min(first + BATCH)).flat_map(entry).collect::<Vec<u8>>();
        socket.send(&batch).expect("asking for entries");
    }
}

/// Removes all entries of that namespace.
pub fn flush() {
    let socket = netlink();
    socket.send(&message(DELETE, REQUEST_ACK, &[])).expect("asking for none");
    let mut answer = [std::mem::MaybeUninit::uninit(); 64];
    socket.recv(&mut answer).expect("an answer");
}

fn netlink() -> Socket {
    let netfilter = Protocol::from(libc::NETLINK_NETFILTER);
    Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(netfilter))
        .expect("a socket of netfilter: this kernel has none")
}

/// Of a datagram to another address each, from 10.0.0.1:1.
fn entry(number: u32) -> Vec<u8> {
    let (near, far) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::from(0x0b00_0000 + number));
    let original = tuple(1, near, far);
    let reply = tuple(2, far, near);
    // For ten minutes.
    let timeout = attribute(7, &600_u32.to_be_bytes());
    message(NEW, REQUEST_CREATE, &[original, reply, timeout].concat())
}

fn tuple(kind: u16, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let addresses = [attribute(1, &from.octets()), attribute(2, &to.octets())].concat();
    let port = 1_u16.to_be_bytes();
    let protocol = [attribute(1, &[UDP]), attribute(2, &port), attribute(3, &port)].concat();
    let parts = [attribute(1 | NESTED, &addresses), attribute(2 | NESTED, &protocol)];
    attribute(kind | NESTED, &parts.concat())
}

fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = 4 + payload.len() as u16;
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), payload].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A header, `struct nfgenmsg` of IPv4, and attributes.
fn message(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let length = (16 + 4 + attributes.len()) as u32;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].as_flattened());
    bytes.extend([0; 8]);
    bytes.extend([libc::AF_INET as u8, 0, 0, 0]);
    bytes.extend(attributes);
    bytes
}
