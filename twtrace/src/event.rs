//! What happened, decoded: the form that trackers and recordings share.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};
use twtrace_common::{Change, End, ProcessKey, Search, TcpState};

/// Both ends of a socket. IPv4 addresses are mapped into IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tuple {
    /// Local address.
    pub laddr: [u8; 16],
    /// Remote address; unspecified for listeners.
    pub raddr: [u8; 16],
    /// Local port; 0 if none yet.
    pub lport: u16,
    /// Remote port; 0 if none.
    pub rport: u16,
}

/// An address as people write it: IPv4 where it is mapped.
fn shown(address: [u8; 16]) -> IpAddr {
    Ipv6Addr::from_octets(address).to_canonical()
}

impl Tuple {
    /// An address in the form of a tuple, as people write it.
    pub fn shown(address: [u8; 16]) -> String {
        shown(address).to_string()
    }

    /// Whether its addresses are of IPv4. The local one may still be unspecified when the
    /// remote one is known.
    pub fn is_v4(&self) -> bool {
        let is_mapped =
            |address: [u8; 16]| address[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
        is_mapped(self.raddr) || is_mapped(self.laddr)
    }
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |f: &mut fmt::Formatter<'_>, address, port| match shown(address) {
            IpAddr::V4(address) => write!(f, "{address}:{port}"),
            IpAddr::V6(address) => write!(f, "[{address}]:{port}"),
        };
        end(f, self.laddr, self.lport)?;
        f.write_str(" → ")?;
        end(f, self.raddr, self.rport)
    }
}

/// Local ports from `low` to `high`, both among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortRange {
    /// The first.
    pub low: u16,
    /// The last.
    pub high: u16,
}

/// How a socket came to be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// It called connect().
    Client,
    /// A listener accepted it.
    Server,
    /// It was there before we were.
    Unknown,
}

impl Role {
    /// The name in the Snapshot.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Unknown => "unknown",
        }
    }
}

/// One decoded record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A socket changed its state.
    Transition(TransitionEvent),
    /// A timewait mini-socket was born.
    Birth(MiniEvent),
    /// The peer of a FIN_WAIT2 mini-socket closed: it is in TIME_WAIT now.
    Step(MiniEvent),
    /// A timewait mini-socket ended, and what ended it.
    End(MiniEvent, End),
    /// The kernel was to make a mini-socket and did not; it has no address.
    Refused(MiniEvent),
    /// A connect has its local port.
    Connect(ConnectEvent),
    /// A search for a local port is over.
    Search(SearchEvent),
    /// A processor was found searching a port.
    Sample(SampleEvent),
    /// A process appeared for the first time.
    Process(ProcessEvent),
}

impl Event {
    /// When it happened, on the clock of records; an introduction has no time.
    pub const fn time_ns(&self) -> Option<u64> {
        Some(match self {
            Self::Transition(event) => event.time_ns,
            Self::Birth(event) | Self::Step(event) | Self::End(event, _) | Self::Refused(event) => {
                event.time_ns
            }
            Self::Connect(event) => event.time_ns,
            Self::Search(event) => event.time_ns,
            Self::Sample(event) => event.time_ns,
            Self::Process(_) => return None,
        })
    }
}

/// A socket changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransitionEvent {
    /// Nanoseconds since boot, suspend left out.
    pub time_ns: u64,
    /// The socket's kernel address: its name until it goes to CLOSE.
    pub sk: u64,
    /// Inode of its network namespace; `None` where the hook cannot tell.
    pub netns: Option<u32>,
    /// What changed, and what decides its meaning.
    pub change: Change,
    /// Its ends, as known at that moment.
    pub tuple: Tuple,
    /// The process that caused it; `None` if a softirq or a timer did.
    pub owner: Option<ProcessKey>,
    /// Of a socket that goes to SYN_SENT, the range it asked for (IP_LOCAL_PORT_RANGE);
    /// `None` if it asked for none, or where the hook cannot tell.
    pub own_range: Option<PortRange>,
}

/// A timewait mini-socket, at one moment of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MiniEvent {
    /// Nanoseconds since boot, suspend left out.
    pub time_ns: u64,
    /// The mini-socket's kernel address: its name until it ends.
    pub tw: u64,
    /// Inode of its network namespace.
    pub netns: u32,
    /// FIN_WAIT2 or TIME_WAIT.
    pub substate: TcpState,
    /// Its ends.
    pub tuple: Tuple,
    /// Whether its connection had timestamps, without which no connect may take its
    /// port; `None` where that is not told.
    pub timestamps: Option<bool>,
}

/// A connect has its local port and is about to send the SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectEvent {
    /// Nanoseconds since boot, suspend left out.
    pub time_ns: u64,
    /// The socket, as in [`TransitionEvent::sk`].
    pub sk: u64,
    /// The local port.
    pub lport: u16,
}

/// A search for a local port, or the check of one, is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchEvent {
    /// When it was over: nanoseconds since boot, suspend left out.
    pub time_ns: u64,
    /// The socket, as in [`TransitionEvent::sk`]; 0 where the hook cannot tell.
    pub sk: u64,
    /// Inode of the socket's network namespace.
    pub netns: u32,
    /// Which kind.
    pub search: Search,
    /// A positive errno; 0 if there is a port.
    pub error: u16,
    /// How long it took, in nanoseconds.
    pub latency_ns: u64,
    /// Whose it was.
    pub owner: ProcessKey,
    /// The remote address of a connect; unspecified of a bind.
    pub raddr: [u8; 16],
    /// The remote port of a connect; 0 of a bind.
    pub rport: u16,
    /// The local port that was found, or that was asked for; 0 if none.
    pub lport: u16,
    /// How many ports it had to look at that were taken; `None` where nobody counts.
    pub tried: Option<u32>,
}

/// A processor was found searching a port, when it was looked at as it is many times a
/// second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleEvent {
    /// Nanoseconds since boot, suspend left out.
    pub time_ns: u64,
    /// Whether it searched for a connect; otherwise for a bind.
    pub connects: bool,
    /// Whose search it was.
    pub owner: ProcessKey,
}

/// A process, as the kernel named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessEvent {
    /// Which process.
    pub key: ProcessKey,
    /// The name of its first thread.
    pub comm: Comm,
    /// Its cgroup's id in the v2 hierarchy.
    pub cgroup_id: u64,
    /// Whether it is a kernel thread.
    pub kernel_thread: bool,
}

/// A process name: up to 16 bytes of anything but NUL.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Comm([u8; twtrace_common::COMM_LEN]);

impl Comm {
    /// Takes the bytes up to the first NUL.
    pub fn new(mut bytes: [u8; twtrace_common::COMM_LEN]) -> Self {
        let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        bytes[len..].fill(0);
        Self(bytes)
    }

    /// The bytes, filled up with NUL.
    pub const fn bytes(self) -> [u8; twtrace_common::COMM_LEN] {
        self.0
    }
}

/// A name without control characters, which a terminal would obey and a reader of lines take for an end.
pub fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Bytes that are not UTF-8, and control characters, which a terminal would
/// obey, are replaced: a process chooses its own name.
impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        let name = String::from_utf8_lossy(&self.0[..len]);
        f.pad(&printable(&name))
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comm(name: &[u8]) -> Comm {
        let mut bytes = [0; 16];
        bytes[..name.len()].copy_from_slice(name);
        Comm::new(bytes)
    }

    #[test]
    fn comm_is_harmless_on_a_terminal() {
        assert_eq!(comm(b"nginx").to_string(), "nginx");
        assert_eq!(comm(b"\x1b[2Jx").to_string(), "\u{fffd}[2Jx");
        assert_eq!(comm(b"\xff\xfe").to_string(), "\u{fffd}\u{fffd}");
        assert_eq!(comm(b"0123456789abcdef").to_string(), "0123456789abcdef");
        assert_eq!(comm(b"a\0b"), comm(b"a"));
    }

    #[test]
    fn mapped_addresses_are_shown_as_ipv4() {
        let mapped = |d| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, d];
        let tuple = Tuple { laddr: mapped(1), raddr: mapped(2), lport: 40_000, rport: 80 };
        assert_eq!(tuple.to_string(), "127.0.0.1:40000 → 127.0.0.2:80");
        let v6 = Tuple { laddr: [0; 16], ..tuple };
        assert_eq!(v6.to_string(), "[::]:40000 → 127.0.0.2:80");
    }
}
