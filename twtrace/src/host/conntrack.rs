//! Connection tracking of a network namespace.

use std::{fs::File, io::Read as _, os::fd::OwnedFd};

use anyhow::{Context as _, Result, anyhow};
use rustix::io::Errno;

use super::{
    netns::Netns,
    opening::{NET, Opened, Opening},
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

const COUNT: &str = "net.netfilter.nf_conntrack_count";
const MAX: &str = "net.netfilter.nf_conntrack_max";

/// Reads it.
///
/// # Errors
/// The namespace may not be entered, or tracks no connections.
pub fn conntrack(netns: &Netns) -> Result<Conntrack> {
    told(netns.open(Opening::Conntrack)?)
}

fn told(files: Opened) -> Result<Conntrack> {
    let mut files = files.into_iter();
    let count = read(COUNT, files.next())?;
    let max = read(MAX, files.next())?;
    let statistics = read(&statistics_file(), files.next())?;
    parse_conntrack(&count, &max, &statistics)
}

/// What it says by the text of two sysctls and of its statistics.
///
/// # Errors
/// Something of it is missing, is no number, or adds up to more than any counter holds.
pub fn parse_conntrack(count: &str, max: &str, statistics: &str) -> Result<Conntrack> {
    let number = |name: &str, text: &str| -> Result<u64> {
        text.trim().parse().with_context(|| format!("{name} is no number"))
    };
    let counted =
        |name| sum(statistics, name).with_context(|| format!("no {name} in {}", statistics_file()));
    Ok(Conntrack {
        count: number(COUNT, count)?,
        max: number(MAX, max)?,
        dropped: counted("drop")?,
        early_drop: counted("early_drop")?,
        insert_failed: counted("insert_failed")?,
    })
}

fn statistics_file() -> String {
    format!("{NET}/stat/nf_conntrack")
}

fn read(name: &str, file: Option<Result<OwnedFd, Errno>>) -> Result<String> {
    let file = file.unwrap_or(Err(Errno::NOENT)).map_err(|errno| match errno {
        Errno::NOENT => anyhow!("no {name}: the kernel tracks no connections (nf_conntrack)"),
        errno => anyhow!("cannot read {name}: {errno}"),
    })?;
    let mut text = String::new();
    File::from(file).read_to_string(&mut text).with_context(|| format!("cannot read {name}"))?;
    Ok(text)
}

/// A column, summed over the lines of the processors, which are in hexadecimal; `None` without it,
/// or where the sum is more than any counter holds
/// ([`ct_cpu_seq_show`](https://github.com/torvalds/linux/blob/v6.12/net/netfilter/nf_conntrack_standalone.c)).
fn sum(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    let column = lines.next()?.split_ascii_whitespace().position(|title| title == name)?;
    let value =
        |line: &str| u64::from_str_radix(line.split_ascii_whitespace().nth(column)?, 16).ok();
    lines.try_fold(0_u64, |sum, line| sum.checked_add(value(line)?))
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    #[test]
    fn what_is_missing_is_a_reason_and_no_zero() {
        let file = |text: &str| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.rewind().unwrap();
            Ok(OwnedFd::from(file))
        };
        let why = |files| format!("{:#}", told(files).unwrap_err());
        let absent = why([(); 3].map(|()| Err(Errno::NOENT)).into());
        assert_eq!(
            absent,
            "no net.netfilter.nf_conntrack_count: the kernel tracks no connections (nf_conntrack)"
        );
        let forbidden = why(vec![file("80"), Err(Errno::ACCESS)]);
        assert!(forbidden.starts_with("cannot read net.netfilter.nf_conntrack_max"), "{forbidden}");
        let wrong = why(vec![file("80"), file("many"), file("")]);
        assert!(wrong.starts_with("net.netfilter.nf_conntrack_max is no number"), "{wrong}");
        let statistics = "entries drop early_drop insert_failed\n1 a 2 3\n";
        let told = told(vec![file("80\n"), file("100\n"), file(statistics)]).unwrap();
        let (count, max, dropped, early_drop, insert_failed) = (80, 100, 10, 2, 3);
        assert_eq!(told, Conntrack { count, max, dropped, early_drop, insert_failed });
    }

    #[test]
    fn a_sum_beyond_any_counter_is_unknown() {
        assert_eq!(sum("drop\nffffffffffffffff\n1\n", "drop"), None);
    }

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
