//! Many connections, all alike, so that what a tracer must count is known.
//!
//! On each connection the client sends a byte and the server answers with one;
//! then the end chosen closes, and the other reads the end of the stream
//! before it closes too. So who closed first is never in doubt.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::str::FromStr;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

/// No single step of a connection may take longer.
const STEP: Duration = Duration::from_secs(20);
/// A connect that takes this long had to send its SYN again.
const RETRIED: Duration = Duration::from_millis(900);

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It connected.
    Client,
    /// It accepted.
    Server,
}

/// The address family of both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Both ends are AF_INET, on 127.0.0.0/8.
    V4,
    /// Both ends are AF_INET6, on `::1`.
    V6,
    /// An AF_INET client of an AF_INET6 listener on `::`.
    MappedServer,
    /// Both ends are AF_INET6, and both addresses IPv4-mapped.
    MappedBoth,
}

const FAMILIES: [(Family, &str); 4] = [
    (Family::V4, "v4"),
    (Family::V6, "v6"),
    (Family::MappedServer, "mapped-server"),
    (Family::MappedBoth, "mapped-both"),
];

impl Family {
    /// A listener on every address of this family, on a port of the kernel's choice.
    pub fn listen(self) -> TcpListener {
        self.listen_on(0)
    }

    /// A listener on every address of this family; its backlog takes all that comes.
    pub fn listen_on(self, port: u16) -> TcpListener {
        let (domain, any) = match self {
            Self::V4 => (Domain::IPV4, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            _ => (Domain::IPV6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        };
        let socket = Socket::new(domain, Type::STREAM, None).expect("a socket to listen on");
        if domain == Domain::IPV6 {
            socket.set_only_v6(self == Self::V6).expect("choosing a dual-stack socket or not");
        }
        socket.set_reuse_address(true).expect("SO_REUSEADDR");
        // Bounds accept(), and what it returns inherits it.
        socket.set_read_timeout(Some(STEP)).expect("SO_RCVTIMEO");
        socket.bind(&SocketAddr::new(any, port).into()).expect("binding the listener");
        socket.listen(65_535).expect("listening");
        socket.into()
    }

    /// The `i`th address under which such a listener is reached. IPv4 has as
    /// many as are wanted, so that the ports towards one never run out.
    pub fn address(self, i: u16, port: u16) -> SocketAddr {
        let [high, low] = i.to_be_bytes();
        let v4 = Ipv4Addr::new(127, 0, high, low);
        let ip = match self {
            Self::V4 | Self::MappedServer => IpAddr::V4(v4),
            Self::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
            Self::MappedBoth => IpAddr::V6(v4.to_ipv6_mapped()),
        };
        SocketAddr::new(ip, port)
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// How many connections, over all threads.
    pub connections: u64,
    /// The end that closes first.
    pub closer: End,
    /// Whether it closes with SO_LINGER 0, that is by RST.
    pub linger_zero: bool,
    /// Of both ends.
    pub family: Family,
    /// How many pairs of one client and one server thread, each with its own listener.
    pub threads: u64,
    /// How many addresses the clients connect to, in turn; IPv6 has one.
    pub destinations: u16,
    /// Of each client: the time from one connection to the next; none if they are made as fast
    /// as it goes. One that is late makes up for it.
    pub every: Duration,
}

impl Traffic {
    /// IPv4 connections that `closer` closes first, over one pair of threads.
    pub fn closed_by(closer: End, connections: u64) -> Self {
        Self {
            connections,
            closer,
            linger_zero: false,
            family: Family::V4,
            threads: 1,
            destinations: 250,
            every: Duration::ZERO,
        }
    }

    /// IPv4 connections that the client cuts with SO_LINGER 0.
    pub fn aborted(connections: u64) -> Self {
        Self { linger_zero: true, ..Self::closed_by(End::Client, connections) }
    }

    /// The same in another address family.
    pub fn family(self, family: Family) -> Self {
        Self { family, ..self }
    }

    /// The same over more pairs of threads.
    pub fn threads(self, threads: u64) -> Self {
        Self { threads, ..self }
    }

    /// Does it in the network namespace of the calling thread; both ends are
    /// threads of this process. When it returns, every socket is closed.
    pub fn run(&self) -> Done {
        let start = Instant::now();
        let (client, server) = std::thread::scope(|scope| {
            let pairs: Vec<_> = (0..self.threads)
                .map(|i| {
                    let mut share = self.clone();
                    share.connections = self.connections / self.threads
                        + u64::from(i < self.connections % self.threads);
                    let listener = self.family.listen();
                    let port = listener.local_addr().expect("a bound socket has an address").port();
                    let client_share = share.clone();
                    let server = scope.spawn(move || share.serve(&listener));
                    let client = scope.spawn(move || client_share.connect(port));
                    (client, server)
                })
                .collect();
            let mut total = (EndDone::default(), EndDone::default());
            for (client, server) in pairs {
                total.0.add(&client.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
                total.1.add(&server.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
            }
            total
        });
        Done { client, server, elapsed: start.elapsed() }
    }

    /// The server's part: accepts `connections` times.
    pub fn serve(&self, listener: &TcpListener) -> EndDone {
        let mut done = EndDone::default();
        for _ in 0..self.connections {
            let (mut stream, _) = listener.accept().expect("accepting a connection");
            done.connections += 1;
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("reading the client's byte");
            stream.write_all(&byte).expect("answering with a byte");
            self.end(End::Server, stream, &mut done);
        }
        done
    }

    /// The client's part: connects `connections` times, to each destination in turn.
    pub fn connect(&self, port: u16) -> EndDone {
        let mut done = EndDone::default();
        let mut due = Instant::now();
        for i in 0..self.connections {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            due += self.every;
            let destination = 1 + (i % u64::from(self.destinations)) as u16;
            let address = self.family.address(destination, port);
            let start = Instant::now();
            let mut stream =
                TcpStream::connect(address).unwrap_or_else(|e| panic!("connect to {address}: {e}"));
            done.connections += 1;
            done.retried += u64::from(start.elapsed() >= RETRIED);
            stream.set_read_timeout(Some(STEP)).expect("SO_RCVTIMEO");
            stream.write_all(b"x").expect("sending the client's byte");
            stream.read_exact(&mut [0]).expect("reading the server's byte");
            self.end(End::Client, stream, &mut done);
        }
        done
    }

    /// Ends the connection at `end`, first or second.
    fn end(&self, end: End, mut stream: TcpStream, done: &mut EndDone) {
        if end == self.closer {
            if self.linger_zero {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
                done.aborted += 1;
            } else {
                done.closed_first += 1;
            }
        } else {
            match stream.read(&mut [0]) {
                Ok(0) => done.closed_second += 1,
                Ok(_) => panic!("the other end sent a byte too many"),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => done.saw_reset += 1,
                Err(error) => panic!("waiting for the other end to close: {error}"),
            }
        }
    }
}

/// What one end really did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndDone {
    /// Connections connected or accepted.
    pub connections: u64,
    /// Closed while the other end was still open.
    pub closed_first: u64,
    /// Closed after the other end had closed.
    pub closed_second: u64,
    /// Cut with SO_LINGER 0.
    pub aborted: u64,
    /// Ended by ECONNRESET.
    pub saw_reset: u64,
    /// Connects whose SYN was sent again; 0 unless the machine was too slow.
    pub retried: u64,
}

impl EndDone {
    fn fields(&mut self) -> [&mut u64; 6] {
        [
            &mut self.connections,
            &mut self.closed_first,
            &mut self.closed_second,
            &mut self.aborted,
            &mut self.saw_reset,
            &mut self.retried,
        ]
    }

    fn add(&mut self, other: &Self) {
        for (sum, n) in self.fields().into_iter().zip(other.clone().fields()) {
            *sum += *n;
        }
    }
}

/// What both ends really did.
#[derive(Clone, Debug)]
pub struct Done {
    /// The connecting ends together.
    pub client: EndDone,
    /// The accepting ends together.
    pub server: EndDone,
    /// How long it took.
    pub elapsed: Duration,
}

// How a helper process is told what to do and tells what it did: numbers and words on one line.

impl std::fmt::Display for Traffic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (_, family) = FAMILIES.iter().find(|(f, _)| *f == self.family).expect("all are listed");
        let closer = if self.closer == End::Client { "client" } else { "server" };
        let Self { connections, linger_zero, threads, destinations, .. } = self;
        let every = self.every.as_nanos();
        write!(f, "{connections} {closer} {linger_zero} {family} {threads} {destinations} {every}")
    }
}

impl FromStr for Traffic {
    type Err = &'static str;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let words: Vec<&str> = line.split(' ').collect();
        let [connections, closer, linger_zero, family, threads, destinations, every] = words[..]
        else {
            return Err("seven words");
        };
        Ok(Self {
            connections: connections.parse().map_err(|_| "the number of connections")?,
            closer: if closer == "client" { End::Client } else { End::Server },
            linger_zero: linger_zero == "true",
            family: FAMILIES.iter().find(|(_, name)| *name == family).ok_or("a family")?.0,
            threads: threads.parse().map_err(|_| "the number of threads")?,
            destinations: destinations.parse().map_err(|_| "the number of destinations")?,
            every: Duration::from_nanos(every.parse().map_err(|_| "nanoseconds")?),
        })
    }
}

impl std::fmt::Display for EndDone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let numbers = self.clone().fields().map(|n| n.to_string());
        f.write_str(&numbers.join(" "))
    }
}

impl FromStr for EndDone {
    type Err = &'static str;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let mut done = Self::default();
        let mut words = line.split(' ');
        for field in done.fields() {
            *field = words.next().and_then(|word| word.parse().ok()).ok_or("six numbers")?;
        }
        Ok(done)
    }
}
