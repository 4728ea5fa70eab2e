//! What the machine as a whole has in use, and how much of it there may be.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result};

/// So many of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InUse {
    /// In use.
    pub now: u64,
    /// At most.
    pub max: u64,
}

/// What network interrupts did, of all processors since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softirq {
    /// Packets that found the queue full.
    pub dropped: u64,
    /// Times there was no time left.
    pub squeezed: u64,
}

/// Bytes of an object of the caches of sockets and of what is kept for them, by name.
///
/// # Errors
/// /proc/slabinfo may not be read: it is for root.
pub fn slab_sizes() -> Result<BTreeMap<String, u64>> {
    let text = read("/proc/slabinfo").context("run as root")?;
    let mut sizes = parse_slabs(&text);
    // Caches of the same size are merged, and have no line under their own name.
    sizes.extend(BUCKETS.iter().filter_map(|name| {
        let size = read(&format!("/sys/kernel/slab/{name}/slab_size")).ok()?;
        Some(((*name).to_owned(), size.trim().parse().ok()?))
    }));
    Ok(sizes)
}

/// A local port that is taken has one of each
/// ([`inet_hash_connect`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_hashtables.c));
/// the second since 6.1.
const BUCKETS: [&str; 2] = ["tcp_bind_bucket", "tcp_bind2_bucket"];

/// Open files.
///
/// # Errors
/// /proc does not say.
pub fn open_files() -> Result<InUse> {
    // Allocated, unused (always 0), at most:
    // <https://docs.kernel.org/admin-guide/sysctl/fs.html#file-max-file-nr>
    let text = read("/proc/sys/fs/file-nr")?;
    let [now, _, max] = numbers(&text)[..] else {
        anyhow::bail!("/proc/sys/fs/file-nr has no three numbers")
    };
    Ok(InUse { now, max })
}

/// Pages that TCP holds, of as many as it may
/// ([`tcp_mem`](https://docs.kernel.org/networking/ip-sysctl.html)).
///
/// # Errors
/// /proc does not say: a network namespace that is not the first has no limit to show.
pub fn tcp_memory() -> Result<InUse> {
    let limits = read("/proc/sys/net/ipv4/tcp_mem")?;
    let max = numbers(&limits).get(2).copied().context("tcp_mem has no three numbers")?;
    Ok(InUse { now: sockstat("mem")?, max })
}

/// Orphaned sockets, of as many as there may be.
///
/// # Errors
/// As [`tcp_memory`].
pub fn orphans() -> Result<InUse> {
    let limit = read("/proc/sys/net/ipv4/tcp_max_orphans")?;
    let max = numbers(&limit).first().copied().context("tcp_max_orphans is no number")?;
    Ok(InUse { now: sockstat("orphan")?, max })
}

/// What network interrupts did.
///
/// # Errors
/// /proc does not say.
pub fn softirq() -> Result<Softirq> {
    parse_softnet(&read("/proc/net/softnet_stat")?)
}

/// The same, by the text of `softnet_stat`.
///
/// # Errors
/// A line without these columns.
pub fn parse_softnet(text: &str) -> Result<Softirq> {
    Ok(Softirq { dropped: column(text, 1)?, squeezed: column(text, 2)? })
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

/// Lines of name, objects in use, objects, bytes of one, …
/// ([slabinfo(5)](https://man7.org/linux/man-pages/man5/slabinfo.5.html)).
pub fn parse_slabs(text: &str) -> BTreeMap<String, u64> {
    let size = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (name, size) = (words.first()?, words.get(3)?);
        let of_sockets = name.contains("TCP") || *name == "nf_conntrack";
        of_sockets.then_some(((*name).to_owned(), size.parse().ok()?))
    };
    text.lines().filter_map(size).collect()
}

/// The numbers that a text begins with.
pub fn numbers(text: &str) -> Vec<u64> {
    text.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect()
}

/// A number of the line of TCP, which for these two is the machine's, not the namespace's
/// ([`sockstat_seq_show`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/proc.c)).
fn sockstat(name: &str) -> Result<u64> {
    let text = read("/proc/net/sockstat")?;
    tcp_number(&text, name).with_context(|| format!("no TCP {name} in /proc/net/sockstat"))
}

/// The number behind `name` in the line of TCP of `sockstat`.
pub fn tcp_number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == name)?;
    words.next()?.parse().ok()
}

/// A column of hexadecimal numbers, one line for each processor
/// ([`softnet_seq_show`](https://github.com/torvalds/linux/blob/v6.12/net/core/net-procfs.c)).
fn column(text: &str, column: usize) -> Result<u64> {
    let value =
        |line: &str| u64::from_str_radix(line.split_ascii_whitespace().nth(column)?, 16).ok();
    text.lines()
        .try_fold(0_u64, |sum, line| sum.checked_add(value(line)?))
        .context("/proc/net/softnet_stat is not as expected")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_sockets() {
        let text = "\
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables
ext4_inode        1 2 1096 3 4 : tunables
tw_sock_TCPv6        160    240    256   16    1 : tunables    0    0    0 : slabdata
TCP                  114    143   2368   13    8 : tunables
";
        let slabs = parse_slabs(text);
        assert_eq!(slabs["tw_sock_TCPv6"], 256);
        assert_eq!(slabs.keys().collect::<Vec<_>>(), ["TCP", "tw_sock_TCPv6"]);
    }

    #[test]
    fn numbers_stand_behind_their_names_and_in_their_columns() {
        let sockstat = "sockets: used 11\nTCP: inuse 1 orphan 3 tw 42 alloc 1 mem 190\n";
        let number = |name| tcp_number(sockstat, name);
        assert_eq!((number("orphan"), number("mem")), (Some(3), Some(190)));
        assert_eq!((number("other"), tcp_number("UDP: mem 1\n", "mem")), (None, None));
        let softnet = "0265482d 00000001 00000003 0\n01a889c7 0000000f 00000001 0\n";
        assert_eq!((column(softnet, 1).unwrap(), column(softnet, 2).unwrap()), (16, 4));
        assert!(column("x\n", 1).is_err());
        let full = "0 ffffffffffffffff\n0 1\n";
        assert!(column(full, 1).is_err(), "more than any counter holds");
    }

    #[test]
    fn this_machine_says_what_any_user_may_know() {
        let files = open_files().unwrap();
        assert!(files.now > 0 && files.now <= files.max, "{files:?}");
        assert!(softirq().is_ok());
    }
}
