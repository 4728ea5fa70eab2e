//! The settings of a network namespace that decide what becomes of its sockets, and what it
//! offers to the search for a local port, by its sysctls:
//! [`ip-sysctl.rst`](https://github.com/torvalds/linux/blob/v6.12/Documentation/networking/ip-sysctl.rst).

use std::{collections::BTreeMap, fs::File, io::Read as _, os::fd::OwnedFd, str::FromStr};

use anyhow::Result;

use super::{
    netns::Netns,
    opening::{Opened, Opening},
};
use crate::{
    event::PortRange,
    frame::{PortFacts, Sysctls},
};

/// Those that are read; a kernel need not have all of them.
pub(super) const NAMES: [&str; 24] = [
    "net.core.somaxconn",
    "net.ipv4.ip_autobind_reuse",
    RANGE,
    STEP_WIDTH,
    RESERVED,
    "net.ipv4.tcp_abort_on_overflow",
    "net.ipv4.tcp_ehash_entries",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_orphan_retries",
    "net.ipv4.tcp_rfc1337",
    "net.ipv4.tcp_syn_retries",
    "net.ipv4.tcp_synack_retries",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_timestamps",
    REUSE,
    REUSE_DELAY,
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
];
const RANGE: &str = "net.ipv4.ip_local_port_range";
const RESERVED: &str = "net.ipv4.ip_local_reserved_ports";
const STEP_WIDTH: &str = "net.ipv4.ip_local_port_step_width";
const REUSE: &str = "net.ipv4.tcp_tw_reuse";
const REUSE_DELAY: &str = "net.ipv4.tcp_tw_reuse_delay";

/// What a namespace is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// As it is written.
    pub sysctls: Sysctls,
    /// What that means for searches.
    pub ports: PortFacts,
}

/// Reads them of one namespace. What the kernel does not have, or does not show, is
/// unknown.
///
/// # Errors
/// If the namespace may not be entered.
pub fn settings(netns: &Netns) -> Result<Settings> {
    Ok(read(netns.inode, netns.open(Opening::Settings)?))
}

fn read(netns: u32, files: Opened) -> Settings {
    let value = |(name, file): (&str, Result<OwnedFd, _>)| {
        let mut text = String::new();
        File::from(file.ok()?).read_to_string(&mut text).ok()?;
        Some((name.to_owned(), text.trim_end().to_owned()))
    };
    let values: BTreeMap<String, String> = NAMES.into_iter().zip(files).filter_map(value).collect();
    let ports = port_facts(netns, &values);
    Settings { sysctls: Sysctls { netns, values }, ports }
}

/// What they mean for searches for a port.
pub fn port_facts(netns: u32, values: &BTreeMap<String, String>) -> PortFacts {
    let text = |name: &str| values.get(name).map(String::as_str);
    PortFacts {
        netns,
        range: text(RANGE).and_then(range),
        reserved: text(RESERVED).map(ranges).unwrap_or_default(),
        step_width: text(STEP_WIDTH).and_then(number),
        tw_reuse: text(REUSE).and_then(number),
        tw_reuse_delay_ms: text(REUSE_DELAY).and_then(number),
    }
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.trim().parse().ok()
}

/// Two numbers, a tab between them.
fn range(text: &str) -> Option<PortRange> {
    let (low, high) = text.trim().split_once(char::is_whitespace)?;
    let range = PortRange { low: number(low)?, high: number(high)? };
    (range.low <= range.high).then_some(range)
}

/// `8080,9148-9150`, in ascending order.
fn ranges(text: &str) -> Vec<PortRange> {
    let one = |text: &str| {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        Some(PortRange { low: number(low)?, high: number(high)? })
    };
    text.trim().split(',').filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn ranges_are_read_as_the_kernel_writes_them() {
        assert_eq!(range("32768\t60999\n"), Some(PortRange { low: 32_768, high: 60_999 }));
        for bad in ["", "1", "2 1", "x y", "1 65536"] {
            assert_eq!(range(bad), None, "{bad}");
        }
        let port = |low, high| PortRange { low, high };
        assert_eq!(ranges("8080,9148-9150\n"), [port(8_080, 8_080), port(9_148, 9_150)]);
        assert_eq!(ranges("\n"), []);
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let unknown = read(7, NAMES.map(|_| Err(Errno::NOENT)).into());
        assert_eq!(unknown.ports, PortFacts::unknown(7));
        assert_eq!(unknown.sysctls, Sysctls { netns: 7, values: BTreeMap::new() });
    }

    #[test]
    fn settings_are_read_as_they_are_written() {
        let own = read(7, Opening::Settings.open());
        let written = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_fin_timeout").unwrap();
        assert_eq!(own.sysctls.values["net.ipv4.tcp_fin_timeout"], written.trim_end());
        assert!(own.ports.range.is_some());
    }
}
