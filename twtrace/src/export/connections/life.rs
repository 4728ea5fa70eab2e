//! What one socket went through, with the mini-socket that it left.

use std::{net::Ipv6Addr, num::NonZeroU64};

use twtrace_common::{Change, End, Outcome, ProcessKey, Search, TcpState};

use crate::{
    event::{MiniEvent, Role, SearchEvent, TransitionEvent, Tuple},
    frame::{SeedMini, SeedSocket},
    tracker::{Credit, PortSearch, Transition},
};

/// A moment on the clock of records; `None` if it was not seen.
pub(in crate::export) type Stamp = Option<NonZeroU64>;

/// Why a row is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::export) enum Written {
    /// Socket and mini-socket are over.
    Over,
    /// At least one of them lives when the recording ends.
    Alive,
    /// There was no room to remember it.
    Evicted,
    /// It must be gone, and nobody saw when.
    Lost,
}

/// How a mini-socket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::export) enum MiniEnd {
    /// So.
    By(End),
    /// Its memory is another's, and no end was seen.
    Unseen,
}

/// One end of a connection. There may be hundreds of thousands of them.
#[derive(Clone, Copy, Debug)]
pub(in crate::export) struct Life {
    pub(in crate::export) netns: Option<u32>,
    pub(in crate::export) tuple: Tuple,
    pub(in crate::export) role: Role,
    /// It was there when the recording began.
    pub(in crate::export) seeded: bool,
    /// 0 if only the mini-socket was seen.
    pub(in crate::export) sk: u64,
    pub(in crate::export) state: Option<TcpState>,
    pub(in crate::export) opened: Stamp,
    pub(in crate::export) established: Stamp,
    pub(in crate::export) first_fin: Stamp,
    pub(in crate::export) closed: Stamp,
    pub(in crate::export) connect: Option<Outcome>,
    pub(in crate::export) close: Option<Outcome>,
    /// `sk_err` when it went to CLOSE.
    pub(in crate::export) error: Option<u16>,
    /// The search of its connect began.
    pub(in crate::export) searched: bool,
    pub(in crate::export) search_ns: Option<u64>,
    pub(in crate::export) tried: Option<u32>,
    /// The process that connected.
    pub(in crate::export) owner: Option<ProcessKey>,
    /// The process that closed this end, `Some(None)` if nobody saw who it was.
    pub(in crate::export) closer: Option<Option<ProcessKey>>,
    pub(in crate::export) mini: MiniLife,
}

/// The mini-socket of a [`Life`], or that there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::export) struct MiniLife {
    /// The kernel wanted one and made none; `Some(false)`: it made one.
    pub(in crate::export) refused: Option<bool>,
    /// Its address; 0 if there was none, or none is known.
    pub(in crate::export) tw: u64,
    pub(in crate::export) born: Stamp,
    /// It was born when the recording had another file: that is not in this one's counts.
    pub(in crate::export) carried: bool,
    pub(in crate::export) substate: Option<TcpState>,
    pub(in crate::export) timestamps: Option<bool>,
    /// Since when it was in TIME_WAIT.
    pub(in crate::export) time_wait: Stamp,
    pub(in crate::export) ended: Stamp,
    pub(in crate::export) end: Option<MiniEnd>,
    pub(in crate::export) end_substate: Option<TcpState>,
    /// Its end was told after another was born in its memory: the Snapshot counts the end
    /// and no lifetime.
    pub(in crate::export) late: bool,
}

impl Life {
    pub(super) fn new(netns: Option<u32>, tuple: Tuple) -> Self {
        Self {
            netns,
            tuple,
            role: Role::Unknown,
            seeded: false,
            sk: 0,
            state: None,
            opened: None,
            established: None,
            first_fin: None,
            closed: None,
            connect: None,
            close: None,
            error: None,
            searched: false,
            search_ns: None,
            tried: None,
            owner: None,
            closer: None,
            mini: MiniLife::default(),
        }
    }

    /// A socket that was there before us.
    pub(super) fn seeded(seed: &SeedSocket) -> Self {
        Self { seeded: true, state: Some(seed.state), ..Self::new(seed.netns, seed.tuple) }
    }

    /// A mini-socket that was there before us.
    pub(super) fn seeded_mini(seed: &SeedMini) -> Self {
        let mini = MiniLife { substate: Some(seed.substate), ..MiniLife::default() };
        Self { seeded: true, mini, ..Self::new(Some(seed.netns), seed.tuple) }
    }

    /// A socket that is met in `event`.
    pub(super) fn met(event: &TransitionEvent) -> Self {
        Self { sk: event.sk, ..Self::new(event.netns, event.tuple) }
    }

    /// A socket whose first transition is `event`.
    pub(super) fn opened(event: &TransitionEvent) -> Self {
        Self { opened: stamp(event.time_ns), ..Self::met(event) }
    }

    /// A mini-socket that is born, and nobody has said yet whose it is.
    pub(super) fn born(event: &MiniEvent) -> Self {
        let in_time_wait = event.substate == TcpState::TimeWait;
        let mini = MiniLife {
            refused: Some(false),
            tw: event.tw,
            born: stamp(event.time_ns),
            substate: Some(event.substate),
            timestamps: event.timestamps,
            time_wait: stamp(event.time_ns).filter(|_| in_time_wait),
            ..MiniLife::default()
        };
        Self { mini, ..Self::new(Some(event.netns), event.tuple) }
    }

    /// A mini-socket whose end alone was seen.
    pub(super) fn stranger(event: &MiniEvent, end: End, seeded: bool) -> Self {
        let mut life = Self { seeded, ..Self::new(Some(event.netns), event.tuple) };
        life.mini.tw = event.tw;
        life.mini_ended(event, end);
        life
    }

    /// One more transition, and what it meant.
    pub(super) fn follow(&mut self, event: &TransitionEvent, meant: &Transition) {
        let change = &event.change;
        self.sk = event.sk;
        self.netns = event.netns.or(self.netns);
        self.role = meant.role;
        self.state = Some(change.new);
        self.learn_ends(&event.tuple);
        self.note_times(event);
        self.searched |= change.search() == Some(Search::Connect);
        if change.old == TcpState::Close {
            self.owner = event.owner;
        }
        if let Some(outcome) = meant.outcome {
            self.note_outcome(outcome, event.time_ns);
        }
        if let Some((credit, process)) = meant.credit
            && credit != Credit::ActiveCloseWithdrawn
        {
            self.closer = Some(process);
        }
        if let Some(search) = &meant.search {
            self.note_search(search);
        }
    }

    /// A socket that lost its port, or its address, had it all the same.
    fn learn_ends(&mut self, tuple: &Tuple) {
        let known = |address, before| if is_unspecified(address) { before } else { address };
        self.tuple = Tuple {
            laddr: known(tuple.laddr, self.tuple.laddr),
            raddr: known(tuple.raddr, self.tuple.raddr),
            lport: if tuple.lport == 0 { self.tuple.lport } else { tuple.lport },
            rport: if tuple.rport == 0 { self.tuple.rport } else { tuple.rport },
        };
    }

    fn note_times(&mut self, event: &TransitionEvent) {
        let Change { old, new, fields_known, error, .. } = event.change;
        match (old, new) {
            // A connect that meets another is established as well as it will be.
            (_, TcpState::Established) | (TcpState::SynSent, TcpState::SynRecv) => {
                self.established = self.established.or(stamp(event.time_ns));
            }
            (_, TcpState::Close) => {
                self.closed = stamp(event.time_ns);
                self.error = fields_known.then_some(error);
            }
            _ => {}
        }
    }

    fn note_outcome(&mut self, outcome: Outcome, time_ns: u64) {
        match outcome {
            Outcome::ConnectOk
            | Outcome::ConnectRefused
            | Outcome::ConnectTimedOut
            | Outcome::ConnectNoPort
            | Outcome::ConnectOther
            | Outcome::ConnectUnexplained => self.connect = Some(outcome),
            _ => {
                self.close = Some(outcome);
                self.first_fin = self.first_fin.or(stamp(time_ns));
            }
        }
    }

    /// The search of its connect is over.
    pub(super) fn note_search(&mut self, search: &PortSearch) {
        if search.search == Search::Connect {
            self.searched = true;
            self.search_ns = search.latency_ns;
            self.tried = search.tried;
        }
    }

    /// The same, where its function was probed.
    pub(super) fn note_search_event(&mut self, event: &SearchEvent) {
        self.note_search(&PortSearch::from(event));
    }

    /// This socket left the mini-socket of `newborn`.
    pub(super) fn leaves(self, newborn: &Self) -> Self {
        Self { mini: newborn.mini, ..self }
    }

    pub(super) fn mini_stepped(&mut self, event: &MiniEvent) {
        self.mini.time_wait = stamp(event.time_ns);
    }

    pub(super) fn mini_ended(&mut self, event: &MiniEvent, end: End) {
        self.learn_ends(&event.tuple);
        self.mini.ended = stamp(event.time_ns);
        self.mini.end = Some(MiniEnd::By(end));
        self.mini.end_substate = Some(event.substate);
    }
}

/// `time_ns` as a stamp: nothing happens at boot.
pub(super) fn stamp(time_ns: u64) -> Stamp {
    NonZeroU64::new(time_ns)
}

fn is_unspecified(address: [u8; 16]) -> bool {
    Ipv6Addr::from_octets(address).to_canonical().is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There may be 600,000 of them, in TIME_WAIT alone.
    #[test]
    fn lives_are_small() {
        assert!(size_of::<Life>() <= 208, "{} bytes", size_of::<Life>());
    }
}
