//! Single connections that end in a particular way. Call these inside a
//! [`PrivateNetns`]; everything is bounded in time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

use crate::netns::PrivateNetns;
use crate::traffic::Family;
use crate::wait_for;

const STEP: Duration = Duration::from_secs(10);

/// Both ends of one connection, after a byte each way.
pub struct Pair {
    /// The end that connected.
    pub client: TcpStream,
    /// The end that was accepted.
    pub server: TcpStream,
}

impl Pair {
    /// Connects to `listener`, a listener of `family`, and accepts.
    pub fn open(listener: &TcpListener, family: Family) -> Self {
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let client = TcpStream::connect(family.address(1, port)).expect("connecting");
        let (server, _) = listener.accept().expect("accepting");
        Self { client, server }.talk()
    }

    /// The same from an address that the client chooses, and may use again.
    pub fn open_from(address: SocketAddr, listener: &TcpListener, family: Family) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)
            .expect("a socket to connect");
        socket.set_reuse_address(true).expect("SO_REUSEADDR");
        socket.bind(&address.into()).expect("binding the client");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        socket.connect(&family.address(1, port).into()).expect("connecting");
        let (server, _) = listener.accept().expect("accepting");
        Self { client: socket.into(), server }.talk()
    }

    fn talk(mut self) -> Self {
        for end in [&self.client, &self.server] {
            end.set_read_timeout(Some(STEP)).expect("SO_RCVTIMEO");
        }
        pass_byte(&mut self.client, &mut self.server);
        pass_byte(&mut self.server, &mut self.client);
        self
    }

    /// The client closes; the server, which is returned, has seen it and stays
    /// open. So the client's mini-socket is born, or soon will be, in FIN_WAIT2.
    pub fn close_client_alone(mut self) -> TcpStream {
        drop(self.client);
        expect_end(&mut self.server);
        self.server
    }

    /// The server closes second, and waits in LAST_ACK: the client, which has closed, has taken no FIN, and
    /// is gone without a word. Returns the address that the client had.
    pub fn leave_server_in_last_ack(mut self) -> SocketAddr {
        let address = self.client.local_addr().expect("a connection has two addresses");
        self.client.shutdown(Shutdown::Write).expect("the client's FIN");
        expect_end(&mut self.server);
        drop_all_packets(&SockRef::from(&self.client));
        drop(self.server);
        // A socket that is under repair says nothing when it is closed.
        set_tcp_option(&self.client, libc::TCP_REPAIR, 1);
        address
    }

    /// The client closes first, and would rather send RST than wait for the
    /// server in FIN_WAIT2: it leaves no mini-socket, by its own choice.
    pub fn close_client_first_without_waiting(self) {
        set_tcp_option(&self.client, libc::TCP_LINGER2, -1);
        close_in_order(self.client, self.server);
    }

    /// The client closes, then the server; then the server's address sends the
    /// RST that ends the client's TIME_WAIT, the hazard of RFC 1337.
    pub fn close_client_first_and_assassinate(self) {
        // The server's FIN takes one more.
        let next = sent(&self.server).wrapping_add(1);
        let [from, to] = [self.server.local_addr(), self.server.peer_addr()]
            .map(|address| address.expect("a connection has two addresses"));
        self.close_client_first();
        send_reset(from, to, next);
    }

    /// The client closes, the server reads the end and closes.
    pub fn close_client_first(self) {
        close_in_order(self.client, self.server);
    }

    /// The server closes, the client reads the end and closes.
    pub fn close_server_first(self) {
        close_in_order(self.server, self.client);
    }

    /// The client closes with SO_LINGER 0, the server sees the reset.
    pub fn abort(mut self) {
        SockRef::from(&self.client).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        drop(self.client);
        let error = self.server.read(&mut [0]).expect_err("the server must see the reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }

    /// The client shuts down its sending side; the server answers once more and
    /// closes; then the client closes.
    pub fn close_by_halves(mut self) {
        self.client.shutdown(Shutdown::Write).expect("shutting down the sending side");
        expect_end(&mut self.server);
        pass_byte(&mut self.server, &mut self.client);
        drop(self.server);
        expect_end(&mut self.client);
    }

    /// The client shuts down its sending side and closes, then the server closes.
    pub fn close_by_halves_alone(mut self) {
        self.client.shutdown(Shutdown::Write).expect("shutting down the sending side");
        expect_end(&mut self.server);
        // Once the delayed ACK is there, the client is in FIN_WAIT2, and closes in that state.
        std::thread::sleep(Duration::from_millis(100));
        drop(self.client);
    }

    /// Both FINs are under way at once, so that both ends go through CLOSING.
    ///
    /// A slow queue on `lo` holds the first FIN back until the second is sent;
    /// what else runs in this namespace at the time is held back too.
    pub fn close_crossed(mut self, netns: &PrivateNetns) {
        let before = netns.sockstat_tw();
        // One packet of this size passes at once, the next waits for 60 ms.
        netns.output("tc", &SLOW_LOOPBACK.split(' ').collect::<Vec<_>>());
        self.client.write_all(b"x").expect("sending the byte that uses up the allowance");
        self.client.shutdown(Shutdown::Write).expect("the client's FIN");
        self.server.shutdown(Shutdown::Write).expect("the server's FIN");
        self.server.read_exact(&mut [0]).expect("reading the byte");
        wait_for("both ends to reach TIME_WAIT", STEP, || {
            (netns.sockstat_tw() == before + 2).then_some(())
        });
        netns.output("tc", &["qdisc", "delete", "dev", "lo", "root"]);
    }

    /// Both ends have shut down before either FIN is sent, but only the client
    /// goes through CLOSING: the server's FIN leaves first and is acknowledged
    /// while the client's waits behind data that the server has not read.
    pub fn close_half_crossed(mut self) {
        for end in [&mut self.client, &mut self.server] {
            fill(end);
        }
        self.client.shutdown(Shutdown::Write).expect("the client's FIN");
        self.server.shutdown(Shutdown::Write).expect("the server's FIN");
        for end in [&mut self.client, &mut self.server] {
            io::copy(end, &mut io::sink()).expect("reading what the other end had sent");
        }
    }
}

const SLOW_LOOPBACK: &str = "qdisc add dev lo root tbf rate 8kbit burst 100 limit 100000";

/// Writes until nothing fits any more at either end.
fn fill(end: &mut TcpStream) {
    end.set_nonblocking(true).expect("O_NONBLOCK");
    let mut refusals = 0;
    // What is under way can make room once more; 10 refusals in a row are final.
    while refusals < 10 {
        match end.write(&[0; 65536]) {
            Ok(_) => refusals = 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                refusals += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => panic!("filling the send queue: {error}"),
        }
    }
    end.set_nonblocking(false).expect("O_NONBLOCK");
}

fn pass_byte(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"x").expect("sending a byte");
    to.read_exact(&mut [0]).expect("reading a byte");
}

fn expect_end(stream: &mut TcpStream) {
    assert_eq!(stream.read(&mut [0]).expect("waiting for the end of the stream"), 0);
}

fn close_in_order(first: TcpStream, mut second: TcpStream) {
    drop(first);
    expect_end(&mut second);
}

fn set_tcp_option(stream: &TcpStream, option: libc::c_int, value: libc::c_int) {
    set_option(stream, libc::IPPROTO_TCP, option, value);
}

/// Sets an option of a socket that is one integer.
#[track_caller]
pub fn set_option(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) {
    // SAFETY: the kernel reads one integer, which lives across the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    assert_eq!(done, 0, "option {level}/{option} = {value}: {}", io::Error::last_os_error());
}

/// The sequence number that the next byte of this end will have, by `TCP_REPAIR`.
fn sent(stream: &TcpStream) -> u32 {
    /// <https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/tcp.h#L149-L168>
    const SEND_QUEUE: libc::c_int = 2;
    const ON: libc::c_int = 1;
    /// Off, and no probe to the other end.
    const OFF_QUIETLY: libc::c_int = -1;

    set_tcp_option(stream, libc::TCP_REPAIR, ON);
    set_tcp_option(stream, libc::TCP_REPAIR_QUEUE, SEND_QUEUE);
    let mut sequence = 0_u32;
    let mut size = size_of_val(&sequence) as libc::socklen_t;
    // SAFETY: the kernel writes at most `size` bytes to `sequence`.
    let done = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_QUEUE_SEQ,
            (&raw mut sequence).cast(),
            &raw mut size,
        )
    };
    assert_eq!(done, 0, "TCP_QUEUE_SEQ: {}", io::Error::last_os_error());
    set_tcp_option(stream, libc::TCP_REPAIR, OFF_QUIETLY);
    sequence
}

/// Sends a segment that is nothing but RST.
fn send_reset(from: SocketAddr, to: SocketAddr, sequence: u32) {
    const RST: u16 = 0x04;
    let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else {
        panic!("only IPv4 segments are made by hand");
    };
    let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP)).expect("a raw socket");
    raw.bind(&SocketAddr::new((*from.ip()).into(), 0).into())
        .expect("choosing the sender's address");
    let to_address = SocketAddr::new((*to.ip()).into(), 0).into();
    raw.send_to(&segment(from, to, sequence, RST), &to_address).expect("sending RST");
}

/// Sends a SYN from an address that need not be ours, as floods do.
pub fn send_syn(from: SocketAddrV4, to: SocketAddrV4) {
    const SYN: u16 = 0x02;
    /// Version 4, five words; 64 hops; TCP. The kernel fills in the checksum
    /// ([raw(7)](https://man7.org/linux/man-pages/man7/raw.7.html)).
    const HEADER: [u8; 12] = [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0];
    let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP)).expect("a raw socket");
    raw.set_header_included_v4(true).expect("IP_HDRINCL");
    let header = [&HEADER[..], &from.ip().octets(), &to.ip().octets()].concat();
    let packet = [header, segment(from, to, 1, SYN)].concat();
    raw.send_to(&packet, &SocketAddr::new((*to.ip()).into(), 0).into()).expect("sending SYN");
}

/// A segment of these flags without data.
fn segment(from: SocketAddrV4, to: SocketAddrV4, sequence: u32, flags: u16) -> Vec<u8> {
    const TCP: u16 = 6;
    let words = |n: u32| [(n >> 16) as u16, n as u16];
    let mut segment = [0_u16; 10];
    segment[..2].copy_from_slice(&[from.port(), to.port()]);
    segment[2..4].copy_from_slice(&words(sequence));
    // Five words of header, the flags, a window.
    (segment[6], segment[7]) = ((5 << 12) | flags, u16::MAX);
    let pseudo = [words(from.ip().to_bits()), words(to.ip().to_bits()), [TCP, 20]];
    let sum = pseudo.as_flattened().iter().chain(&segment).map(|word| u32::from(*word)).sum();
    let [carry, sum] = words(sum);
    let [carry, sum] = words(u32::from(carry) + u32::from(sum));
    segment[8] = !(carry + sum);
    segment.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Nothing that is sent to this socket reaches it from now on.
fn drop_all_packets(socket: &Socket) {
    /// `BPF_RET | BPF_K` of classic BPF: keep this many bytes of the packet.
    const RETURN: u16 = 0x06;
    socket.attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)]).expect("attaching a socket filter");
}

/// A listener that no SYN reaches: connects to it get no answer at all.
pub struct DeafListener(TcpListener);

impl Default for DeafListener {
    fn default() -> Self {
        Self::new()
    }
}

impl DeafListener {
    /// A listener whose socket filter drops every packet.
    pub fn new() -> Self {
        let listener = Family::V4.listen();
        drop_all_packets(&SockRef::from(&listener));
        Self(listener)
    }

    fn address(&self) -> SocketAddr {
        let port = self.0.local_addr().expect("a bound socket has an address").port();
        Family::V4.address(1, port)
    }

    /// Connects and waits for the time-out, some 3 s: ETIMEDOUT.
    pub fn connect_until_timeout(&self, netns: &PrivateNetns) -> io::Error {
        netns.sysctl_set("net.ipv4.tcp_syn_retries", "1");
        TcpStream::connect(self.address()).expect_err("nobody answers")
    }

    /// Connects, and closes the socket while it waits for an answer.
    pub fn connect_and_give_up(&self) {
        drop(self.connect_in_vain());
    }

    /// Begins to connect; the socket waits for an answer.
    pub fn connect_in_vain(&self) -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_nonblocking(true).expect("O_NONBLOCK");
        let error = socket.connect(&self.address().into()).expect_err("nobody answers");
        assert_eq!(error.raw_os_error(), Some(libc::EINPROGRESS), "{error}");
        socket
    }
}

/// Connects to a port where nobody listens: ECONNREFUSED.
pub fn connect_refused() -> io::Error {
    TcpStream::connect((Ipv4Addr::LOCALHOST, 1)).expect_err("nobody listens on port 1")
}

/// Leaves one automatic port, takes it, and connects again to the same
/// destination: EADDRNOTAVAIL. Returns the connection that has the port as well.
pub fn no_port_left(netns: &PrivateNetns, listener: &TcpListener) -> (Pair, io::Error) {
    let port = listener.local_addr().expect("a bound socket has an address").port();
    let only = if port == 9_999 { 9_998 } else { 9_999 };
    netns.sysctl_set("net.ipv4.ip_local_port_range", &format!("{only} {only}"));
    let pair = Pair::open(listener, Family::V4);
    let error =
        TcpStream::connect(Family::V4.address(1, port)).expect_err("the only port is in use");
    (pair, error)
}
