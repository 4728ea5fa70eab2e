//! Looks, and finds out who holds what was seen.

use std::collections::BTreeSet;

use bytes::Bytes;
use twtrace_common::{COMM_LEN, ProcessKey, ProcessRecord, RecordKind};
use zerocopy::IntoBytes;

use super::{
    Answer, Ask, Restraint,
    known::{Change, Known},
    look::{Eyes, Look},
};
use crate::{
    frame::{CloseWaiting, CloseWaits, Frame, ProcessFacts},
    host::{self, Reach},
};

/// Everybody is asked no more often than this.
const EVERYBODY_EVERY_NS: u64 = 10_000_000_000;

/// What the thread knows. See the module's documentation.
#[derive(Debug)]
pub(super) struct Worker {
    reach: Reach,
    eyes: Eyes,
    known: Known,
    /// Namespaces that could not be looked at.
    failed: BTreeSet<u32>,
    /// The processes that were introduced, of those that hold any.
    introduced: BTreeSet<ProcessKey>,
    /// When those who hold some may be asked for more, and when everybody.
    near: Restraint,
    far: Restraint,
}

impl Worker {
    /// Looks at all namespaces, or at one.
    pub(super) fn new(reach: Reach, only: Option<u32>) -> Self {
        Self {
            eyes: Eyes::new(reach.clone(), only),
            reach,
            known: Known::default(),
            failed: BTreeSet::new(),
            introduced: BTreeSet::new(),
            near: Restraint::new(0),
            far: Restraint::new(EVERYBODY_EVERY_NS),
        }
    }

    /// Takes the look that is asked for, and tells of it at once; then who holds what.
    pub(super) fn work(&mut self, ask: &Ask, mut tell: impl FnMut(Answer)) {
        let look = self.eyes.look(ask);
        if !look.answered {
            let frames = vec![Frame::CloseWaits(None)];
            return tell(Answer { frames, holding: None, is_last: true });
        }
        let complete = self.tell_of(ask, &look, &mut tell);
        let frames = self.who_holds(ask.time_ns, complete);
        tell(self.answer(frames, true));
    }

    /// Returns whether all were told.
    fn tell_of(&mut self, ask: &Ask, look: &Look, tell: &mut impl FnMut(Answer)) -> bool {
        let Change { mut appeared, gone, complete } =
            self.known.looked(&look.sockets, &look.failed);
        let ended = self.ended();
        self.failed.clone_from(&look.failed);
        // What is told last of a socket holds.
        appeared.extend(self.known.ended(&ended));
        self.introduced = self.known.holders().intersection(&self.introduced).copied().collect();
        let complete = complete && look.complete;
        let told = CloseWaits { time_ns: ask.time_ns, complete, appeared, gone };
        tell(self.answer(vec![Frame::CloseWaits(Some(told))], false));
        complete
    }

    /// The processes that hold any, as far as was known, and have ended.
    fn ended(&self) -> BTreeSet<ProcessKey> {
        let is_over = |key: &ProcessKey| host::start_time_ns(key.tgid) != Some(key.start_time_ns);
        self.known.holders().into_iter().filter(is_over).collect()
    }

    /// Looks for who holds those of which it is not known, if it is time for that.
    fn who_holds(&mut self, time_ns: u64, complete: bool) -> Vec<Frame> {
        let mut appeared = self.held_near(time_ns);
        appeared.extend(self.held_far(time_ns));
        if appeared.is_empty() {
            return Vec::new();
        }
        let mut frames = self.introductions(&appeared);
        let told = CloseWaits { time_ns, complete, appeared, gone: Vec::new() };
        frames.push(Frame::CloseWaits(Some(told)));
        frames
    }

    /// Who does not close holds more of them, as a rule.
    fn held_near(&mut self, time_ns: u64) -> Vec<CloseWaiting> {
        let (unheld, holders) = (self.known.unheld(), self.known.holders());
        if unheld.is_empty() || holders.is_empty() || !self.near.is_due(time_ns) {
            return Vec::new();
        }
        let pids = holders.iter().map(|holder| holder.tgid);
        let found = self.near.time(time_ns, || self.reach.socket_holders_among(pids, &unheld));
        self.known.held(&found)
    }

    fn held_far(&mut self, time_ns: u64) -> Vec<CloseWaiting> {
        let wanted = self.known.wanted(time_ns);
        if wanted.is_empty() || !self.far.is_due(time_ns) {
            return Vec::new();
        }
        let found = self.far.time(time_ns, || self.reach.socket_holders(&wanted));
        let held = self.known.held(&found);
        self.known.asked(&wanted, time_ns);
        held
    }

    /// Who the holders are that nobody knows yet, as if they had done something.
    fn introductions(&mut self, appeared: &[CloseWaiting]) -> Vec<Frame> {
        let holders: BTreeSet<ProcessKey> = appeared.iter().filter_map(|it| it.holder).collect();
        let new: Vec<ProcessKey> = holders.difference(&self.introduced).copied().collect();
        self.introduced.extend(&new);
        let records: Vec<ProcessRecord> = new.iter().filter_map(record).collect();
        let places: Vec<ProcessFacts> = new.iter().filter_map(place).collect();
        let records = (!records.is_empty())
            .then(|| Frame::Records(Bytes::copy_from_slice(records.as_bytes())));
        let places = (!places.is_empty()).then_some(Frame::Processes(places));
        records.into_iter().chain(places).collect()
    }

    fn answer(&self, frames: Vec<Frame>, is_last: bool) -> Answer {
        let holding = self.known.holding().union(&self.failed).copied().collect();
        Answer { frames, holding: Some(holding), is_last }
    }
}

/// Its name; `None` if it is gone. /proc tells no number of its cgroup, but the path.
fn record(key: &ProcessKey) -> Option<ProcessRecord> {
    let name = host::comm(key.tgid)?;
    let mut comm = [0; COMM_LEN];
    comm.iter_mut().zip(name).for_each(|(byte, of_name)| *byte = of_name);
    Some(ProcessRecord {
        kind: RecordKind::Process as u8,
        flags: 0,
        padding: [0; 2],
        tgid: key.tgid,
        start_time_ns: key.start_time_ns,
        cgroup_id: 0,
        comm,
    })
}

/// Where it runs; `None` if it is gone.
fn place(key: &ProcessKey) -> Option<ProcessFacts> {
    let cgroup = host::cgroup(key.tgid)?;
    let container = host::container_id(&cgroup).map(str::to_owned);
    Some(ProcessFacts { key: *key, cgroup: Some(cgroup), container })
}
