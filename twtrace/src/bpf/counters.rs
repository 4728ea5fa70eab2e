//! What the programs count: totals per namespace, and the runs they missed.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd},
};

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{HashMap, MapData, PerCpuArray, Queue},
    programs::ProgramFd,
};
use twtrace_common::{COUNTER_WORDS, Counters as SlotCounters, OTHER_SLOT};

use crate::frame::Totals;

/// Reader of the kernel side's totals.
pub struct Counters {
    counters: PerCpuArray<MapData, [u64; COUNTER_WORDS]>,
    slots: HashMap<MapData, u32, u32>,
    programs: Vec<Counted>,
}

/// A program at work.
pub struct Counted {
    /// The program.
    pub program: ProgramFd,
    /// Whether the kernel counts the runs that programs of its kind missed.
    pub counts_misses: bool,
}

impl Counters {
    /// Hands the free slots to the programs, which must not be attached yet.
    pub(super) fn fill_slots(ebpf: &mut Ebpf, slots: u32) -> Result<()> {
        // Borrowed, not taken: the programs are loaded later and need it open.
        let map = ebpf.map_mut("FREE_SLOTS").context("the BPF object has no map FREE_SLOTS")?;
        let mut free: Queue<_, u32> = map.try_into()?;
        for slot in 0..slots {
            if slot != OTHER_SLOT {
                free.push(slot, 0).context("cannot prepare the counters")?;
            }
        }
        Ok(())
    }

    /// Takes the maps out of `ebpf`; `programs` are those whose misses count.
    pub(super) fn take(ebpf: &mut Ebpf, programs: Vec<Counted>) -> Result<Self> {
        let counters = ebpf.take_map("COUNTERS").context("the BPF object has no map COUNTERS")?;
        let slots = ebpf.take_map("SLOTS").context("the BPF object has no map SLOTS")?;
        Ok(Self { counters: counters.try_into()?, slots: slots.try_into()?, programs })
    }

    /// Reads all totals. Other CPUs go on counting meanwhile.
    ///
    /// # Errors
    /// A map that cannot be read.
    pub fn read(&self) -> Result<Totals> {
        let mut by_netns = vec![(None, self.slot(OTHER_SLOT)?)];
        for entry in &self.slots {
            let (netns, slot) = entry.context("cannot read the slots of namespaces")?;
            by_netns.push((Some(netns).filter(|netns| *netns != 0), self.slot(slot)?));
        }
        by_netns.retain(|(_, counters)| *counters != SlotCounters::ZERO);
        by_netns.sort_unstable_by_key(|(netns, _)| *netns);
        Ok(Totals { by_netns, missed: self.missed() })
    }

    /// One slot, summed over CPUs.
    fn slot(&self, slot: u32) -> Result<SlotCounters> {
        let per_cpu = self.counters.get(&slot, 0).context("cannot read the counters")?;
        let mut sum = [0; COUNTER_WORDS];
        for words in per_cpu.iter() {
            for (sum, word) in sum.iter_mut().zip(words) {
                *sum += word;
            }
        }
        Ok(zerocopy::transmute!(sum))
    }

    /// Times a program did not run because it was running on that CPU;
    /// `None` on kernels that do not count it for all of them.
    fn missed(&self) -> Option<u64> {
        self.programs.iter().map(Counted::missed).sum()
    }
}

impl Counted {
    /// <https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/syscall.c#L2371-L2401>
    fn missed(&self) -> Option<u64> {
        if !self.counts_misses {
            return None;
        }
        let fd = self.program.as_fd().as_raw_fd();
        parse_missed(&fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?)
    }
}

fn parse_missed(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_does_not_count_misses_is_no_zero() {
        assert_eq!(parse_missed("prog_type:\t26\nrecursion_misses:\t3\n"), Some(3));
        assert_eq!(parse_missed("prog_type:\t26\n"), None);
        assert_eq!(parse_missed("recursion_misses:\tmany\n"), None);
    }
}
