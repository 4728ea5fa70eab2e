//! How late the kernel's timers are.

use std::time::Duration;

/// How much later than asked for a timer of the kernel may fire: the timer
/// wheel rounds up to its next slot, and slots are the coarser the later they
/// are due
/// ([`calc_wheel_index`](https://github.com/torvalds/linux/blob/v6.12/kernel/time/timer.c#L28-L170)).
/// A tick is added for the softirq that does the work.
pub fn timer_slack(after: Duration) -> Duration {
    /// Slots of a level, and how much coarser each level is, in powers of two.
    const SLOTS: u128 = 64;
    const COARSER: u32 = 3;

    let tick = tick();
    let ticks = after.as_nanos() / tick.as_nanos();
    let level = (0..9).find(|level| ticks < (SLOTS - 1) << (COARSER * level));
    tick * (1 << (COARSER * level.expect("no timer is longer"))) + tick
}

/// The time between two ticks, 1/HZ: the resolution of the coarse clocks, as
/// clock_getres(2) tells it
/// ([`KTIME_LOW_RES`](https://github.com/torvalds/linux/blob/v6.12/kernel/time/posix-timers.c#L229-L233)).
fn tick() -> Duration {
    let mut resolution = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec.
    let done = unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut resolution) };
    assert_eq!(done, 0, "clock_getres: {}", std::io::Error::last_os_error());
    Duration::from_nanos(resolution.tv_nsec.try_into().expect("a tick is less than a second"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_one_of_those_that_kernels_are_built_with() {
        let hertz = Duration::from_secs(1).div_duration_f64(tick()).round();
        assert!([100.0, 250.0, 300.0, 1000.0].contains(&hertz), "{hertz}");
    }
}
