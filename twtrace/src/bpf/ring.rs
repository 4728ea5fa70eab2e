//! The ring buffer: raw records, copied out in batches.

use std::time::Duration;

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use bytes::BytesMut;

/// How long the reader of a ring of this size may look away: it takes longer to
/// fill at 1.9 million records per second.
const LARGE_RING: (u32, Duration) = (8 << 20, Duration::from_millis(50));
/// More looks than this would be a load of their own.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

/// Reader of the ring buffer.
///
/// The programs wake nobody, since that costs them transitions;
/// `docs/decisions/0002-cost-of-a-transition.md` has the figures.
pub struct Ring {
    buffer: RingBuf<MapData>,
    longest_sleep: Duration,
}

impl Ring {
    pub(super) fn take(ebpf: &mut Ebpf, ring_bytes: u32) -> Result<Self> {
        let map = ebpf.take_map("RECORDS").context("the BPF object has no map RECORDS")?;
        Ok(Self { buffer: map.try_into()?, longest_sleep: longest_sleep(ring_bytes) })
    }

    /// How long the reader may look away.
    pub fn longest_sleep(&self) -> Duration {
        self.longest_sleep
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

/// The smaller the ring the shorter.
fn longest_sleep(ring_bytes: u32) -> Duration {
    let (large, longest) = LARGE_RING;
    let part = f64::from(ring_bytes) / f64::from(large);
    longest.mul_f64(part.min(1.0)).max(SHORTEST_SLEEP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_ring_is_looked_at_more_often() {
        let sleeps: Vec<Duration> = (12..31).map(|log| longest_sleep(1 << log)).collect();
        assert!(sleeps.is_sorted());
        assert_eq!(sleeps.first(), Some(&Duration::from_millis(1)), "a page");
        assert_eq!(longest_sleep(4 << 20), Duration::from_millis(25));
        assert_eq!(longest_sleep(8 << 20), Duration::from_millis(50));
        assert_eq!(sleeps.last(), Some(&Duration::from_millis(50)), "a gigabyte");
    }
}
