//! How often something is done that takes its time.

use crate::host;

/// What it takes at most: this part of a processor.
const PART: u64 = 20;

/// Says when it is time, by how long it took before.
#[derive(Debug)]
pub(super) struct Restraint {
    every_ns: u64,
    next_ns: u64,
}

impl Restraint {
    /// Never more often than `every_ns`.
    pub(super) fn new(every_ns: u64) -> Self {
        Self { every_ns, next_ns: 0 }
    }

    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.next_ns
    }

    /// Does it, for what is known at `now_ns`.
    pub(super) fn time<T>(&mut self, now_ns: u64, work: impl FnOnce() -> T) -> T {
        let began_ns = host::monotonic_ns();
        let done = work();
        self.took(now_ns, host::monotonic_ns().saturating_sub(began_ns));
        done
    }

    fn took(&mut self, now_ns: u64, took_ns: u64) {
        self.next_ns = now_ns.saturating_add(self.every_ns.max(took_ns.saturating_mul(PART)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_done_seldom() {
        let mut restraint = Restraint::new(100);
        assert!(restraint.is_due(0));
        restraint.took(7, 1);
        assert_eq!((restraint.is_due(106), restraint.is_due(107)), (false, true));
        restraint.took(7, 50);
        assert_eq!((restraint.is_due(1_006), restraint.is_due(1_007)), (false, true));
    }
}
