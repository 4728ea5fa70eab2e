//! Sockets that their process does not close: looked at every few seconds, whatever is traced.
//!
//! Both a look and the search for who holds a socket may take a second on a large host. So a
//! thread of its own does them, one after the other, and whoever reads the ring asks for a
//! look and takes what is there when it comes by.

mod expected;
mod known;
mod look;
mod restraint;
mod worker;

use std::{
    collections::BTreeSet,
    sync::mpsc::{self, Receiver, SyncSender, TryRecvError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

pub(super) use self::expected::Expected;
use self::{restraint::Restraint, worker::Worker};
use crate::{frame::Frame, host::Reach};

/// How often is looked: a socket that waits no longer does not leak.
const LOOK_EVERY_NS: u64 = 5_000_000_000;
/// How soon an answer is asked for again that is not there yet.
const ANSWER_EVERY: Duration = Duration::from_millis(25);

/// Where there can be any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Places {
    /// Nothing tells.
    All,
    /// In these namespaces.
    Netns(BTreeSet<u32>),
}

/// What is asked of the worker.
struct Ask {
    /// The moment that the look is of.
    time_ns: u64,
    places: Places,
}

/// What it answers to that, at first; what it finds out later of the same look is frames alone.
struct Answer {
    frames: Vec<Frame>,
    /// The namespaces where there are any, or may be, since they could not be looked at; `None`
    /// if none could.
    holding: Option<BTreeSet<u32>>,
    is_last: bool,
}

/// What was found since [`Watch::news`] was asked before.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) frames: Vec<Frame>,
    /// Where there are any or may be, if a look is over.
    pub(super) holding: Option<BTreeSet<u32>>,
}

/// The asking side. The thread ends with it, once it has answered.
#[derive(Debug)]
pub(super) struct Watch {
    asks: SyncSender<Ask>,
    answers: Receiver<Answer>,
    is_asked: bool,
    next_ns: u64,
}

impl Watch {
    /// Starts the thread; it looks at all namespaces, or at one.
    pub(super) fn start(reach: Reach, only: Option<u32>) -> Result<Self> {
        let (asks, asked) = mpsc::sync_channel::<Ask>(1);
        let (answer, answers) = mpsc::channel();
        let mut worker = Worker::new(reach, only);
        let work = move || {
            while let Ok(ask) = asked.recv() {
                // Nobody listens any more: nor will anybody ask.
                worker.work(&ask, |told| drop(answer.send(told)));
            }
        };
        thread::Builder::new()
            .name("close-waits".to_owned())
            .spawn(work)
            .context("cannot start a thread; raise the limit on tasks (ulimit -u)")?;
        Ok(Self { asks, answers, is_asked: false, next_ns: 0 })
    }

    /// Whether it is time for another look, and the last one is over.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        !self.is_asked && now_ns >= self.next_ns
    }

    /// How long there is nothing to do here.
    pub(super) fn until_next(&self, now_ns: u64) -> Duration {
        if self.is_asked {
            return ANSWER_EVERY;
        }
        Duration::from_nanos(self.next_ns.saturating_sub(now_ns))
    }

    /// Asks for a look.
    pub(super) fn ask(&mut self, time_ns: u64, places: Places) {
        self.next_ns = time_ns.saturating_add(LOOK_EVERY_NS);
        self.is_asked = self.asks.try_send(Ask { time_ns, places }).is_ok();
    }

    /// What has been found since.
    pub(super) fn news(&mut self) -> News {
        let mut news = News::default();
        loop {
            match self.answers.try_recv() {
                Ok(Answer { frames, holding, is_last }) => {
                    news.frames.extend(frames);
                    news.holding = holding.or(news.holding);
                    self.is_asked &= !is_last;
                }
                Err(TryRecvError::Empty) => return news,
                Err(TryRecvError::Disconnected) => {
                    // It panicked: nothing is known from now on.
                    let was_asked = std::mem::take(&mut self.is_asked);
                    news.frames.extend(was_asked.then_some(Frame::CloseWaits(None)));
                    return news;
                }
            }
        }
    }
}
