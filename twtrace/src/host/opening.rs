//! What is opened in a network namespace, once, to be read from anywhere afterwards.
//!
//! A netlink socket belongs to the namespace that it was made in, a file of /proc/net to that of
//! the thread that opened it, and an open sysctl knows its own: so whoever opens them need not be
//! the one who reads them. It is a fixed list, so that a helper that opens for others is asked
//! for an entry of it and for nothing else.

use std::{fs::File, io, os::fd::OwnedFd, path::Path};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, netlink},
};

/// The directory of the calling thread's namespace, which /proc/net would not be:
/// that one is the thread group leader's.
pub(super) const NET: &str = "/proc/thread-self/net";
/// The settings of the calling thread's namespace.
const SYSCTLS: &str = "/proc/sys/net";

/// Below [`NET`]; what each tells is in [`super::counters`].
const COUNTERS: [&str; 3] = ["sockstat", "netstat", "snmp"];

/// Connection tracking: what [`super::conntrack`] reads.
const CONNTRACK: [&str; 2] = ["netfilter/nf_conntrack_count", "netfilter/nf_conntrack_max"];
const CONNTRACK_STATISTICS: &str = "stat/nf_conntrack";

/// What can be opened in a namespace. Nothing of it can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// A socket that asks sock_diag.
    SockDiag,
    /// The settings named in [`super::settings::NAMES`], in that order.
    Settings,
    /// `sockstat`, `netstat` and `snmp`.
    Counters,
    /// `nf_conntrack_count`, `nf_conntrack_max`, and the statistics.
    Conntrack,
}

/// Each thing, or why it could not be opened.
pub(super) type Opened = Vec<Result<OwnedFd, Errno>>;

impl Opening {
    /// All of them, each at the place of its number.
    pub(super) const ALL: [Self; 4] =
        [Self::SockDiag, Self::Settings, Self::Counters, Self::Conntrack];

    /// How many things that is.
    pub(super) const fn count(self) -> usize {
        match self {
            Self::SockDiag => 1,
            Self::Settings => super::settings::NAMES.len(),
            Self::Counters => COUNTERS.len(),
            Self::Conntrack => CONNTRACK.len() + 1,
        }
    }

    /// Opens it in the calling thread's namespace.
    pub(super) fn open(self) -> Opened {
        let file = |directory: &str, name: &str| open(&Path::new(directory).join(name));
        match self {
            Self::SockDiag => vec![sock_diag()],
            Self::Settings => {
                let names = super::settings::NAMES.iter();
                let path = |name: &&str| format!("/proc/sys/{}", name.replace('.', "/"));
                names.map(|name| open(Path::new(&path(name)))).collect()
            }
            Self::Counters => COUNTERS.iter().map(|name| file(NET, name)).collect(),
            Self::Conntrack => {
                let sysctls = CONNTRACK.iter().map(|name| file(SYSCTLS, name));
                sysctls.chain([file(NET, CONNTRACK_STATISTICS)]).collect()
            }
        }
    }
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    let opened = File::open(path);
    opened.map(OwnedFd::from).map_err(|error| errno(&error))
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn sock_diag() -> Result<OwnedFd, Errno> {
    rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )
}

#[cfg(test)]
mod tests {
    use rustix::fs::{OFlags, fcntl_getfl};

    use super::*;

    #[test]
    fn each_thing_has_its_place_and_none_can_be_written() {
        for opening in Opening::ALL {
            let opened = opening.open();
            assert_eq!(opened.len(), opening.count(), "{opening:?}");
            for file in opened.iter().flatten().filter(|_| opening != Opening::SockDiag) {
                assert_eq!(fcntl_getfl(file).unwrap() & OFlags::ACCMODE, OFlags::RDONLY);
            }
        }
        assert!(Opening::Counters.open().iter().all(Result::is_ok));
    }
}
