//! The kernel's own TCP counters of a network namespace.

use std::{fs::File, io::Read as _, os::fd::OwnedFd};

use anyhow::{Context as _, Result};
use rustix::io::Errno;

use super::{
    netns::Netns,
    opening::{NET, Opening},
};

/// The counters that are read, by the kernel's names: those of `TcpExt` in
/// /proc/net/netstat, then those of `Tcp` in /proc/net/snmp
/// ([`snmp4_net_list`, `snmp4_tcp_list`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/proc.c)).
/// No name is in both.
///
/// All count events since the namespace was made, but `CurrEstab`, which is the
/// number of sockets in ESTABLISHED now.
///
/// `TW` and `TWKilled` do not mean the same everywhere. Up to about 5.17 they
/// count TIME_WAIT sockets that expired, by the timer's length; later ones count
/// those born
/// ([`__inet_twsk_schedule`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_timewait_sock.c)).
/// `TWKilled` never counts sockets that were killed.
pub const TCP_COUNTERS: [&str; 28] = [
    "TW",
    "TWRecycled",
    "TWKilled",
    "TCPTimeWaitOverflow",
    "ListenOverflows",
    "ListenDrops",
    "TCPReqQFullDrop",
    "TCPReqQFullDoCookies",
    "SyncookiesSent",
    "SyncookiesRecv",
    "SyncookiesFailed",
    "TCPAbortOnData",
    "TCPAbortOnClose",
    "TCPAbortOnTimeout",
    "TCPAbortOnLinger",
    "TCPAbortOnMemory",
    "TCPTimeouts",
    "TCPSynRetrans",
    "TCPSYNChallenge",
    "TCPACKSkippedChallenge",
    "PAWSActive",
    "PAWSEstab",
    "PAWSTimewait",
    "ActiveOpens",
    "PassiveOpens",
    "AttemptFails",
    "EstabResets",
    CURRENTLY_ESTABLISHED,
];

/// Sockets in ESTABLISHED now, and since 2024 in CLOSE_WAIT as well
/// ([`tcp_set_state`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp.c)).
const CURRENTLY_ESTABLISHED: &str = "CurrEstab";

/// TCP of one namespace, both families together, as the kernel counts it.
///
/// The three files behind it are read one after the other, and each value is a
/// sum over the CPUs that is taken while they count on: between values of one
/// reading no equation holds to the unit unless the namespace is quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetnsCounters {
    /// Inode of the namespace.
    pub netns: u32,
    /// Small sockets of TIME_WAIT and FIN_WAIT2 that there are now; `None` if
    /// this kernel does not tell.
    pub tw_sockets: Option<u64>,
    /// In the order of [`TCP_COUNTERS`].
    values: [Option<u64>; TCP_COUNTERS.len()],
}

impl NetnsCounters {
    /// The counter of this name in [`TCP_COUNTERS`]; `None` if this kernel does not have it.
    pub fn get(&self, name: &str) -> Option<u64> {
        place(name).and_then(|place| self.values[place])
    }

    /// The counters that this kernel has, with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        TCP_COUNTERS.into_iter().zip(self.values).filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Reads the counters of `netns`: one read of three small files,
/// 0.1 ms in all (the kernel sums over the CPUs), and a thread if the namespace is not the caller's.
///
/// # Errors
/// If the namespace may not be entered, which takes `CAP_SYS_ADMIN`, or /proc
/// does not show what every kernel shows.
pub fn tcp_counters(netns: &Netns) -> Result<NetnsCounters> {
    read(netns).with_context(|| {
        format!("cannot read the TCP counters of network namespace {}", netns.inode)
    })
}

fn read(netns: &Netns) -> Result<NetnsCounters> {
    let mut files = netns.open(Opening::Counters)?.into_iter();
    let sockstat = read_text("sockstat", files.next())?;
    let netstat = read_text("netstat", files.next())?;
    let snmp = read_text("snmp", files.next())?;
    parse_counters(netns.inode, &sockstat, &netstat, &snmp)
}

fn read_text(name: &str, file: Option<Result<OwnedFd, Errno>>) -> Result<String> {
    // The longest of the three has about 4 KiB.
    let mut text = String::with_capacity(8 << 10);
    let opened = file.unwrap_or(Err(Errno::NOENT)).map_err(std::io::Error::from);
    opened
        .and_then(|file| File::from(file).read_to_string(&mut text))
        .with_context(|| format!("cannot read {NET}/{name}: mount /proc"))?;
    Ok(text)
}

/// The counters of namespace `netns`, by the text of its three files.
///
/// # Errors
/// A section is missing that every kernel has.
pub fn parse_counters(
    netns: u32,
    sockstat: &str,
    netstat: &str,
    snmp: &str,
) -> Result<NetnsCounters> {
    let tw_sockets = parse_sockstat(sockstat);
    let mut counters = NetnsCounters { netns, tw_sockets, values: [None; TCP_COUNTERS.len()] };
    for (file, text, section) in [("netstat", netstat, "TcpExt:"), ("snmp", snmp, "Tcp:")] {
        counters.take_section(text, section).with_context(|| {
            format!("no {section} in {NET}/{file}: twtrace does not know this kernel")
        })?;
    }
    Ok(counters)
}

impl NetnsCounters {
    /// A section is a line of names and a line of values, both behind the
    /// section's name
    /// ([`netstat_seq_show`, `snmp_seq_show_tcp_udp`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/proc.c)).
    /// `None` if it is not there.
    fn take_section(&mut self, text: &str, section: &str) -> Option<()> {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(section));
        let (names, values) = (lines.next()?, lines.next()?);
        for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
            if let Some(place) = place(name) {
                self.values[place] = value.parse().ok().map(|value| settled(name, value));
            }
        }
        Some(())
    }
}

fn place(name: &str) -> Option<usize> {
    TCP_COUNTERS.iter().position(|known| *known == name)
}

/// A gauge is a sum of rises on some CPUs and falls on others, which are not
/// read at the same instant, so it may come out below zero, printed unsigned
/// ([`snmp_get_cpu_field_batch`](https://github.com/torvalds/linux/blob/v6.12/include/net/ip.h)).
fn settled(name: &str, value: u64) -> u64 {
    if name == CURRENTLY_ESTABLISHED && value > i64::MAX as u64 { 0 } else { value }
}

/// `tw` in `TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 190`
/// ([`sockstat_seq_show`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/proc.c)).
/// It counts both families; sockstat6 has no such field.
fn parse_sockstat(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == "tw")?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use proptest::prelude::*;

    use super::*;

    /// Of Linux 6.18, cut behind ListenDrops but for the names of interest.
    const NETSTAT: &str = "\
TcpExt: SyncookiesSent SyncookiesRecv SyncookiesFailed EmbryonicRsts PruneCalled RcvPruned OfoPruned OutOfWindowIcmps LockDroppedIcmps ArpFilter TW TWRecycled TWKilled PAWSActive PAWSEstab BeyondWindow TSEcrRejected PAWSOldAck PAWSTimewait DelayedACKs DelayedACKLocked DelayedACKLost ListenOverflows ListenDrops TCPTimeouts TCPAbortOnData TCPAbortOnClose TCPAbortOnMemory TCPAbortOnTimeout TCPAbortOnLinger TCPTimeWaitOverflow TCPReqQFullDoCookies TCPReqQFullDrop TCPAODroppedIcmps
TcpExt: 0 0 0 0 0 0 0 0 0 0 294 0 0 0 0 0 0 0 7 237 13 5 3 4 6 1475 5 0 1 2 8 9 10 0
IpExt: InNoRoutes InTruncatedPkts InMcastPkts
IpExt: 0 0 0
MPTcpExt: MPCapableSYNRX MPCurrEstab
MPTcpExt: 77 78
";

    /// The head of that of Linux 5.10, without PAWSTimewait.
    const OLD_NETSTAT: &str = "\
TcpExt: SyncookiesSent SyncookiesRecv SyncookiesFailed EmbryonicRsts PruneCalled RcvPruned OfoPruned OutOfWindowIcmps LockDroppedIcmps ArpFilter TW TWRecycled TWKilled PAWSActive PAWSEstab DelayedACKs DelayedACKLocked DelayedACKLost ListenOverflows ListenDrops
TcpExt: 1 2 3 0 0 0 0 0 0 0 5 2 1 0 11 12 0 0 4 6
IpExt: InNoRoutes
IpExt: 0
";

    const SNMP: &str = "\
Ip: Forwarding DefaultTTL InReceives
Ip: 2 64 1063380
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors
Tcp: 1 200 120000 -1 243792 243612 8 439508 2 1063027 1049679 3 0 245195 0
Udp: InDatagrams NoPorts
Udp: 351 0
";

    const SOCKSTAT: &str = "\
sockets: used 11
TCP: inuse 1 orphan 0 tw 42 alloc 1 mem 190
UDP: inuse 0 mem 0
UDPLITE: inuse 0
RAW: inuse 0
FRAG: inuse 0 memory 0
";

    fn none() -> NetnsCounters {
        NetnsCounters { netns: 1, tw_sockets: None, values: [None; TCP_COUNTERS.len()] }
    }

    fn section(text: &str, section: &str) -> NetnsCounters {
        let mut counters = none();
        counters.take_section(text, section).unwrap();
        counters
    }

    #[test]
    fn values_stand_under_their_names() {
        let new = section(NETSTAT, "TcpExt:");
        let cases = [
            ("TW", 294),
            ("PAWSTimewait", 7),
            ("ListenOverflows", 3),
            ("TCPAbortOnData", 1475),
            ("TCPAbortOnTimeout", 1),
            ("TCPAbortOnLinger", 2),
            ("TCPReqQFullDrop", 10),
        ];
        for (name, value) in cases {
            assert_eq!(new.get(name), Some(value), "{name}");
        }
        assert_eq!(new.iter().count(), 20, "of TcpExt");
        assert_eq!(new.get("MPCurrEstab"), None, "of another section");
        let tcp = section(SNMP, "Tcp:");
        let expected = [
            ("ActiveOpens", 243_792),
            ("PassiveOpens", 243_612),
            ("AttemptFails", 8),
            ("EstabResets", 439_508),
            ("CurrEstab", 2),
        ];
        assert_eq!(tcp.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_a_kernel_lacks_is_unknown_not_zero() {
        let old = section(OLD_NETSTAT, "TcpExt:");
        assert_eq!((old.get("PAWSTimewait"), old.get("TCPTimeWaitOverflow")), (None, None));
        assert_eq!((old.get("TWKilled"), old.get("PAWSEstab")), (Some(1), Some(11)));
        assert_eq!((old.get("ListenDrops"), old.get("SyncookiesSent")), (Some(6), Some(1)));
        assert_eq!(section("TcpExt: TW\nTcpExt: -1\n", "TcpExt:").get("TW"), None);
        assert_eq!(section("TcpExt: TWKilled TW\nTcpExt: 1\n", "TcpExt:").get("TW"), None);
        assert_eq!(none().take_section("TcpExt: TW\n", "TcpExt:"), None, "no values");
        assert_eq!(none().take_section(SNMP, "TcpExt:"), None);
    }

    #[test]
    fn a_gauge_is_never_negative_and_a_counter_may_be_huge() {
        let text = format!("Tcp: ActiveOpens CurrEstab\nTcp: {0} {0}\n", u64::MAX);
        let counters = section(&text, "Tcp:");
        assert_eq!(counters.get("ActiveOpens"), Some(u64::MAX));
        assert_eq!(counters.get("CurrEstab"), Some(0));
    }

    #[test]
    fn small_sockets() {
        assert_eq!(parse_sockstat(SOCKSTAT), Some(42));
        assert_eq!(parse_sockstat("TCP: inuse 1 orphan 0 tw -1 alloc 1\n"), None);
        assert_eq!(parse_sockstat("TCP: inuse 1 orphan 0 tw\n"), None);
        assert_eq!(parse_sockstat("TCP6: inuse 1\n"), None);
    }

    #[test]
    fn names_are_unique() {
        let unique: std::collections::BTreeSet<_> = TCP_COUNTERS.into_iter().collect();
        assert_eq!(unique.len(), TCP_COUNTERS.len());
    }

    /// The own namespace needs no right, so this runs everywhere.
    #[test]
    fn own_counters_follow_own_sockets() {
        let own = crate::host::own().unwrap();
        let before = tcp_counters(&own).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let after = tcp_counters(&own).unwrap();
        assert_eq!(after.netns, own.inode);
        assert!(after.tw_sockets.is_some() && after.get("TW").is_some(), "{after:?}");
        assert!(after.get("ActiveOpens") > before.get("ActiveOpens"), "{before:?} {after:?}");
        assert!(after.get("CurrEstab").unwrap() >= 2, "{after:?}");
        drop(client);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(?s).*", names in "[A-Za-z ]*", values in "[0-9 -]*") {
            let _ = parse_sockstat(&text);
            for text in [text, format!("Tcp:{names}\nTcp:{values}\n")] {
                let mut counters = none();
                let _ = counters.take_section(&text, "Tcp:");
                prop_assert!(counters.iter().count() <= TCP_COUNTERS.len());
            }
        }
    }
}
