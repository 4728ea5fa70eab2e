//! Connection tracking of a network namespace.

use std::{fs::File, io::Read as _, os::fd::OwnedFd};

use anyhow::{Context as _, Result};
use rustix::io::Errno;

use super::{
    netns::Netns,
    opening::{NET, Opening},
};

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

/// Reads it.
///
/// # Errors
/// The namespace may not be entered, or tracks no connections.
pub fn conntrack(netns: &Netns) -> Result<Conntrack> {
    let mut files = netns.open(Opening::Conntrack)?.into_iter();
    let mut number = |name: &str| -> Result<u64> {
        let text = read(files.next()).with_context(|| {
            format!("no net.netfilter.{name}: the kernel tracks no connections (nf_conntrack)")
        })?;
        text.trim().parse().with_context(|| format!("net.netfilter.{name} is no number"))
    };
    let (count, max) = (number("nf_conntrack_count")?, number("nf_conntrack_max")?);
    let statistics = format!("{NET}/stat/nf_conntrack");
    let text = read(files.next()).with_context(|| format!("cannot read {statistics}"))?;
    let counted = |name| sum(&text, name).with_context(|| format!("no {name} in {statistics}"));
    Ok(Conntrack {
        count,
        max,
        dropped: counted("drop")?,
        early_drop: counted("early_drop")?,
        insert_failed: counted("insert_failed")?,
    })
}

fn read(file: Option<Result<OwnedFd, Errno>>) -> Result<String> {
    let mut text = String::new();
    File::from(file.unwrap_or(Err(Errno::NOENT))?).read_to_string(&mut text)?;
    Ok(text)
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
