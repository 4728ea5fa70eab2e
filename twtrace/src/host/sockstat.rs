//! The kernel's own count of timewait mini-sockets.

use std::fs;

use anyhow::{Context as _, Result};

use super::netns::{Netns, within};

/// /proc/net would be the thread group leader's, whatever namespace this thread entered.
const SOCKSTAT: &str = "/proc/thread-self/net/sockstat";

/// Timewait mini-sockets of both substates, IPv4 and IPv6, in `netns` now.
///
/// This is `tw` of /proc/net/sockstat; sockstat6 has no such number
/// ([`sockstat_seq_show`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/proc.c)).
///
/// # Errors
/// If the namespace may not be entered, or the kernel has no such line.
pub fn time_wait_now(netns: &Netns) -> Result<u64> {
    let text = within(netns, || fs::read_to_string(SOCKSTAT))?
        .with_context(|| format!("cannot read {SOCKSTAT}: mount /proc"))?;
    parse_time_wait(&text).with_context(|| {
        format!("{SOCKSTAT} has no count of TIME_WAIT sockets: twtrace does not know this kernel")
    })
}

/// The number after `tw` in the line `TCP: inuse 5 orphan 0 tw 3 alloc 7 mem 1`.
fn parse_time_wait(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == "tw")?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &str = "\
sockets: used 290
TCP: inuse 5 orphan 0 tw 131072 alloc 7 mem 1
UDP: inuse 3 mem 2
";

    #[test]
    fn tw_is_found_by_name() {
        assert_eq!(parse_time_wait(SAMPLE), Some(131_072));
        assert_eq!(parse_time_wait("TCP: tw 4"), Some(4));
    }

    #[test]
    fn what_is_cut_or_absent_is_unknown_not_zero() {
        let cuts = ["", "TCP:", "TCP: inuse 5 tw", "TCP: tw x", "UDP: tw 3", "TCP6: tw 3"];
        for cut in cuts {
            assert_eq!(parse_time_wait(cut), None, "{cut}");
        }
    }

    #[test]
    fn this_host_answers() {
        time_wait_now(&crate::host::own().unwrap()).unwrap();
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".*") {
            let _ = parse_time_wait(&text);
        }
    }
}
