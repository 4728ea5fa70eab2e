//! One question at a time on a lane, and how long whoever asks can wait for the answer.
//!
//! An answer that comes too late is no reason to give a helper up: it is read and dropped before
//! the next question. So no answer is ever taken for that to another question.

use std::{
    collections::VecDeque,
    io,
    os::fd::{BorrowedFd, OwnedFd},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::{
    CHUNK,
    lane::{Lane, unexpected, words},
};

/// How long whoever asks can wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::host) enum Patience {
    /// An answer takes a second on a large host, and longer on a busy one.
    #[default]
    Usual,
    /// Who holds sockets, among a million processes.
    Long,
    /// The ring fills meanwhile.
    Short,
    /// Nothing else happens meanwhile.
    Moment,
}

impl Patience {
    const fn time(self) -> Duration {
        match self {
            Self::Usual => Duration::from_secs(10),
            Self::Long => Duration::from_secs(60),
            Self::Short => Duration::from_secs(1),
            Self::Moment => Duration::from_millis(100),
        }
    }

    /// Whether one who waits so long in vain waits for something that is stuck.
    pub(super) const fn is_long(self) -> bool {
        matches!(self, Self::Usual | Self::Long)
    }
}

/// A lane that several threads ask on, one at a time.
#[derive(Debug)]
pub(super) struct Turns {
    state: Mutex<State>,
    is_free: Condvar,
}

#[derive(Debug)]
struct State {
    /// `None` while somebody asks.
    asker: Option<Asker>,
    /// Whether somebody has waited in vain, and nobody got an answer since. One who cannot wait
    /// does not do so again: that would cost its time at each question.
    is_late: bool,
    is_over: bool,
}

impl Turns {
    pub(super) fn new(lane: Lane) -> Self {
        let asker = Asker { lane, until: Instant::now(), owed: false, unsent: VecDeque::new() };
        let state = State { asker: Some(asker), is_late: false, is_over: false };
        Self { state: Mutex::new(state), is_free: Condvar::new() }
    }

    /// Asks, once nobody else does and what was asked before is answered.
    ///
    /// # Errors
    /// If [`is_passing`] says so, this question has no answer, and the next may have one.
    /// Otherwise the lane has ended.
    pub(super) fn ask<T>(
        &self,
        patience: Patience,
        question: impl FnOnce(&mut Asker) -> io::Result<T>,
    ) -> io::Result<T> {
        let (began, state) = (Instant::now(), self.lock());
        let for_others =
            if state.is_late && !patience.is_long() { Duration::ZERO } else { patience.time() };
        let mut asker = self.turn(state, for_others, patience)?;
        asker.until = began + for_others;
        let answered = asker.catch_up().and_then(|()| {
            asker.until = began + patience.time();
            question(&mut asker)
        });
        self.give_back(asker, patience, answered.as_ref().err());
        answered
    }

    /// Waits so long until nobody else asks.
    fn turn(
        &self,
        state: MutexGuard<'_, State>,
        wait: Duration,
        patience: Patience,
    ) -> io::Result<Asker> {
        let is_taken = |state: &mut State| state.asker.is_none() && !state.is_over;
        let waited = self.is_free.wait_timeout_while(state, wait, is_taken);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.is_over {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if state.asker.is_none() {
            state.is_late |= patience != Patience::Moment;
        }
        Ok(state.asker.take().ok_or(Errno::TIMEDOUT)?)
    }

    fn give_back(&self, asker: Asker, patience: Patience, error: Option<&io::Error>) {
        let mut state = self.lock();
        match error {
            None => state.is_late = false,
            Some(error) if is_passing(error) => state.is_late |= patience != Patience::Moment,
            Some(_) => state.is_over = true,
        }
        state.asker = (!state.is_over).then_some(asker);
        self.is_free.notify_all();
    }

    /// Nobody asks any more.
    pub(super) fn end(&mut self) {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner).asker = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the lane is as good as before: an answer is late, or there was no room for what came
/// with it.
pub(super) fn is_passing(error: &io::Error) -> bool {
    let passing = [
        Errno::AGAIN,
        Errno::TIMEDOUT,
        Errno::MFILE,
        Errno::NFILE,
        Errno::TOOMANYREFS,
        Errno::NOBUFS,
        Errno::NOMEM,
    ];
    Errno::from_io_error(error).is_some_and(|errno| passing.contains(&errno))
}

/// The asking end of a lane.
#[derive(Debug)]
pub(super) struct Asker {
    lane: Lane,
    until: Instant,
    /// Whether more of an answer is to come.
    owed: bool,
    /// What is left of a question that was cut short by time: nothing else can be asked before.
    unsent: VecDeque<Vec<u32>>,
}

impl Asker {
    /// Asks in one message.
    pub(super) fn ask(&mut self, question: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.lane.send_until(self.until, question, files)?;
        self.owed = true;
        Ok(())
    }

    /// Asks in a message for each of these, which may be long.
    pub(super) fn ask_words(&mut self, question: &[&[u32]]) -> io::Result<()> {
        let parts = question.iter().flat_map(|part| part.chunks(CHUNK));
        self.unsent.extend(parts.map(<[u32]>::to_vec));
        self.owed = true;
        self.send_rest()
    }

    /// The next message of the answer.
    pub(super) fn hear<'a>(
        &mut self,
        buffer: &'a mut [u8],
    ) -> io::Result<(&'a [u8], Vec<OwnedFd>)> {
        let message = self.lane.receive_until(self.until, buffer)?;
        let ([more], body) = words(message.bytes)?;
        self.owed = more != 0;
        // Whatever is done about it, this one is read.
        if message.files_are_missing { Err(Errno::MFILE.into()) } else { Ok((body, message.files)) }
    }

    /// Whether more of the answer is to come.
    pub(super) fn is_owed(&self) -> bool {
        self.owed
    }

    /// The last message of the answer.
    pub(super) fn hear_last<'a>(
        &mut self,
        buffer: &'a mut [u8],
    ) -> io::Result<(&'a [u8], Vec<OwnedFd>)> {
        let heard = self.hear(buffer)?;
        if self.owed { Err(unexpected()) } else { Ok(heard) }
    }

    /// Reads and drops what comes too late.
    fn catch_up(&mut self) -> io::Result<()> {
        self.send_rest()?;
        let mut buffer = vec![0; if self.owed { super::LONGEST } else { 0 }];
        while self.owed {
            match self.hear(&mut buffer) {
                Err(error) if Errno::from_io_error(&error) != Some(Errno::MFILE) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn send_rest(&mut self) -> io::Result<()> {
        while let Some(next) = self.unsent.front() {
            self.lane.send_until(self.until, next.as_bytes(), &[])?;
            self.unsent.pop_front();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (Turns, Lane) {
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let (ours, its) = socketpair(family, kind, SocketFlags::CLOEXEC, None).unwrap();
        (Turns::new(Lane::new(ours)), Lane::new(its))
    }

    fn ask(turns: &Turns, patience: Patience) -> io::Result<Vec<u8>> {
        turns.ask(patience, |asker| {
            asker.ask(b"?", &[])?;
            let mut buffer = [0; 16];
            Ok(asker.hear_last(&mut buffer)?.0.to_vec())
        })
    }

    #[test]
    fn what_comes_too_late_is_no_answer_to_the_next_question() {
        let (turns, its) = pair();
        assert!(is_passing(&ask(&turns, Patience::Moment).unwrap_err()));
        thread::scope(|scope| {
            scope.spawn(|| {
                for answers in [&[(true, b"old"), (false, b"old")][..], &[(false, b"new")]] {
                    its.receive(&mut [0; 2]).unwrap();
                    for (more, answer) in answers {
                        its.answer(*more, *answer, &[]).unwrap();
                    }
                }
            });
            assert_eq!(ask(&turns, Patience::Usual).unwrap(), b"new");
        });
    }

    #[test]
    fn one_in_a_hurry_waits_once_for_one_that_hangs() {
        let (turns, _its) = pair();
        assert!(is_passing(&ask(&turns, Patience::Short).unwrap_err()));
        let again = Instant::now();
        for _ in 0..10 {
            assert!(is_passing(&ask(&turns, Patience::Short).unwrap_err()));
        }
        assert!(again.elapsed() < Patience::Short.time(), "{:?}", again.elapsed());
    }

    #[test]
    fn a_long_question_that_was_cut_short_is_asked_to_its_end_before_the_next() {
        let (turns, its) = pair();
        let long = vec![7; 64 * CHUNK];
        let cut = turns.ask(Patience::Moment, |asker| asker.ask_words(&[&[1], &long]));
        assert!(is_passing(&cut.unwrap_err()));
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut first, mut rest) = ([0], vec![0; long.len()]);
                its.receive_words(&mut first).unwrap();
                its.receive_words(&mut rest).unwrap();
                its.answer(false, b"old", &[]).unwrap();
                its.receive(&mut [0; 2]).unwrap();
                its.answer(false, b"new", &[]).unwrap();
            });
            assert_eq!(ask(&turns, Patience::Usual).unwrap(), b"new");
        });
    }

    #[test]
    fn a_lane_ends_with_the_other_end_or_with_nonsense() {
        let (turns, its) = pair();
        drop(its);
        for _ in 0..2 {
            assert!(!is_passing(&ask(&turns, Patience::Usual).unwrap_err()));
        }
        let (turns, its) = pair();
        its.send(b"?", &[]).unwrap();
        assert!(!is_passing(&ask(&turns, Patience::Usual).unwrap_err()));
    }
}
