//! What the kernel answers to sock_diag: a datagram of a list of sockets, or of the end of one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twtrace::host::{Dump, Socket, parsers};

/// Of the dump that is read.
const SEQUENCE: u32 = 1;
/// `struct nlmsghdr` and `struct inet_diag_msg`.
const HEADER: usize = 16;
const MESSAGE: usize = 72;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const TIMER_KEEPALIVE: u8 = 2;
const TIMER_TIME_WAIT: u8 = 3;
/// Any other timer.
const TIMER_PROBE: u8 = 4;

fuzz_target!(|datagram: &[u8]| {
    let mut sockets = Vec::new();
    let mut dump = Dump::default();
    let over = parsers::dump(datagram, SEQUENCE, &mut dump, |socket, _| sockets.push(*socket));
    if let Err(error) = &over {
        assert!(!format!("{error:#}").contains('\n'), "{error:#}");
    }
    let most = datagram.len() / (HEADER + MESSAGE);
    assert!(sockets.len() + dump.unknown as usize <= most, "more sockets than there is room for");
    sockets.iter().for_each(is_read_as_it_is_written);
    // What decides about a socket that was ended is no different for being read twice.
    let ended = parsers::end(datagram).ok();
    assert_eq!(ended, parsers::end(datagram).ok());
});

/// A datagram of this socket alone says the same.
fn is_read_as_it_is_written(socket: &Socket) {
    let mut read = Vec::new();
    let mut dump = Dump::default();
    let over = parsers::dump(&written(socket), SEQUENCE, &mut dump, |socket, _| read.push(*socket));
    assert!(!over.expect("it is sound"), "there may be more");
    assert_eq!((read.as_slice(), dump), (&[*socket][..], Dump::default()));
}

fn written(socket: &Socket) -> Vec<u8> {
    // Addresses of IPv4 may also come as mapped ones of IPv6.
    let family = rustix::net::AddressFamily::INET6.as_raw() as u8;
    let timer = match (socket.mini, socket.keepalive, socket.expires_ms) {
        (true, ..) => TIMER_TIME_WAIT,
        (_, true, _) => TIMER_KEEPALIVE,
        (.., 0) => 0,
        _ => TIMER_PROBE,
    };
    let mut bytes = ((HEADER + MESSAGE) as u32).to_ne_bytes().to_vec();
    bytes.extend([SOCK_DIAG_BY_FAMILY, 0].map(u16::to_ne_bytes).concat());
    bytes.extend([SEQUENCE, 0].map(u32::to_ne_bytes).concat());
    bytes.extend([family, socket.state as u8, timer, 0]);
    bytes.extend([socket.lport, socket.rport].map(u16::to_be_bytes).concat());
    bytes.extend([socket.laddr, socket.raddr].concat());
    let cookie = [socket.cookie as u32, (socket.cookie >> 32) as u32];
    bytes.extend([0, cookie[0], cookie[1], socket.expires_ms].map(u32::to_ne_bytes).concat());
    let queues = [socket.receive_queue, socket.send_queue];
    bytes.extend([queues[0], queues[1], 0, socket.inode].map(u32::to_ne_bytes).concat());
    bytes
}
