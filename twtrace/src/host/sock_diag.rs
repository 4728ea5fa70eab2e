//! All TCP sockets of a network namespace, from NETLINK_SOCK_DIAG.
//!
//! The messages are read in place: at half a million sockets most of the time
//! is the kernel's, and what is left should stay small
//! (docs/decisions/0003-sock-diag.md has the figures and why no crate parses them).

use std::{collections::BTreeMap, io, os::fd::OwnedFd};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, netlink::SocketAddrNetlink},
};
use twtrace_common::TcpState;
use zerocopy::{
    FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned, big_endian,
    native_endian::{U16, U32},
};

use super::{netns::Netns, opening::Opening};

/// One TCP socket, request socket or timewait mini-socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its state; a mini-socket has FIN_WAIT2 or TIME_WAIT. Half-open requests
    /// are SYN_RECV, bound ones that neither connect nor listen CLOSE.
    pub state: TcpState,
    /// A timewait mini-socket of either substate, what sockstat counts as `tw`.
    pub mini: bool,
    /// Established, and its peer is asked whether it still lives (SO_KEEPALIVE).
    pub keepalive: bool,
    /// Local port.
    pub lport: u16,
    /// Remote port, 0 if none.
    pub rport: u16,
    /// Local address, IPv4 mapped into IPv6 (`::ffff:a.b.c.d`).
    pub laddr: [u8; 16],
    /// Remote address in the same form, unspecified if none.
    pub raddr: [u8; 16],
    /// The inode by which /proc/PID/fd names it; 0 for mini-sockets, requests
    /// and sockets that no process holds any more.
    pub inode: u32,
    /// Milliseconds until its timer fires (for a mini-socket: until it ends,
    /// unless re-armed or early killed); 0 if no timer runs.
    pub expires_ms: u32,
    /// Bytes that wait to be read; of a listener, connections that wait to be accepted
    /// ([`tcp_diag_get_info`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_diag.c)).
    pub receive_queue: u32,
    /// Bytes that the peer has not acknowledged; of a listener, how many may wait: its backlog.
    pub send_queue: u32,
    /// The socket cookie: the same for as long as the socket lives, and from
    /// FIN_WAIT2 to TIME_WAIT.
    pub cookie: u64,
}

/// How a dump went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// The kernel noticed that sockets changed under the dump.
    pub interrupted: bool,
    /// Sockets left out since their state is unknown to this version of twtrace.
    pub unknown: u64,
}

/// All TCP sockets of `netns`, IPv4 and IPv6, in `states`: a bit for each state's number.
///
/// The kernel takes no snapshot: it walks its hash table bucket by bucket, so
/// a socket that changes meanwhile may be missing or come twice (the same
/// `cookie`). Interrupted dumps are done again, at most three times in
/// all; the last one counts as it is, since an uninterrupted one promises no more.
///
/// # Errors
/// If the namespace may not be entered, the kernel lacks `tcp_diag`, or the
/// dump broke off.
pub fn tcp_sockets(netns: &Netns, states: u32) -> Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for attempt in 1..=TRIES {
        sockets.clear();
        match visit_tcp_sockets(netns, states, |socket| sockets.push(*socket)) {
            Ok(dump) if !dump.interrupted => break,
            Err(error) if attempt == TRIES || !is_transient(&error) => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(sockets)
}

/// Hands each TCP socket of `netns` to `visit`, as [`tcp_sockets`] but in the
/// memory of one socket and without trying again.
///
/// # Errors
/// As [`tcp_sockets`]; `visit` may have seen some sockets by then.
pub fn visit_tcp_sockets(
    netns: &Netns,
    states: u32,
    mut visit: impl FnMut(&Socket),
) -> Result<Dump> {
    dump(netns, states, 0, |socket, _| visit(socket))
}

/// A socket in CLOSE_WAIT: its peer has closed, its process has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseWaitSocket {
    /// The socket. One without an inode has not been accepted yet: what a process closes
    /// leaves this state.
    pub socket: Socket,
    /// How long its peer has acknowledged nothing, in milliseconds; `None` if the kernel
    /// does not tell.
    ///
    /// It is in CLOSE_WAIT at least as long: the FIN acknowledged something, too
    /// ([`tcp_ack`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_input.c) sets
    /// `rcv_tstamp` for every segment but those that came out of order). It is longer where
    /// the peer was heard since: it answers keepalive, and acknowledges data.
    pub silent_ms: Option<u32>,
}

/// The TCP sockets of `netns` in CLOSE_WAIT, each once. The kernel walks its table as for all
/// of them ([`inet_diag_dump_icsk`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_diag.c)),
/// and sends only these.
///
/// # Errors
/// As [`tcp_sockets`].
pub fn close_wait_sockets(netns: &Netns) -> Result<Vec<CloseWaitSocket>> {
    let mut sockets = BTreeMap::new();
    dump(netns, 1 << TcpState::CloseWait as u32, WITH_INFO, |socket, attributes| {
        if socket.state == TcpState::CloseWait && !socket.mini {
            let found = CloseWaitSocket { socket: *socket, silent_ms: silent_ms(attributes) };
            sockets.insert(socket.cookie, found);
        }
    })?;
    Ok(sockets.into_values().collect())
}

/// Hands each socket in `states` to `visit`, with the attributes that `extensions` ask for.
fn dump(
    netns: &Netns,
    states: u32,
    extensions: u8,
    mut visit: impl FnMut(&Socket, &[u8]),
) -> Result<Dump> {
    let socket = open(netns)?;
    let mut dump = Dump::default();
    let mut buffer = vec![0; BUFFER];
    for (sequence, family) in (1..).zip([AF_INET, AF_INET6]) {
        request(&socket, family, states, extensions, sequence)
            .map_err(|errno| explain(errno, "ask"))?;
        let mut batch = Batch { sequence, dump: &mut dump, visit: &mut visit };
        while batch.read(receive(&socket, &mut buffer)?)? == Progress::More {}
    }
    Ok(dump)
}

/// Ends a socket, as `ss --kill` does. Returns whether it is gone now: some
/// kernels end no mini-sockets
/// ([`tcp_abort`](https://github.com/torvalds/linux/blob/v5.10/net/ipv4/tcp.c)), and
/// some are built without this (`CONFIG_INET_DIAG_DESTROY`).
///
/// # Errors
/// If the namespace may not be entered, or the kernel refuses otherwise: it
/// takes `CAP_NET_ADMIN`.
pub fn destroy(netns: &Netns, target: &Socket) -> Result<bool> {
    let socket = open(netns)?;
    let mut request = Request::tcp(family_of(target), SOCK_DESTROY, NLM_F_ACK, 1);
    request.states = (1 << target.state as u32).into();
    request.id = SocketId::of(target);
    send(&socket, &request).map_err(|errno| explain(errno, "end"))?;
    let mut buffer = [0; 512];
    parse_end(receive(&socket, &mut buffer)?)
}

/// Whether a socket that was to be ended is gone, by the datagram that answers.
///
/// # Errors
/// As [`destroy`], and an answer that is cut.
pub fn parse_end(answer: &[u8]) -> Result<bool> {
    let (_, body, _) =
        split(answer).context("the kernel sent a cut answer: twtrace does not know this kernel")?;
    match errno(body) {
        // It went by itself.
        None | Some(Errno::NOENT) => Ok(true),
        Some(Errno::OPNOTSUPP) => Ok(false),
        Some(errno) => Err(explain(errno, "end")),
    }
}

/// The family that finds it: a lookup of IPv4 finds IPv4-mapped sockets too.
fn family_of(socket: &Socket) -> u8 {
    if ipv4(socket.laddr).is_some() { AF_INET } else { AF_INET6 }
}

/// How often [`tcp_sockets`] tries.
const TRIES: u32 = 3;

/// The kernel fills at most 32 KiB per receive, however large the buffer:
/// [`netlink_dump`](https://github.com/torvalds/linux/blob/v6.12/net/netlink/af_netlink.c).
const BUFFER: usize = 64 << 10;

/// `SOCK_DIAG_BY_FAMILY`:
/// [`sock_diag.h`](https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/sock_diag.h).
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;

/// `NLMSG_ERROR`, `NLMSG_DONE`, `NLM_F_*`:
/// [`netlink.h`](https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/netlink.h).
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;

const IPPROTO_TCP: u8 = 6;
const AF_INET: u8 = AddressFamily::INET.as_raw() as u8;
const AF_INET6: u8 = AddressFamily::INET6.as_raw() as u8;

/// Every state but the pseudo-states above CLOSING. SYN_RECV asks for the
/// half-open requests as well; BOUND_INACTIVE (13) would cost a walk over
/// another hash table for sockets that have no peer:
/// [`inet_diag_dump_icsk`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_diag.c).
pub const ALL_STATES: u32 = (1 << 12) - 2;

/// Listening sockets alone, for which the kernel does not walk its large table.
pub const LISTENERS: u32 = 1 << TcpState::Listen as u32;

/// [`ALL_STATES`] without those that only mini-sockets and half-open requests
/// are in; FIN_WAIT2 mini-sockets come all the same.
pub const FULL_SOCKET_STATES: u32 =
    ALL_STATES & !(1 << TcpState::TimeWait as u32) & !(1 << TcpState::SynRecv as u32);

/// The timer of timewait mini-sockets, of both substates:
/// [`inet_twsk_diag_fill`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_diag.c).
const TIMER_TIME_WAIT: u8 = 3;
/// Of an established socket the timer of keepalive, where no segment waits for its ACK
/// ([`inet_sk_diag_fill`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_diag.c)).
const TIMER_KEEPALIVE: u8 = 2;

/// `INET_DIAG_INFO`, and what asks for it: a bit by its number, from 1
/// ([`inet_sk_diag_fill`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_diag.c)).
const INET_DIAG_INFO: u16 = 2;
const WITH_INFO: u8 = 1 << (INET_DIAG_INFO - 1);

/// Where `tcpi_last_ack_recv` is in `struct tcp_info`, which only ever grows at its end:
/// [`tcp.h`](https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/tcp.h).
const LAST_ACK_RECV: usize = 8 + 12 * 4;

/// `struct nlmsghdr`.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    length: U32,
    kind: U16,
    flags: U16,
    sequence: U32,
    port: U32,
}

/// `struct nlattr`.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Attribute {
    length: U16,
    kind: U16,
}

/// `struct inet_diag_sockid`, as the next two from
/// [`inet_diag.h`](https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/inet_diag.h).
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct SocketId {
    lport: big_endian::U16,
    rport: big_endian::U16,
    laddr: [u8; 16],
    raddr: [u8; 16],
    interface: U32,
    /// Low half, high half, whatever the byte order.
    cookie: [U32; 2],
}

/// `struct inet_diag_req_v2`, behind its header.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Request {
    header: Header,
    family: u8,
    protocol: u8,
    extensions: u8,
    padding: u8,
    states: U32,
    id: SocketId,
}

/// `struct inet_diag_msg`; attributes may follow.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Message {
    family: u8,
    state: u8,
    timer: u8,
    retransmits: u8,
    id: SocketId,
    expires_ms: U32,
    receive_queue: U32,
    send_queue: U32,
    uid: U32,
    inode: U32,
}

const _: () = assert!(size_of::<Header>() == 16 && size_of::<Attribute>() == 4);
const _: () = assert!(size_of::<Request>() == 16 + 56);
const _: () = assert!(size_of::<Message>() == 72);

fn open(netns: &Netns) -> Result<OwnedFd> {
    let opened = netns.open(Opening::SockDiag)?.pop().unwrap_or(Err(Errno::INVAL));
    opened.map_err(|errno| explain(errno, "open"))
}

fn request(
    socket: &OwnedFd,
    family: u8,
    states: u32,
    extensions: u8,
    sequence: u32,
) -> Result<(), Errno> {
    let mut request = Request::tcp(family, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, sequence);
    request.states = states.into();
    request.extensions = extensions;
    send(socket, &request)
}

fn send(socket: &OwnedFd, request: &Request) -> Result<(), Errno> {
    let kernel = SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(socket, request.as_bytes(), SendFlags::empty(), &kernel).map(drop)
}

impl Request {
    fn tcp(family: u8, kind: u16, flags: u16, sequence: u32) -> Self {
        let mut request = Self::new_zeroed();
        request.header.length = (size_of::<Self>() as u32).into();
        request.header.kind = kind.into();
        request.header.flags = (NLM_F_REQUEST | flags).into();
        request.header.sequence = sequence.into();
        request.family = family;
        request.protocol = IPPROTO_TCP;
        request
    }
}

impl SocketId {
    /// What names `socket`, and no other that may have its place by now.
    fn of(socket: &Socket) -> Self {
        let [laddr, raddr] =
            [socket.laddr, socket.raddr].map(|address| ipv4(address).unwrap_or(address));
        Self {
            lport: socket.lport.into(),
            rport: socket.rport.into(),
            laddr,
            raddr,
            interface: 0.into(),
            cookie: [socket.cookie as u32, (socket.cookie >> 32) as u32].map(Into::into),
        }
    }
}

/// An IPv4-mapped address as sock_diag has those of IPv4: first in its field.
fn ipv4(address: [u8; 16]) -> Option<[u8; 16]> {
    let [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] = address else {
        return None;
    };
    Some([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// Receives one datagram into the front of `buffer`.
///
/// The kernel fills the next datagram of a dump before it hands out this one,
/// so there is never anything to wait for, and a dump without an end cannot hang us.
fn receive<'a>(socket: &OwnedFd, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    loop {
        match rustix::net::recv(socket, &mut *buffer, RecvFlags::TRUNC | RecvFlags::DONTWAIT) {
            Ok((_, length)) if length > buffer.len() => {
                bail!(
                    "the kernel sent {length} bytes of sockets at once: twtrace does not know this kernel"
                )
            }
            Ok((_, 0)) | Err(Errno::AGAIN) => {
                bail!("the kernel broke off its list of sockets: try again")
            }
            Ok((length, _)) => return Ok(&buffer[..length]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(explain(errno, "receive")),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    More,
    Done,
}

/// Reads the datagrams of one dump.
struct Batch<'a, F> {
    /// Messages of other dumps are passed over.
    sequence: u32,
    dump: &'a mut Dump,
    visit: &'a mut F,
}

impl<F: FnMut(&Socket, &[u8])> Batch<'_, F> {
    fn read(&mut self, mut bytes: &[u8]) -> Result<Progress> {
        while !bytes.is_empty() {
            let (header, body, rest) = split(bytes).context(
                "the kernel sent a cut list of sockets: twtrace does not know this kernel",
            )?;
            bytes = rest;
            if header.sequence.get() == self.sequence
                && self.message(header, body)? == Progress::Done
            {
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::More)
    }

    fn message(&mut self, header: &Header, body: &[u8]) -> Result<Progress> {
        self.dump.interrupted |= header.flags.get() & NLM_F_DUMP_INTR != 0;
        match header.kind.get() {
            SOCK_DIAG_BY_FAMILY => self.socket(body)?,
            // A dump that fails half-way ends with DONE and the error; one that
            // cannot start, with ERROR. Both begin with a negative errno or 0.
            NLMSG_DONE | NLMSG_ERROR => {
                return match errno(body) {
                    Some(errno) => Err(explain(errno, "list")),
                    None => Ok(Progress::Done),
                };
            }
            // NLMSG_NOOP and whatever a later kernel may add.
            _ => {}
        }
        Ok(Progress::More)
    }

    fn socket(&mut self, body: &[u8]) -> Result<()> {
        let (message, attributes) = Message::ref_from_prefix(body).map_err(|_| {
            anyhow!("the kernel sent a cut socket: twtrace does not know this kernel")
        })?;
        match Socket::from_message(message) {
            Some(socket) => (self.visit)(&socket, attributes),
            None => self.dump.unknown += 1,
        }
        Ok(())
    }
}

/// Reads one datagram of the dump `sequence`: hands its sockets to `visit`, with how long their
/// peers have acknowledged nothing, and returns whether the dump is over.
///
/// # Errors
/// The dump broke off, or what came is cut.
pub fn parse_dump(
    datagram: &[u8],
    sequence: u32,
    dump: &mut Dump,
    mut visit: impl FnMut(&Socket, Option<u32>),
) -> Result<bool> {
    let mut visit = |socket: &Socket, attributes: &[u8]| visit(socket, silent_ms(attributes));
    let mut batch = Batch { sequence, dump, visit: &mut visit };
    Ok(batch.read(datagram)? == Progress::Done)
}

/// Takes the first message: header, body, and what follows its padding.
fn split(bytes: &[u8]) -> Option<(&Header, &[u8], &[u8])> {
    let (header, _) = Header::ref_from_prefix(bytes).ok()?;
    let length = usize::try_from(header.length.get()).ok()?;
    let body = bytes.get(size_of::<Header>()..length)?;
    // The last message of a datagram may come without its padding.
    let next = length.next_multiple_of(4).min(bytes.len());
    Some((header, body, &bytes[next..]))
}

/// How long nothing was acknowledged, by the `struct tcp_info` among `attributes`.
fn silent_ms(attributes: &[u8]) -> Option<u32> {
    let info = attribute(attributes, INET_DIAG_INFO)?;
    let (millis, _) = U32::read_from_prefix(info.get(LAST_ACK_RECV..)?).ok()?;
    Some(millis.get())
}

/// The payload of the attribute `kind`, if it is among those.
fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let (header, _) = Attribute::ref_from_prefix(attributes).ok()?;
        let length = usize::from(header.length.get());
        let payload = attributes.get(size_of::<Attribute>()..length)?;
        if header.kind.get() == kind {
            return Some(payload);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

/// The errno at the start of a body: negative, or 0 or absent for none.
fn errno(body: &[u8]) -> Option<Errno> {
    let (code, _) = U32::read_from_prefix(body).ok()?;
    let code = (code.get() as i32).checked_neg()?;
    // The kernel's MAX_ERRNO; rustix would panic on what lies beyond.
    (1..4096).contains(&code).then(|| Errno::from_raw_os_error(code))
}

impl Socket {
    fn from_message(message: &Message) -> Option<Self> {
        let address: fn([u8; 16]) -> [u8; 16] = match message.family {
            AF_INET => mapped,
            // IPv4 on an IPv6 socket comes mapped from the kernel.
            AF_INET6 => |address| address,
            _ => return None,
        };
        let id = &message.id;
        let [low, high] = id.cookie.map(|half| u64::from(half.get()));
        let state = state(message.state)?;
        Some(Self {
            state,
            mini: message.timer == TIMER_TIME_WAIT,
            keepalive: state == TcpState::Established && message.timer == TIMER_KEEPALIVE,
            lport: id.lport.get(),
            rport: id.rport.get(),
            laddr: address(id.laddr),
            raddr: address(id.raddr),
            inode: message.inode.get(),
            expires_ms: if message.timer == 0 { 0 } else { message.expires_ms.get() },
            receive_queue: message.receive_queue.get(),
            send_queue: message.send_queue.get(),
            cookie: high << 32 | low,
        })
    }
}

/// The pseudo-states that a socket's dump may show are those of half-open
/// requests and of bound sockets; the latter are in CLOSE.
/// [`tcp_states.h`](https://github.com/torvalds/linux/blob/v6.12/include/net/tcp_states.h#L12-L28)
fn state(raw: u8) -> Option<TcpState> {
    match raw {
        12 => Some(TcpState::SynRecv),
        13 => Some(TcpState::Close),
        _ => TcpState::from_raw(raw),
    }
}

/// An IPv4 address, first in its field, as `::ffff:a.b.c.d`.
fn mapped([a, b, c, d, ..]: [u8; 16]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

fn is_transient(error: &anyhow::Error) -> bool {
    let errno = error.downcast_ref::<io::Error>().and_then(Errno::from_io_error);
    matches!(errno, Some(Errno::NOMEM | Errno::NOBUFS | Errno::BUSY))
}

/// Says what an errno of the kernel means here.
///
/// ENOENT: no handler is registered for the family or for TCP, and the kernel
/// could not load the module itself
/// ([`__sock_diag_cmd`](https://github.com/torvalds/linux/blob/v6.12/net/core/sock_diag.c)).
fn explain(errno: Errno, action: &str) -> anyhow::Error {
    match errno {
        Errno::NOENT | Errno::PROTONOSUPPORT | Errno::OPNOTSUPP => {
            anyhow!("this kernel does not list TCP sockets yet: `modprobe tcp_diag inet_diag`")
        }
        Errno::NOMEM | Errno::NOBUFS => anyhow::Error::new(io::Error::from(errno))
            .context("the kernel has no memory to list TCP sockets: free some and try again"),
        _ => anyhow::Error::new(io::Error::from(errno))
            .context(format!("cannot {action} TCP sockets by sock_diag")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, TcpListener, TcpStream};

    use proptest::prelude::*;

    use super::*;

    /// A message of `kind` with its header and padding, as the kernel would send it.
    fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let header = Header {
            length: ((size_of::<Header>() + body.len()) as u32).into(),
            kind: kind.into(),
            flags: flags.into(),
            sequence: 1.into(),
            port: 0.into(),
        };
        let mut bytes = [header.as_bytes(), body].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn time_wait() -> Message {
        let mut message = Message::new_zeroed();
        message.family = AF_INET;
        message.state = 6;
        message.timer = TIMER_TIME_WAIT;
        message.id.lport = 40_000.into();
        message.id.rport = 443.into();
        message.id.laddr[..4].copy_from_slice(&[10, 0, 0, 1]);
        message.id.raddr[..4].copy_from_slice(&[10, 0, 0, 2]);
        message.id.cookie = [7.into(), 1.into()];
        message.expires_ms = 59_000.into();
        (message.receive_queue, message.send_queue) = (3.into(), 4.into());
        message
    }

    fn read(bytes: &[u8]) -> (Result<Progress>, Vec<Socket>, Dump) {
        let (mut sockets, mut dump) = (Vec::new(), Dump::default());
        let mut visit = |socket: &Socket, _: &[u8]| sockets.push(*socket);
        let progress = Batch { sequence: 1, dump: &mut dump, visit: &mut visit }.read(bytes);
        (progress, sockets, dump)
    }

    fn text(result: Result<Progress>) -> String {
        format!("{:#}", result.unwrap_err())
    }

    #[test]
    fn a_time_wait_socket_is_read() {
        // An attribute behind the message is passed over.
        let body = [time_wait().as_bytes(), &[5, 0, 8, 0, 1]].concat();
        let mut bytes = message(SOCK_DIAG_BY_FAMILY, 2, &body);
        bytes.extend(message(NLMSG_DONE, 2, &0_i32.to_ne_bytes()));
        let (progress, sockets, dump) = read(&bytes);
        assert_eq!(progress.unwrap(), Progress::Done);
        assert_eq!(dump, Dump::default());
        let expected = Socket {
            state: TcpState::TimeWait,
            mini: true,
            keepalive: false,
            lport: 40_000,
            rport: 443,
            laddr: std::net::Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets(),
            raddr: std::net::Ipv4Addr::new(10, 0, 0, 2).to_ipv6_mapped().octets(),
            inode: 0,
            expires_ms: 59_000,
            receive_queue: 3,
            send_queue: 4,
            cookie: 1 << 32 | 7,
        };
        assert_eq!(sockets, [expected]);
    }

    #[test]
    fn mapped_addresses_of_both_families_are_the_same() {
        let ipv4 = Socket::from_message(&time_wait()).unwrap();
        let mut message = time_wait();
        message.family = AF_INET6;
        message.id.laddr = ipv4.laddr;
        message.id.raddr = ipv4.raddr;
        assert_eq!(Socket::from_message(&message).unwrap(), ipv4);
    }

    #[test]
    fn pseudo_states_have_a_place_and_unknown_ones_are_counted() {
        for raw in 0..=u8::MAX {
            let body = Message { state: raw, ..time_wait() };
            let (progress, sockets, dump) = read(&message(SOCK_DIAG_BY_FAMILY, 2, body.as_bytes()));
            assert_eq!(progress.unwrap(), Progress::More);
            let known = (1..=13).contains(&raw);
            assert_eq!((sockets.len() as u64, dump.unknown), (known.into(), (!known).into()));
        }
        assert_eq!(state(12), Some(TcpState::SynRecv));
        assert_eq!(state(13), Some(TcpState::Close));
    }

    #[test]
    fn a_mini_socket_is_told_by_its_timer_not_its_state() {
        let of =
            |state, timer| Socket::from_message(&Message { state, timer, ..time_wait() }).unwrap();
        assert!(of(5, 3).mini && !of(5, 2).mini);
        assert!(of(1, 2).keepalive && !of(1, 1).keepalive && !of(5, 2).keepalive);
        assert_eq!((of(5, 0).expires_ms, of(5, 2).expires_ms), (0, 59_000));
    }

    #[test]
    fn what_the_peer_acknowledged_last_is_read() {
        let attribute = |kind: u16, payload: &[u8]| {
            let length = (size_of::<Attribute>() + payload.len()) as u16;
            let header = Attribute { length: length.into(), kind: kind.into() };
            let mut bytes = [header.as_bytes(), payload].concat();
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let mut info = [0; 232];
        info[56..60].copy_from_slice(&61_234_u32.to_ne_bytes());
        let [before, info] = [attribute(8, &[1]), attribute(INET_DIAG_INFO, &info)];
        let attributes = [before.clone(), info.clone(), before.clone()].concat();
        assert_eq!(silent_ms(&attributes), Some(61_234));
        assert_eq!(silent_ms(&before), None);
        for length in 0..info.len() {
            assert_eq!(silent_ms(&info[..length]), None, "it is cut");
        }
        assert_eq!(silent_ms(&attribute(INET_DIAG_INFO, &[0; 59])), None, "it is shorter");
        assert_eq!(silent_ms(&[0; 8]), None, "an attribute has a header at least");
    }

    #[test]
    fn who_does_not_close_is_seen() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
        drop(connect());
        let (accepted, _) = listener.accept().unwrap();
        let open = connect();
        drop(connect());
        std::thread::sleep(std::time::Duration::from_millis(50));
        let found = close_wait_sockets(&crate::host::own().unwrap()).unwrap();
        let of_port: Vec<_> = found.iter().filter(|it| it.socket.lport == port).collect();
        assert_eq!(of_port.len(), 2, "{of_port:?}");
        let is_accepted = |it: &&&CloseWaitSocket| it.socket.inode != 0;
        assert_eq!(of_port.iter().filter(is_accepted).count(), 1, "{of_port:?}");
        for it in of_port {
            assert!(it.silent_ms.is_some_and(|silent| (30..30_000).contains(&silent)), "{it:?}");
        }
        drop((accepted, open));
    }

    #[test]
    fn errors_name_the_fix() {
        let fails = |kind, errno: i32| read(&message(kind, 0, &(-errno).to_ne_bytes())).0;
        for kind in [NLMSG_ERROR, NLMSG_DONE] {
            let no_module = text(fails(kind, 2));
            assert!(no_module.contains("modprobe tcp_diag inet_diag"), "{no_module}");
            assert!(text(fails(kind, 1)).starts_with("cannot list TCP sockets by sock_diag: "));
        }
        assert!(is_transient(&fails(NLMSG_ERROR, 12).unwrap_err()));
        assert!(!is_transient(&fails(NLMSG_ERROR, 1).unwrap_err()));
        assert_eq!(read(&message(NLMSG_DONE, 0, &[])).0.unwrap(), Progress::Done);
        for nonsense in [i32::MAX, i32::MIN, -5] {
            let body = nonsense.to_ne_bytes();
            let _ = read(&message(NLMSG_ERROR, 0, &body)).0;
        }
    }

    #[test]
    fn an_interrupted_dump_is_marked() {
        let body = time_wait();
        let (_, sockets, dump) =
            read(&message(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP_INTR, body.as_bytes()));
        assert!(dump.interrupted && sockets.len() == 1);
    }

    #[test]
    fn other_dumps_and_kinds_are_passed_over() {
        let mut bytes = message(SOCK_DIAG_BY_FAMILY, 2, time_wait().as_bytes());
        bytes[8] = 9;
        bytes.extend(message(1, 0, &[]));
        bytes.extend(message(999, 0, b"later"));
        let (progress, sockets, _) = read(&bytes);
        assert_eq!((progress.unwrap(), sockets.len()), (Progress::More, 0));
    }

    #[test]
    fn every_cut_is_an_error_or_a_whole_number_of_messages() {
        let whole = message(SOCK_DIAG_BY_FAMILY, 2, time_wait().as_bytes()).repeat(2);
        for length in 0..=whole.len() {
            let (progress, sockets, _) = read(&whole[..length]);
            assert_eq!(progress.is_ok(), length % (whole.len() / 2) == 0, "{length}");
            assert_eq!(sockets.len(), length / (whole.len() / 2));
        }
        let short = message(SOCK_DIAG_BY_FAMILY, 2, &time_wait().as_bytes()[..71]);
        assert!(text(read(&short).0).contains("cut socket"));
    }

    /// The own namespace needs no right, so this runs everywhere.
    #[test]
    fn own_sockets_are_seen_in_canonical_form() {
        let Ok(listener) = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) else {
            return;
        };
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let sockets = tcp_sockets(&crate::host::own().unwrap(), ALL_STATES).unwrap();
        let loopback = std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
        let find = |lport, state| {
            sockets.iter().find(|s| s.lport == lport && s.state == state).copied().unwrap()
        };
        assert_eq!(find(port, TcpState::Listen).laddr, [0; 16]);
        let ends = [port, client.local_addr().unwrap().port()];
        let [accepted, connected] = ends.map(|lport| find(lport, TcpState::Established));
        for end in [accepted, connected] {
            assert_eq!((end.laddr, end.raddr, end.mini), (loopback, loopback, false));
        }
        assert_ne!(connected.inode, 0);
        assert_ne!(connected.cookie, accepted.cookie);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, at in 0usize..200, byte: u8) {
            let _ = (read(&bytes), silent_ms(&bytes));
            let mut flipped = message(SOCK_DIAG_BY_FAMILY, 2, time_wait().as_bytes()).repeat(2);
            let length = flipped.len();
            flipped[at % length] = byte;
            let _ = read(&flipped);
        }
    }
}
