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

/// Records between two wake-ups fill at most this part of the ring.
const WAKE_AT_PART: usize = 4;
/// Pairs of states that a busy CPU counts side by side; each wakes on its own.
const BUSY_PAIRS: usize = 16;

/// Reader of the ring buffer.
pub struct Ring {
    buffer: RingBuf<MapData>,
}

impl Ring {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        let map = ebpf
            .take_map("RECORDS")
            .context("the BPF object has no map RECORDS")?;
        Ok(Self {
            buffer: map.try_into()?,
        })
    }

    /// How often a program wakes the reader: each time a per-CPU counter
    /// reaches a multiple of this plus one. A smaller ring is read more often.
    pub(super) fn wake_mask(ring_bytes: u32) -> u64 {
        let records = ring_bytes as usize / size_of::<TransitionRecord>();
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        let between = records / WAKE_AT_PART / BUSY_PAIRS / cpus;
        between.checked_ilog2().map_or(0, |log| (1 << log) - 1)
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

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.buffer.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tiny_ring_wakes_for_every_record() {
        assert_eq!(Ring::wake_mask(4096), 0);
        let mask = Ring::wake_mask(8 << 20);
        assert!((mask + 1).is_power_of_two() && mask < 100_000 / 4, "{mask}");
    }
}
