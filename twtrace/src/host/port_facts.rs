//! What a network namespace offers to the search for a local port, by its sysctls:
//! [`ip-sysctl.rst`](https://github.com/torvalds/linux/blob/v6.12/Documentation/networking/ip-sysctl.rst).

use std::{fs, path::Path, str::FromStr};

use anyhow::Result;

use super::netns::{Netns, within};
use crate::{event::PortRange, frame::PortFacts};

/// These are the reading thread's namespace's.
const SYSCTLS: &str = "/proc/sys/net/ipv4";

/// Reads them of one namespace. What the kernel does not have, or does not show, is
/// unknown.
///
/// # Errors
/// If the namespace may not be entered.
pub fn port_facts(netns: &Netns) -> Result<PortFacts> {
    within(netns, || read(netns.inode, Path::new(SYSCTLS)))
}

fn read(netns: u32, sysctls: &Path) -> PortFacts {
    let text = |name: &str| fs::read_to_string(sysctls.join(name)).ok();
    PortFacts {
        netns,
        range: text("ip_local_port_range").and_then(|text| range(&text)),
        reserved: text("ip_local_reserved_ports").map(|text| ranges(&text)).unwrap_or_default(),
        step_width: text("ip_local_port_step_width").and_then(|text| number(&text)),
        tw_reuse: text("tcp_tw_reuse").and_then(|text| number(&text)),
        tw_reuse_delay_ms: text("tcp_tw_reuse_delay").and_then(|text| number(&text)),
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
        assert_eq!(read(7, Path::new("/nonexistent")), PortFacts::unknown(7));
    }
}
