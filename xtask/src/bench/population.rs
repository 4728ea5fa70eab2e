//! What it takes to know many TIME_WAIT sockets, and to show how many there are.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::binaries::Binaries;
use super::churn::Churn;
use super::number::grouped;
use super::process;
use super::tracer::Tracer;

/// What making the sockets left to do is done by then.
const SETTLE: Duration = Duration::from_secs(1);
/// How long refreshes are looked at; the first socket lives for a minute.
const WATCHED: Duration = Duration::from_secs(4);
/// `top` is asked for a snapshot so often.
const REFRESHES_PER_S: u32 = 2;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// TIME_WAIT sockets
    sockets: &'static [u64],
}

/// One number of sockets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Population {
    /// How many were wanted
    pub(super) wanted: u64,
    /// How many there were, as the kernel counts them
    pub(super) time_wait: u64,
    /// How many twtrace knew of; nothing if it cannot tell
    pub(super) known: Option<u64>,
    /// Its memory then, in bytes
    pub(super) rss: u64,
    /// CPU of a refresh, with reading the ring for half a second
    pub(super) refresh_ms: f64,
}

impl Scale {
    /// As the issue of scaling has them.
    pub(super) const FULL: Self = Self { sockets: &[10_000, 100_000, 500_000, 1_000_000] };
    /// For a look.
    pub(super) const QUICK: Self = Self { sockets: &[10_000, 50_000, 100_000] };

    /// Measures, and says on the error output how far it is.
    pub(super) fn run(self, binaries: &Binaries) -> Result<Vec<Population>> {
        self.sockets.iter().map(|&wanted| Population::make(binaries, wanted)).collect()
    }
}

impl Population {
    fn make(binaries: &Binaries, wanted: u64) -> Result<Self> {
        eprintln!("scaling: making {} TIME_WAIT sockets", grouped(wanted));
        let running = Tracer::Twtrace.start(&binaries.twtrace)?;
        let held = Churn::of(wanted, 2).run(&binaries.peer)?;
        thread::sleep(SETTLE);
        let (time_wait, rss) = (held.time_wait()?, process::rss(running.pid())?);
        let before = process::cpu_ns(running.pid())?;
        thread::sleep(WATCHED);
        let cpu_ns = process::cpu_ns(running.pid())?.saturating_sub(before);
        let snapshots = running.stop()?.context("twtrace printed nothing")?;
        let known = snapshots.time_wait()?;
        held.release()?;
        let refreshes = f64::from(REFRESHES_PER_S) * WATCHED.as_secs_f64();
        Ok(Self { wanted, time_wait, known, rss, refresh_ms: cpu_ns as f64 / 1e6 / refreshes })
    }
}

/// Bytes of memory for each socket more, between the fewest and the most.
pub(super) fn bytes_each(levels: &[Population]) -> Option<f64> {
    let few = levels.iter().min_by_key(|level| level.time_wait)?;
    let many = levels.iter().max_by_key(|level| level.time_wait)?;
    let more = many.time_wait.checked_sub(few.time_wait).filter(|more| *more > 0)?;
    // What is less with more sockets says nothing about them.
    let bytes = many.rss.checked_sub(few.rss)?;
    Some(bytes as f64 / more as f64)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A hundred bytes a socket.
    pub(in super::super) fn population(time_wait: u64) -> Population {
        Population {
            wanted: time_wait,
            time_wait,
            known: Some(time_wait),
            rss: 30_000_000 + time_wait * 100,
            refresh_ms: 2.0,
        }
    }

    #[test]
    fn memory_grows_with_each_socket() {
        let levels = [population(10_000), population(1_010_000)];
        assert_eq!(bytes_each(&levels), Some(100.0));
        assert_eq!(bytes_each(&levels[..1]), None);
        assert_eq!(bytes_each(&[]), None);
        let less = Population { rss: 1, ..population(1_010_000) };
        assert_eq!(bytes_each(&[population(10_000), less]), None);
    }
}
