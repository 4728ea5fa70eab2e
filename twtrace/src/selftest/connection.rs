//! The two ends of a connection, and what passes between them.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    net::{AddressFamily, sockopt},
};

use super::case::Key;

/// No step takes longer, unless something is wrong.
pub(super) const STEP: Duration = Duration::from_secs(10);

/// The address family of both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// AF_INET.
    V4,
    /// AF_INET6.
    V6,
    /// AF_INET6 with addresses that are IPv4-mapped.
    Mapped,
    /// An AF_INET client of an AF_INET6 listener.
    DualStack,
}

impl Family {
    pub(super) fn needs_ipv6(self) -> bool {
        self != Self::V4
    }

    /// Where a listener listens.
    pub(super) fn any(self, port: u16) -> SocketAddr {
        match self {
            Self::V4 => (Ipv4Addr::UNSPECIFIED, port).into(),
            _ => (Ipv6Addr::UNSPECIFIED, port).into(),
        }
    }

    pub(super) fn localhost(self, port: u16) -> SocketAddr {
        let address: IpAddr = match self {
            Self::V4 | Self::DualStack => Ipv4Addr::LOCALHOST.into(),
            Self::V6 => Ipv6Addr::LOCALHOST.into(),
            Self::Mapped => Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
        };
        (address, port).into()
    }

    /// Of clients.
    pub(super) fn domain(self) -> AddressFamily {
        match self {
            Self::V4 | Self::DualStack => AddressFamily::INET,
            Self::V6 | Self::Mapped => AddressFamily::INET6,
        }
    }
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It connected.
    Client,
    /// It was accepted.
    Server,
}

impl Role {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    fn key(self, client: Key, server: Key) -> Key {
        if self == Self::Client { client } else { server }
    }

    pub(super) fn lifetime(self) -> Key {
        self.key("closers.client.lifetime_s", "closers.server.lifetime_s")
    }

    pub(super) fn active_closes(self) -> Key {
        self.key("closers.client.active_closes", "closers.server.active_closes")
    }

    pub(super) fn peer_closes(self) -> Key {
        self.key("closers.client.peer_closes", "closers.server.peer_closes")
    }

    pub(super) fn resets(self) -> Key {
        self.key("closers.client.resets", "closers.server.resets")
    }
}

/// Both ends of a connection.
pub(super) struct Pair {
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
}

impl Pair {
    /// The end that does something first, and the other.
    pub(super) fn ends(self, first: Role) -> (TcpStream, TcpStream) {
        match first {
            Role::Client => (self.client, self.server),
            Role::Server => (self.server, self.client),
        }
    }
}

/// A connection waits to be accepted.
pub(super) fn await_connection(listener: &TcpListener) -> Result<()> {
    let mut fds = [PollFd::new(listener, PollFlags::IN)];
    let limit = Timespec::try_from(STEP).context("a step is too long")?;
    let ready = rustix::event::poll(&mut fds, Some(&limit)).context("cannot poll")?;
    ensure!(ready == 1, "no connection came");
    Ok(())
}

/// Accepts the other end of `client`; then a byte goes each way, so that both ends know of each other.
pub(super) fn accepted(mut client: TcpStream, listener: &TcpListener) -> Result<Pair> {
    let (mut server, _) = listener.accept().context("cannot accept")?;
    for end in [&client, &server] {
        end.set_read_timeout(Some(STEP))?;
    }
    pass_byte(&mut client, &mut server)?;
    pass_byte(&mut server, &mut client)?;
    Ok(Pair { client, server })
}

fn pass_byte(from: &mut TcpStream, to: &mut TcpStream) -> Result<()> {
    from.write_all(b"x").context("cannot send")?;
    to.read_exact(&mut [0]).context("cannot receive")
}

/// The other end has closed.
pub(super) fn expect_end(end: &mut TcpStream) -> Result<()> {
    let length = end.read(&mut [0]).context("the other end does not close")?;
    ensure!(length == 0, "the other end sent a byte too many");
    Ok(())
}

/// Closes with SO_LINGER 0.
pub(super) fn cut_off(end: TcpStream) -> Result<()> {
    sockopt::set_socket_linger(&end, Some(Duration::ZERO)).context("cannot set SO_LINGER")?;
    drop(end);
    Ok(())
}
