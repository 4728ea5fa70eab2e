//! What the programs count: totals per namespace, and the runs they missed.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd},
};

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{MapData, PerCpuHashMap, PerCpuValues},
    programs::ProgramFd,
};
use twtrace_common::{COUNTER_WORDS, Counters as NetnsCounters, OTHER_NETNS};

use crate::frame::Totals;

/// Reader of the kernel side's totals.
pub struct Counters {
    map: PerCpuHashMap<MapData, u32, [u64; COUNTER_WORDS]>,
    program: ProgramFd,
}

impl Counters {
    /// Takes the map out of `ebpf`; `program` is the one whose misses count.
    pub(super) fn take(ebpf: &mut Ebpf, program: &ProgramFd) -> Result<Self> {
        let map = ebpf
            .take_map("COUNTERS")
            .context("the BPF object has no map COUNTERS")?;
        let program = program
            .try_clone()
            .context("cannot keep the program's descriptor")?;
        let mut counters = Self {
            map: map.try_into()?,
            program,
        };
        counters.make_room_for_others()?;
        Ok(counters)
    }

    /// The programs fall back to this entry when the table is full.
    fn make_room_for_others(&mut self) -> Result<()> {
        let cpus = aya::util::nr_cpus()
            .map_err(|(what, error)| io::Error::other(format!("{what}: {error}")))?;
        let zeros = PerCpuValues::try_from(vec![[0; COUNTER_WORDS]; cpus])?;
        self.map
            .insert(OTHER_NETNS, zeros, 0)
            .context("cannot prepare the counters")
    }

    /// Reads all totals. Other CPUs go on counting meanwhile.
    pub fn read(&self) -> Result<Totals> {
        let mut by_netns = Vec::new();
        for netns in self.map.keys() {
            let netns = netns.context("cannot read the counters")?;
            let per_cpu = self
                .map
                .get(&netns, 0)
                .context("cannot read the counters")?;
            let mut sum = [0; COUNTER_WORDS];
            for words in per_cpu.iter() {
                for (sum, word) in sum.iter_mut().zip(words) {
                    *sum += word;
                }
            }
            let counters: NetnsCounters = zerocopy::transmute!(sum);
            if counters != NetnsCounters::ZERO {
                by_netns.push((netns, counters));
            }
        }
        by_netns.sort_unstable_by_key(|(netns, _)| *netns);
        Ok(Totals {
            by_netns,
            missed: self.missed(),
        })
    }

    /// Times the program did not run because it was running on that CPU;
    /// `None` on kernels that do not count it.
    /// <https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/syscall.c#L2371-L2401>
    fn missed(&self) -> Option<u64> {
        let fd = self.program.as_fd().as_raw_fd();
        parse_missed(&fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?)
    }
}

fn parse_missed(fdinfo: &str) -> Option<u64> {
    fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_does_not_count_misses_is_no_zero() {
        assert_eq!(
            parse_missed("prog_type:\t26\nrecursion_misses:\t3\n"),
            Some(3)
        );
        assert_eq!(parse_missed("prog_type:\t26\n"), None);
        assert_eq!(parse_missed("recursion_misses:\tmany\n"), None);
    }
}
