//! Connection tracking of a network namespace.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::netns::{Netns, within};

/// What connection tracking says now; the last three count since the namespace was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conntrack {
    /// Entries.
    pub count: u64,
    /// How many there may be in all namespaces; 0 for no limit.
    pub max: u64,
    /// Packets dropped for want of an entry.
    pub dropped: u64,
    /// Entries thrown out to make room.
    pub early_drop: u64,
    /// Entries that met another with the same ends.
    pub insert_failed: u64,
}

const SYSCTLS: &str = "/proc/sys/net/netfilter";
/// Of the calling thread's namespace.
const STATISTICS: &str = "/proc/thread-self/net/stat/nf_conntrack";

/// Reads it.
///
/// # Errors
/// The namespace may not be entered, or tracks no connections.
pub fn conntrack(netns: &Netns) -> Result<Conntrack> {
    within(netns, read)?
}

fn read() -> Result<Conntrack> {
    let number = |name: &str| -> Result<u64> {
        let path = Path::new(SYSCTLS).join(name);
        let text = fs::read_to_string(&path).with_context(|| {
            format!("no {}: the kernel tracks no connections (nf_conntrack)", path.display())
        })?;
        text.trim().parse().with_context(|| format!("{} is no number", path.display()))
    };
    let text =
        fs::read_to_string(STATISTICS).with_context(|| format!("cannot read {STATISTICS}"))?;
    let counted = |name| sum(&text, name).with_context(|| format!("no {name} in {STATISTICS}"));
    Ok(Conntrack {
        count: number("nf_conntrack_count")?,
        max: number("nf_conntrack_max")?,
        dropped: counted("drop")?,
        early_drop: counted("early_drop")?,
        insert_failed: counted("insert_failed")?,
    })
}

/// A column, summed over the lines of the processors, which are in hexadecimal
/// ([`ct_cpu_seq_show`](https://github.com/torvalds/linux/blob/v6.12/net/netfilter/nf_conntrack_standalone.c)).
fn sum(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    let column = lines.next()?.split_ascii_whitespace().position(|title| title == name)?;
    let value =
        |line: &str| u64::from_str_radix(line.split_ascii_whitespace().nth(column)?, 16).ok();
    lines.map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_summed_over_processors() {
        let text = "entries  clashres found insert_failed drop early_drop\n\
                    00000001  00000000 00000000 0000000a 00000001 00000000\n\
                    00000001  00000000 00000000 00000010 00000001 00000002\n";
        assert_eq!(sum(text, "insert_failed"), Some(26));
        assert_eq!((sum(text, "drop"), sum(text, "early_drop")), (Some(2), Some(2)));
        assert_eq!(
            (sum(text, "other"), sum("", "drop"), sum("drop\nx\n", "drop")),
            (None, None, None)
        );
    }
}
