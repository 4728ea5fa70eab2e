//! How a recording is played, which others may change while it is.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::{
    event::{EventfdFlags, eventfd},
    io::{read, write},
};

use super::{Stop, replay::Speed};

/// The way a recording is played. Its clones are one.
#[derive(Clone, Debug)]
pub struct Playback {
    state: Arc<Mutex<State>>,
    /// Wakes who waits, to look at the state again.
    changed: Arc<OwnedFd>,
}

/// How a recording is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State {
    /// How fast.
    pub speed: Speed,
    /// Whether it stands still.
    pub is_held: bool,
    /// Nothing is waited for until a tick that is not before this, on the clock of records.
    pass_until_ns: u64,
}

impl Playback {
    /// One that begins at once.
    ///
    /// # Errors
    /// No file descriptor.
    pub fn new(speed: Speed) -> Result<Self> {
        let changed = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .context("cannot make an eventfd")?;
        let state = State { speed, is_held: false, pass_until_ns: 0 };
        Ok(Self { state: Arc::new(Mutex::new(state)), changed: Arc::new(changed) })
    }

    /// How it is played now.
    pub fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stands still, or goes on.
    pub fn hold(&self, is_held: bool) {
        self.change(|state| state.is_held = is_held);
    }

    /// Goes on at another speed.
    pub fn set_speed(&self, speed: Speed) {
        self.change(|state| state.speed = speed);
    }

    /// Goes to the first tick that is not before `time_ns`, without waiting.
    pub fn pass_until(&self, time_ns: u64) {
        self.change(|state| state.pass_until_ns = time_ns);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        // It can only fail when the counter is full: then it wakes already.
        let _ = write(&*self.changed, &1_u64.to_ne_bytes());
    }

    /// Waits until the tick at `time_ns`, which came `took` after the one before, is due;
    /// returns whether the end is asked for.
    ///
    /// # Errors
    /// None that a recording can cause.
    pub(super) fn wait(&self, time_ns: u64, took: Duration, stop: &Stop) -> Result<bool> {
        let mut left = took;
        loop {
            // A change from here on is met by the wait.
            let _ = read(&*self.changed, &mut [0_u8; 8]);
            let state = self.state();
            if self.passes(time_ns) {
                return stop.wait(Duration::ZERO);
            }
            let timeout = match (state.is_held, state.speed) {
                (true, _) => None,
                (false, Speed::Unlimited) => return stop.wait(Duration::ZERO),
                (false, Speed::Times(times)) => Some(
                    Duration::try_from_secs_f64(left.as_secs_f64() / times).unwrap_or_default(),
                ),
            };
            let began = Instant::now();
            let woken = stop.wait_with(timeout, Some(self.changed.as_fd()))?;
            if woken.is_raised {
                return Ok(true);
            }
            let waited = began.elapsed();
            if timeout.is_some_and(|timeout| waited >= timeout) {
                return Ok(false);
            }
            // Something has changed, or a signal came.
            if let (false, Speed::Times(times)) = (state.is_held, state.speed) {
                left = left.saturating_sub(waited.mul_f64(times));
            }
        }
    }

    /// Whether the tick at `time_ns` is not waited for: it lies before the one that was asked
    /// for, or is that.
    fn passes(&self, time_ns: u64) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let until_ns = state.pass_until_ns;
        if time_ns >= until_ns {
            state.pass_until_ns = 0;
        }
        until_ns > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn playback(speed: f64) -> (Playback, Stop) {
        let playback = Playback::new(Speed::Times(speed)).expect("an eventfd");
        (playback, Stop::new().expect("an eventfd"))
    }

    /// Whether the tick is due at once.
    fn is_due(playback: &Playback, stop: &Stop, time_ns: u64) -> bool {
        let begun = Instant::now();
        assert!(!playback.wait(time_ns, SECOND, stop).expect("it can be waited for"));
        begun.elapsed() < SECOND / 2
    }

    #[test]
    fn what_lies_before_the_wanted_tick_is_passed_and_then_it_goes_on() {
        let (playback, stop) = playback(1.0);
        playback.hold(true);
        playback.pass_until(20);
        assert!([10, 15, 20].iter().all(|time_ns| is_due(&playback, &stop, *time_ns)));
        assert_eq!(playback.state().pass_until_ns, 0);
        // From there on it stands still, until somebody has it go on.
        let changed = playback.clone();
        let change = std::thread::spawn(move || {
            std::thread::sleep(SECOND);
            changed.set_speed(Speed::Unlimited);
            changed.hold(false);
        });
        assert!(!is_due(&playback, &stop, 30));
        change.join().expect("it does not panic");
    }

    #[test]
    fn a_wanted_moment_between_two_ticks_is_the_second() {
        let (playback, stop) = playback(1.0);
        playback.hold(true);
        playback.pass_until(25);
        assert!([20, 30].iter().all(|time_ns| is_due(&playback, &stop, *time_ns)));
        assert_eq!(playback.state().pass_until_ns, 0);
    }

    #[test]
    fn who_stands_still_can_be_ended() {
        let (playback, stop) = playback(1.0);
        playback.hold(true);
        stop.raise();
        assert!(playback.wait(10, SECOND, &stop).expect("it can be waited for"));
    }
}
