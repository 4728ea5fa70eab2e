//! The ring buffer: raw records, copied out in batches.

use std::{
    os::fd::{AsFd, BorrowedFd},
    thread,
};

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use bytes::BytesMut;
use twtrace_common::TransitionRecord;

/// A ring of this size is emptied by the reader's clock alone; a smaller one
/// could fill between two looks, so the programs wake the reader.
/// `docs/decisions/0002-cost-of-a-transition.md` has the figures.
const QUIET_RING_BYTES: u32 = 8 << 20;
/// Records between two wake-ups of a small ring fill at most this part of it.
const WAKE_AT_PART: usize = 4;
/// Pairs of states that a busy CPU counts side by side; each wakes on its own.
const BUSY_PAIRS: usize = 16;

/// Reader of the ring buffer.
pub struct Ring {
    buffer: RingBuf<MapData>,
    wakes: bool,
}

impl Ring {
    pub(super) fn take(ebpf: &mut Ebpf, ring_bytes: u32) -> Result<Self> {
        let map = ebpf.take_map("RECORDS").context("the BPF object has no map RECORDS")?;
        Ok(Self { buffer: map.try_into()?, wakes: Self::wake_mask(ring_bytes).is_some() })
    }

    /// How often the programs wake the reader: each time a per-CPU counter
    /// reaches a multiple of this plus one. `None`: never.
    pub(super) fn wake_mask(ring_bytes: u32) -> Option<u64> {
        if ring_bytes >= QUIET_RING_BYTES {
            return None;
        }
        let records = ring_bytes as usize / size_of::<TransitionRecord>();
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        let between = records / WAKE_AT_PART / BUSY_PAIRS / cpus;
        Some(between.checked_ilog2().map_or(0, |log| (1 << log) - 1))
    }

    /// What the reader waits for besides its clock.
    pub fn wakes(&self) -> Option<BorrowedFd<'_>> {
        self.wakes.then(|| self.buffer.as_fd())
    }

    /// Copies records to `batch` until it holds `limit` bytes or the ring is
    /// empty; returns whether it is.
    pub fn drain(&mut self, batch: &mut BytesMut, limit: usize) -> bool {
        while batch.len() < limit {
            let Some(record) = self.buffer.next() else {
                return true;
            };
            batch.extend_from_slice(&record);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_the_ring_the_more_often_it_wakes() {
        assert_eq!(Ring::wake_mask(4096), Some(0), "for every record");
        let masks: Vec<u64> = (12..23).filter_map(|log| Ring::wake_mask(1 << log)).collect();
        assert_eq!(masks.len(), 11);
        assert!(masks.is_sorted() && masks.iter().all(|mask| (mask + 1).is_power_of_two()));
        assert_eq!(Ring::wake_mask(8 << 20), None);
    }
}
