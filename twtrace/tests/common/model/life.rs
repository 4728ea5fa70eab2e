//! The life of one socket, and of the mini-socket that it leaves.

use proptest::{prelude::*, sample::select};
use twtrace_common::{
    End,
    TcpState::{
        self, Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv,
        SynSent, TimeWait,
    },
};

const ECONNREFUSED: u16 = 111;
const ECONNRESET: u16 = 104;
const ETIMEDOUT: u16 = 110;
const SHUT: u8 = 3;

/// How it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Birth {
    Connected,
    Accepted,
    SimultaneousOpen,
    Refused,
    TimedOut,
    NoPort,
    GivenUp,
    Listener,
    /// It was connected before anybody looked.
    FromBefore,
    /// Only its mini-socket is left when somebody looks.
    MiniFromBefore,
}

/// How it ends, if it was connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    StaysOpen,
    ClosesFirst,
    /// No one acknowledges its FIN.
    ClosesFirstInVain,
    ClosesSecond,
    NeverCloses,
    BothAtOnce,
    Cut,
    CutByPeer,
    CutByTimeout,
}

/// The mini-socket of one that closed first, or at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// The kernel makes none.
    pub(crate) refused: bool,
    /// It is born before the peer's FIN is there.
    pub(crate) early: bool,
    /// Then: whether that FIN comes.
    pub(crate) steps: bool,
    pub(crate) end: Option<End>,
}

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) birth: Birth,
    pub(crate) last: Last,
    pub(crate) left: Left,
    /// The process that connects or listens.
    pub(crate) opener: u32,
    /// The process that closes.
    pub(crate) closer: u32,
    /// One of two.
    pub(crate) netns: u32,
    /// Where to, one of two.
    pub(crate) destination: u8,
}

/// What a step means, by the counting rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    ConnectOk,
    ConnectRefused,
    ConnectTimedOut,
    ConnectNoPort,
    ConnectOther,
    Active,
    Passive,
    Simultaneous,
    PeerClose,
    ResetLocal,
    ResetRemote,
    /// It has a local port, from now on.
    TakesPort,
    /// A mini-socket is born, in this substate.
    Born(TcpState),
    Stepped,
    Ended(End),
    Refused,
}

/// What the kernel does in a step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Transition(Change),
    /// A connect has found its port.
    Located,
    Birth(TcpState),
    Step,
    End(TcpState, End),
    Refuse,
}

/// A transition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) old: TcpState,
    pub(crate) new: TcpState,
    /// In whose context; `None` for a softirq's.
    pub(crate) by: Option<u32>,
    pub(crate) error: u16,
    pub(crate) shutdown: u8,
}

/// One thing that happens in a life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) act: Act,
    pub(crate) means: Option<Meaning>,
}

impl Life {
    pub(crate) fn is_server(&self) -> bool {
        self.birth == Birth::Accepted
    }

    /// The name of its role in rows.
    pub(crate) fn role(&self) -> &'static str {
        match self.birth {
            Birth::Accepted => "server",
            Birth::FromBefore | Birth::MiniFromBefore => "unknown",
            _ => "client",
        }
    }

    /// Whether it takes a port towards a destination.
    pub(crate) fn goes_out(&self) -> bool {
        !matches!(self.birth, Birth::Accepted | Birth::Listener | Birth::NoPort)
    }

    /// Everything that happens, in order.
    pub(crate) fn steps(&self) -> Vec<Step> {
        if self.birth == Birth::MiniFromBefore {
            return self.mini_ends(TimeWait).into_iter().collect();
        }
        let mut steps = self.first();
        let is_connected = matches!(
            self.birth,
            Birth::Connected | Birth::Accepted | Birth::SimultaneousOpen | Birth::FromBefore
        );
        if is_connected {
            steps.extend(self.closing());
        }
        steps
    }

    fn first(&self) -> Vec<Step> {
        let opener = Some(self.opener);
        let syn = step(Close, SynSent, opener, None);
        let located = Step { act: Act::Located, means: Some(Meaning::TakesPort) };
        let failed = |error, shutdown, means| {
            // connect() and close() hold the lock; an RST and a timer do not.
            let by = opener.filter(|_| error == 0);
            vec![syn, located, cut(SynSent, by, error, shutdown, means)]
        };
        match self.birth {
            Birth::Connected => {
                vec![syn, located, step(SynSent, Established, None, Some(Meaning::ConnectOk))]
            }
            Birth::SimultaneousOpen => vec![
                syn,
                located,
                step(SynSent, SynRecv, None, Some(Meaning::ConnectOk)),
                step(SynRecv, Established, None, None),
            ],
            Birth::Accepted => {
                vec![step(Listen, SynRecv, None, None), step(SynRecv, Established, None, None)]
            }
            Birth::Refused => failed(ECONNREFUSED, 0, Meaning::ConnectRefused),
            Birth::TimedOut => failed(ETIMEDOUT, 0, Meaning::ConnectTimedOut),
            Birth::GivenUp => failed(0, SHUT, Meaning::ConnectOther),
            Birth::NoPort => vec![syn, cut(SynSent, opener, 0, 0, Meaning::ConnectNoPort)],
            Birth::Listener => {
                vec![step(Close, Listen, opener, None), step(Listen, Close, opener, None)]
            }
            Birth::FromBefore | Birth::MiniFromBefore => Vec::new(),
        }
    }

    fn closing(&self) -> Vec<Step> {
        let closer = Some(self.closer);
        let fin = step(Established, FinWait1, closer, Some(Meaning::Active));
        let peers_fin = step(Established, CloseWait, None, Some(Meaning::Passive));
        match self.last {
            Last::StaysOpen => Vec::new(),
            Last::ClosesFirst => {
                let substate = if self.left.early { FinWait2 } else { TimeWait };
                let mut steps = vec![fin, step(FinWait1, FinWait2, None, None)];
                steps.extend(self.leaves(FinWait2, substate));
                steps
            }
            Last::BothAtOnce => {
                let mut steps =
                    vec![fin, step(FinWait1, Closing, None, Some(Meaning::Simultaneous))];
                steps.extend(self.leaves(Closing, TimeWait));
                steps
            }
            Last::ClosesFirstInVain => {
                vec![fin, cut_silently(FinWait1, ETIMEDOUT)]
            }
            Last::ClosesSecond => vec![
                peers_fin,
                step(CloseWait, LastAck, closer, Some(Meaning::PeerClose)),
                step(LastAck, Close, None, None),
            ],
            Last::NeverCloses => vec![peers_fin],
            Last::Cut => vec![cut(Established, closer, 0, SHUT, Meaning::ResetLocal)],
            // Worked off by a process that was reading.
            Last::CutByPeer => {
                vec![cut(Established, closer, ECONNRESET, 0, Meaning::ResetRemote)]
            }
            Last::CutByTimeout => vec![cut(Established, None, ETIMEDOUT, 0, Meaning::ResetRemote)],
        }
    }

    /// Its mini-socket is told of first, then the socket goes.
    fn leaves(&self, state: TcpState, substate: TcpState) -> Vec<Step> {
        let goodbye = step(state, Close, None, None);
        if self.left.refused {
            return vec![Step { act: Act::Refuse, means: Some(Meaning::Refused) }, goodbye];
        }
        let birth = Step { act: Act::Birth(substate), means: Some(Meaning::Born(substate)) };
        let mut steps = vec![birth, goodbye];
        let mut now = substate;
        if substate == FinWait2 && self.left.steps {
            steps.push(Step { act: Act::Step, means: Some(Meaning::Stepped) });
            now = TimeWait;
        }
        steps.extend(self.mini_ends(now));
        steps
    }

    fn mini_ends(&self, substate: TcpState) -> Option<Step> {
        // Each substate has a timer of its own.
        let end = match self.left.end? {
            End::Expired | End::FinWait2Timeout if substate == FinWait2 => End::FinWait2Timeout,
            End::FinWait2Timeout => End::Expired,
            other => other,
        };
        Some(Step { act: Act::End(substate, end), means: Some(Meaning::Ended(end)) })
    }
}

fn step(old: TcpState, new: TcpState, by: Option<u32>, means: Option<Meaning>) -> Step {
    // Whoever closes has shut it down by then.
    let shutdown = if new == Close { SHUT } else { 0 };
    Step { act: Act::Transition(Change { old, new, by, error: 0, shutdown }), means }
}

fn cut(old: TcpState, by: Option<u32>, error: u16, shutdown: u8, means: Meaning) -> Step {
    let change = Change { old, new: Close, by, error, shutdown };
    Step { act: Act::Transition(change), means: Some(means) }
}

fn cut_silently(old: TcpState, error: u16) -> Step {
    let change = Change { old, new: Close, by: None, error, shutdown: SHUT };
    Step { act: Act::Transition(change), means: None }
}

/// Any life; the simplest first, so that what is found shrinks to it.
pub(crate) fn any_life() -> impl Strategy<Value = Life> {
    use Birth::{
        Accepted, Connected, FromBefore, GivenUp, Listener, MiniFromBefore, NoPort, Refused,
        SimultaneousOpen, TimedOut,
    };
    use Last::{
        BothAtOnce, ClosesFirst, ClosesFirstInVain, ClosesSecond, Cut, CutByPeer, CutByTimeout,
        NeverCloses, StaysOpen,
    };
    let births = prop_oneof![
        12 => select(vec![Connected, Accepted]),
        2 => select(vec![FromBefore, MiniFromBefore]),
        3 => select(vec![SimultaneousOpen, Refused, TimedOut, NoPort, GivenUp, Listener]),
    ];
    let lasts = prop_oneof![
        8 => select(vec![ClosesFirst, ClosesSecond]),
        4 => select(vec![StaysOpen, BothAtOnce, Cut, CutByPeer]),
        2 => select(vec![NeverCloses, ClosesFirstInVain, CutByTimeout]),
    ];
    let left = (
        prop::bool::weighted(0.1),
        any::<bool>(),
        any::<bool>(),
        prop::option::of(select(End::ALL.as_slice())),
    )
        .prop_map(|(refused, early, steps, end)| Left { refused, early, steps, end });
    (births, lasts, left, 1_u32..4, 1_u32..4, 0_u32..2, 0_u8..2).prop_map(
        |(birth, last, left, opener, closer, netns, destination)| Life {
            birth,
            last,
            left,
            opener,
            closer,
            netns,
            destination,
        },
    )
}
