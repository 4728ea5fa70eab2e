//! What a filter asks for, and how it is written.

use std::{fmt, net::IpAddr, ops::Range, str::FromStr};

use thiserror::Error;

use crate::event::{PortRange, Tuple};

/// What is wanted: everything that is set must hold. See the [module](super).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The network namespace, where the source has not selected it already.
    pub netns: Option<u32>,
    /// The process.
    pub pid: Option<Pid>,
    /// The name of the process, up to the 15 bytes that the kernel keeps of it.
    pub comm: Option<String>,
    /// The cgroup of the process, or one above it: a path from the root of the hierarchy.
    pub cgroup: Option<CgroupPath>,
    /// Local ports.
    pub lports: Option<PortSet>,
    /// Remote ports.
    pub rports: Option<PortSet>,
    /// Remote addresses.
    pub raddr: Option<Network>,
    /// IPv4 or IPv6, as addresses are shown.
    pub family: Option<Family>,
}

/// A process by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pid {
    /// Thread group id in the initial pid namespace.
    pub tgid: u32,
    /// Between which nanoseconds since boot it started, so that no other process of that
    /// number is taken for it; `None` for all that ever had the number.
    pub started_ns: Option<Range<u64>>,
}

/// An address family. An IPv4-mapped address is IPv4: so it is shown, and so it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Why what was written is no port list, no network and no cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WrittenError {
    /// Ports.
    #[error("{0:?} is no list of ports, such as 443 or 80,8000-8099")]
    Ports(String),
    /// A network.
    #[error("{0:?} is no address and no network, such as 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32")]
    Network(String),
    /// An address within a network.
    #[error("{written} has bits behind its prefix: write {network}")]
    HostBits {
        /// What was written.
        written: String,
        /// What may have been meant.
        network: String,
    },
    /// A cgroup.
    #[error("{0:?} is no path of a cgroup, such as /system.slice/nginx.service")]
    Cgroup(String),
}

impl Filter {
    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether anything but the namespace is asked for.
    pub fn asks_beyond_netns(&self) -> bool {
        self.asks_for_process() || self.asks_for_ends()
    }

    /// Whether it is asked whose a socket is.
    pub fn asks_for_process(&self) -> bool {
        self.pid.is_some() || self.comm.is_some() || self.cgroup.is_some()
    }

    /// Whether anything is asked for that a bind does not tell.
    pub(super) fn asks_for_more_than_a_port(&self) -> bool {
        self.rports.is_some() || self.raddr.is_some() || self.family.is_some()
    }

    pub(super) fn asks_for_ends(&self) -> bool {
        self.lports.is_some() || self.asks_for_more_than_a_port()
    }

    /// Whether a socket with these ends is wanted, whoever's it is; `None` as long as its
    /// local port is not known, if that decides.
    pub(super) fn wants(&self, netns: Option<u32>, tuple: &Tuple) -> Option<bool> {
        if !self.wants_netns(netns) || !self.wants_remote(tuple) || !self.wants_family(tuple) {
            return Some(false);
        }
        self.wants_lport(tuple.lport)
    }

    pub(super) fn wants_netns(&self, netns: Option<u32>) -> bool {
        self.netns.is_none_or(|wanted| netns == Some(wanted))
    }

    /// `None` if there is none yet.
    pub(super) fn wants_lport(&self, lport: u16) -> Option<bool> {
        match &self.lports {
            None => Some(true),
            Some(_) if lport == 0 => None,
            Some(wanted) => Some(wanted.contains(lport)),
        }
    }

    /// Who listens has no remote end.
    fn wants_remote(&self, tuple: &Tuple) -> bool {
        let has_remote = tuple.rport != 0;
        self.rports.as_ref().is_none_or(|wanted| has_remote && wanted.contains(tuple.rport))
            && self.raddr.is_none_or(|wanted| has_remote && wanted.contains(tuple.raddr))
    }

    fn wants_family(&self, tuple: &Tuple) -> bool {
        self.family.is_none_or(|wanted| tuple.is_v4() == (wanted == Family::V4))
    }
}

/// As on the command line.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = self.family.map(|family| match family {
            Family::V4 => "-4".to_owned(),
            Family::V6 => "-6".to_owned(),
        });
        let shown = [
            self.netns.map(|netns| format!("--netns {netns}")),
            self.pid.as_ref().map(|pid| format!("--pid {}", pid.tgid)),
            // A process chooses its name; a terminal would obey control characters.
            self.comm.as_ref().map(|comm| format!("--comm {}", comm.escape_debug())),
            self.cgroup.as_ref().map(|cgroup| format!("--cgroup {}", cgroup.0.escape_debug())),
            self.lports.as_ref().map(|ports| format!("--lport {ports}")),
            self.rports.as_ref().map(|ports| format!("--rport {ports}")),
            self.raddr.map(|network| format!("--raddr {network}")),
            family,
        ];
        let shown: Vec<String> = shown.into_iter().flatten().collect();
        f.write_str(&shown.join(" "))
    }
}

/// Ports, one or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSet(Vec<PortRange>);

impl PortSet {
    /// All of them.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.0.iter().flat_map(|range| range.low..=range.high)
    }

    /// Whether `port` is among them.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| (range.low..=range.high).contains(&port))
    }
}

/// `PORT[,PORT|LOW-HIGH]…`.
impl FromStr for PortSet {
    type Err = WrittenError;

    fn from_str(written: &str) -> Result<Self, WrittenError> {
        let port = |text: &str| text.parse().ok().filter(|port| *port != 0);
        let range = |text: &str| {
            let (low, high) = text.split_once('-').unwrap_or((text, text));
            let range = PortRange { low: port(low)?, high: port(high)? };
            (range.low <= range.high).then_some(range)
        };
        let ranges: Option<Vec<PortRange>> = written.split(',').map(range).collect();
        ranges.map(Self).ok_or_else(|| WrittenError::Ports(written.to_owned()))
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |range: &PortRange| match range {
            PortRange { low, high } if low == high => low.to_string(),
            PortRange { low, high } => format!("{low}-{high}"),
        };
        f.write_str(&self.0.iter().map(range).collect::<Vec<_>>().join(","))
    }
}

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// Whether an address in the form of a tuple is in it. One of IPv4 is in no network of
    /// IPv6, not even in `::/0`.
    pub fn contains(&self, address: [u8; 16]) -> bool {
        let address = std::net::Ipv6Addr::from_octets(address).to_canonical();
        address.is_ipv4() == self.address.is_ipv4()
            && first_bits(address, self.prefix) == first_bits(self.address, self.prefix)
    }
}

/// The first `prefix` bits of an address, and zeros.
fn first_bits(address: IpAddr, prefix: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

/// `ADDRESS[/PREFIX]`.
impl FromStr for Network {
    type Err = WrittenError;

    fn from_str(written: &str) -> Result<Self, WrittenError> {
        let wrong = || WrittenError::Network(written.to_owned());
        let (address, prefix) = match written.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (written, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest: u32 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| wrong())?,
            None => longest,
        };
        if prefix > longest {
            return Err(wrong());
        }
        let network = first_bits(address, prefix);
        if network != address {
            let network = format!("{network}/{prefix}");
            return Err(WrittenError::HostBits { written: written.to_owned(), network });
        }
        // Mapped addresses are IPv4's, however they were written.
        match network.to_canonical() {
            IpAddr::V4(address) if network.is_ipv6() => {
                let prefix = prefix.checked_sub(96).ok_or_else(wrong)?;
                Ok(Self { address: IpAddr::V4(address), prefix })
            }
            address => Ok(Self { address, prefix }),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A cgroup, from the root of its hierarchy, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPath(String);

impl CgroupPath {
    /// Where the v2 hierarchy is mounted, as a rule: on hybrid hosts, and on others.
    const MOUNTS: [&str; 2] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

    /// Whether `path` is this cgroup or one below it.
    pub fn holds(&self, path: &str) -> bool {
        path.strip_prefix(&self.0).is_some_and(|below| below.is_empty() || below.starts_with('/'))
    }
}

/// As twtrace shows it, or as the directory it is.
impl FromStr for CgroupPath {
    type Err = WrittenError;

    fn from_str(written: &str) -> Result<Self, WrittenError> {
        let below = |mount| {
            let below: &str = written.strip_prefix(mount)?;
            (below.is_empty() || below.starts_with('/')).then_some(below)
        };
        let below = Self::MOUNTS.into_iter().find_map(below).unwrap_or(written);
        let is_path = written.starts_with('/');
        let path = below.trim_end_matches('/').to_owned();
        is_path.then_some(Self(path)).ok_or_else(|| WrittenError::Cgroup(written.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(laddr: &str, raddr: &str) -> Tuple {
        let octets = |text: &str| match text.parse().unwrap() {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        };
        Tuple { laddr: octets(laddr), raddr: octets(raddr), lport: 1_000, rport: 80 }
    }

    #[test]
    fn ports_are_lists_of_ports_and_ranges() {
        let ports: PortSet = "80,8000-8099".parse().unwrap();
        for (port, among) in [(80, true), (81, false), (8_000, true), (8_099, true), (8_100, false)]
        {
            assert_eq!(ports.contains(port), among, "{port}");
        }
        assert_eq!(ports.to_string(), "80,8000-8099");
        for bad in ["", "0", "65536", "x", "80,", "9-8", "1-", "80 443"] {
            let error = bad.parse::<PortSet>().expect_err(bad).to_string();
            assert!(error.contains("80,8000-8099"), "{error}");
        }
    }

    #[test]
    fn networks_are_of_one_family() {
        for (network, address, within) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "1.2.3.4", false),
            ("2001:db8::/33", "2001:db8:7fff::", true),
            ("2001:db8::/33", "2001:db8:8000::", false),
            ("::ffff:10.0.0.0/104", "10.1.1.1", true),
        ] {
            let parsed: Network = network.parse().unwrap();
            let Tuple { raddr, .. } = tuple("::", address);
            assert_eq!(parsed.contains(raddr), within, "{address} in {network}");
        }
        for bad in ["", "x", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "::ffff:0:0/95"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        let error = "10.1.2.3/8".parse::<Network>().unwrap_err().to_string();
        assert!(error.ends_with("write 10.0.0.0/8"), "{error}");
    }

    #[test]
    fn a_cgroup_holds_those_below_it() {
        let cgroup: CgroupPath = "/sys/fs/cgroup/system.slice/".parse().unwrap();
        assert!(cgroup.holds("/system.slice") && cgroup.holds("/system.slice/nginx.service"));
        assert!(!cgroup.holds("/system.slices") && !cgroup.holds("/"));
        let hybrid: CgroupPath = "/sys/fs/cgroup/unified/system.slice".parse().unwrap();
        assert_eq!(hybrid, cgroup);
        let root: CgroupPath = "/".parse().unwrap();
        assert!(root.holds("/") && root.holds("/user.slice"));
        assert!("nginx".parse::<CgroupPath>().is_err());
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let of = |family| Filter { family: Some(family), ..Filter::default() };
        for (laddr, raddr, family) in [
            ("::", "10.0.0.1", Family::V4),
            ("10.0.0.1", "0.0.0.0", Family::V4),
            ("::", "::", Family::V6),
            ("::1", "::1", Family::V6),
        ] {
            let tuple = tuple(laddr, raddr);
            for asked in [Family::V4, Family::V6] {
                assert_eq!(of(asked).wants(None, &tuple), Some(asked == family), "{tuple}");
            }
        }
    }

    #[test]
    fn who_listens_has_no_remote_end() {
        let listener = Tuple { rport: 0, ..tuple("::", "::") };
        let remote = Filter { raddr: Some("::/0".parse().unwrap()), ..Filter::default() };
        assert_eq!(remote.wants(None, &listener), Some(false));
        let local = Filter { lports: Some("1000".parse().unwrap()), ..Filter::default() };
        assert_eq!(local.wants(None, &listener), Some(true));
        assert_eq!(local.wants(None, &Tuple { lport: 0, ..listener }), None, "not known yet");
    }
}
