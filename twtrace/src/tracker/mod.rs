//! Follows every socket from its first transition to its last.
//!
//! The tracker owns which sockets exist and what each has been through; it
//! turns events into [`Transition`]s, which say what an event means and whom
//! to credit for it. It has no clock, reads no file and knows no view.

mod minis;
mod polled;
mod population;
mod searches;
mod seeds;
mod sockets;

use twtrace_common::{Change, Outcome, ProcessKey, TcpState};

use self::{
    minis::Minis,
    searches::Searches,
    seeds::Seeds,
    sockets::{Socket, Sockets},
};
pub use self::{
    minis::{Ended, Maker, Mini},
    polled::{PolledAlive, PolledChanges, PolledMinis},
    population::Population,
    searches::{Destination, PortSearch},
};
use crate::{
    event::{ConnectEvent, MiniEvent, TransitionEvent},
    frame::{Polled, SeedMini, SeedSocket},
    probes::{Capability, Hooks, Tier},
};

/// How a socket came to be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// It called connect().
    Client,
    /// A listener accepted it.
    Server,
    /// It was there before we were.
    Unknown,
}

impl Role {
    /// The name in the Snapshot.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Unknown => "unknown",
        }
    }
}

/// What a process is credited with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credit {
    /// It sent the first FIN.
    ActiveClose,
    /// It had sent the first FIN, but the peer's was under way too.
    ActiveCloseWithdrawn,
    /// It answered the peer's FIN with its own.
    PeerClose,
    /// It cut an established connection.
    Reset,
}

/// What one event meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The socket's network namespace, if known.
    pub netns: Option<u32>,
    /// How the socket came to be connected.
    pub role: Role,
    /// What the transition opened or ended.
    pub outcome: Option<Outcome>,
    /// What for, and to whom credit is due; `None` for the process where
    /// nobody saw who it was.
    pub credit: Option<(Credit, Option<ProcessKey>)>,
    /// What became of the socket's mini-socket, where it was to have one.
    pub goodbye: Option<Goodbye>,
    /// The port search that began, or that failed, with this transition.
    pub search: Option<PortSearch>,
}

/// How a socket that closed first, or at the same time, left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goodbye {
    /// It left a mini-socket.
    Mini(Mini),
    /// It left none: the kernel refused it.
    Refused(Maker),
    /// It left none, and nothing tells why: the kernel may have refused one.
    Nothing(Maker),
}

/// Losses on this side of the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableLosses {
    /// Transitions of sockets that should have been known and were not.
    pub unmatched: u64,
    /// Sockets forgotten because the table was full.
    pub evicted: u64,
}

/// The sockets of a host. See the module's documentation.
#[derive(Debug)]
pub struct Tracker {
    sockets: Sockets,
    /// `None` where nobody sees them.
    minis: Option<Minis>,
    /// Empty where they are traced.
    polled: PolledMinis,
    /// `None` where nobody sees them, or each tells of itself.
    searches: Option<Searches>,
    max_connections: usize,
    seeds: Seeds,
    population: Population,
    losses: TableLosses,
    seeded_until_ns: u64,
}

impl Tracker {
    /// A tracker of what `hooks` deliver, that remembers at most
    /// `max_connections` sockets, and as many mini-sockets.
    pub fn new(hooks: Hooks, max_connections: usize) -> Self {
        let max_connections = max_connections.max(1);
        let follows = |capability| hooks.tier(capability).is_some();
        Self {
            sockets: Sockets::default(),
            minis: follows(Capability::EndCause).then(|| Minis::new(max_connections)),
            polled: PolledMinis::default(),
            searches: (hooks.tier(Capability::PortSearch) == Some(Tier::Tracepoint))
                .then(Searches::default),
            max_connections,
            seeds: Seeds::default(),
            population: Population::default(),
            losses: TableLosses::default(),
            seeded_until_ns: 0,
        }
    }

    /// Sockets by state: seeded ones and those seen since.
    pub fn population(&self) -> &Population {
        &self.population
    }

    /// What this tracker lost.
    pub fn losses(&self) -> TableLosses {
        let mut losses = self.losses;
        if let Some(minis) = &self.minis {
            losses.unmatched += minis.losses().unmatched;
            losses.evicted += minis.losses().evicted;
        }
        losses
    }

    /// How many mini-sockets were in FIN_WAIT2 when counting began.
    pub fn seeded_in_fin_wait2(&self) -> u64 {
        self.minis.as_ref().map_or(0, Minis::seeded_in_fin_wait2)
    }

    /// How many mini-sockets there were when counting began, by namespace.
    pub fn seeded_minis(&self) -> impl Iterator<Item = (u32, u64)> {
        self.minis.iter().flat_map(Minis::seeded)
    }

    /// Takes in the sockets that existed before the hooks attached.
    ///
    /// Seeds are read after attaching and arrive before the records, so a
    /// socket may be told twice: its records then take the seed's place.
    pub fn seed(&mut self, sockets: &[SeedSocket], until_ns: u64) {
        self.seeded_until_ns = until_ns;
        for seed in sockets {
            if self.sockets.len() + self.seeds.len() >= self.max_connections
                && !self.seeds.has(seed)
            {
                self.losses.evicted += 1;
                continue;
            }
            let replaced = self.seeds.insert(seed);
            self.population.leave(replaced);
            self.population.enter(seed.state);
        }
    }

    /// Takes in the mini-sockets that existed before the hooks attached.
    pub fn seed_minis(&mut self, seeds: &[SeedMini], until_ns: u64) {
        if let Some(minis) = &mut self.minis {
            minis.seed(seeds, until_ns);
        }
    }

    /// Follows the birth of a mini-socket; returns one whose end nobody saw,
    /// but which must be gone, since this one has its memory.
    pub fn born(&mut self, event: &MiniEvent) -> Option<Mini> {
        self.minis.as_mut()?.born(event)
    }

    /// A mini-socket went from FIN_WAIT2 to TIME_WAIT.
    pub fn stepped(&mut self, event: &MiniEvent) {
        if let Some(minis) = &mut self.minis {
            minis.stepped(event);
        }
    }

    /// The kernel refused a mini-socket, whose socket will say so.
    pub fn refused(&mut self, event: &MiniEvent) {
        if let Some(minis) = &mut self.minis {
            minis.refused(event);
        }
    }

    /// Follows the end of a mini-socket.
    pub fn ended(&mut self, event: &MiniEvent) -> Option<Ended> {
        self.minis.as_mut()?.ended(event)
    }

    /// Mini-sockets whose socket has not said in time whose they are.
    pub fn unclaimed(&mut self, now_ns: u64) -> Vec<Mini> {
        self.minis.as_mut().map(|minis| minis.unclaimed(now_ns)).unwrap_or_default()
    }

    /// Compares a look at all mini-sockets with the one before: what changed, by
    /// namespace.
    pub fn polled(&mut self, look: &Polled) -> Vec<(u32, PolledChanges)> {
        self.polled.compare(look)
    }

    /// The mini-sockets by the last look; only where nothing is traced.
    pub fn polled_minis(&self) -> &PolledMinis {
        &self.polled
    }

    /// A connect has its port: the search is over.
    pub fn connect_found(&mut self, event: &ConnectEvent) -> Option<PortSearch> {
        self.searches.as_mut()?.found(event)
    }

    /// Follows one transition.
    pub fn apply(&mut self, event: &TransitionEvent) -> Option<Transition> {
        let change = &event.change;
        if change.old == change.new {
            return None;
        }
        let mut socket = self.take(event);
        self.population.leave(socket.state);
        let outcome = change.outcome();
        let credit = credit(&mut socket, event, outcome);
        let transition = Transition {
            netns: event.netns,
            role: socket.role,
            outcome,
            credit,
            goodbye: self.goodbye(&socket, event),
            search: self.searches.as_mut().and_then(|searches| searches.follow(event, outcome)),
        };
        if change.new != TcpState::Close {
            self.put(event.sk, Socket { state: Some(change.new), ..socket });
        }
        Some(transition)
    }

    /// What a socket leaves that goes to CLOSE after it sent a FIN that was, or
    /// would have been, acknowledged. A socket that failed (`sk_err`) has none.
    fn goodbye(&mut self, socket: &Socket, event: &TransitionEvent) -> Option<Goodbye> {
        use TcpState::{Close, Closing, FinWait1, FinWait2};
        let (Change { old, new, error, .. }, netns) = (event.change, event.netns?);
        if !matches!((old, new), (FinWait1 | FinWait2 | Closing, Close)) {
            return None;
        }
        let maker = Maker { process: socket.closer.flatten(), netns, role: socket.role };
        let minis = self.minis.as_mut()?;
        match minis.claim(netns, &event.tuple, maker) {
            Some(mini) => Some(Goodbye::Mini(mini)),
            None if minis.was_refused(netns, &event.tuple) => Some(Goodbye::Refused(maker)),
            None => (error == 0).then_some(Goodbye::Nothing(maker)),
        }
    }

    /// The socket of `event` as it was before: known, seeded, new, or missed.
    fn take(&mut self, event: &TransitionEvent) -> Socket {
        let known = self.sockets.remove(event.sk);
        let seed = self.seeds.take(event);
        if let Some(state) = seed
            && known.is_some()
        {
            // Told twice: it was born between attaching and seeding.
            self.population.leave(Some(state));
        }
        let born = is_birth(event, known.as_ref());
        match known {
            // The address was given to a new socket, and the end of the old one was lost.
            Some(stale) if born => {
                self.population.leave(stale.state);
                Socket::new(event, None)
            }
            Some(socket) => socket,
            None => {
                // Until the seeds were read, a stranger was merely there before us.
                if seed.is_none() && !born && event.time_ns > self.seeded_until_ns {
                    self.losses.unmatched += 1;
                }
                Socket::new(event, seed)
            }
        }
    }

    fn put(&mut self, sk: u64, socket: Socket) {
        self.population.enter_maybe(socket.state);
        let room = self.max_connections.saturating_sub(self.seeds.len()).max(1);
        if let Some(oldest) = self.sockets.insert(sk, socket, room) {
            self.population.leave(oldest.state);
            self.losses.evicted += 1;
        }
    }
}

/// Whether this is the first record a socket can have: out of CLOSE, or out of
/// SYN_RECV as a listener's child. A socket that met a simultaneous open goes
/// through SYN_RECV too, but is known.
fn is_birth(event: &TransitionEvent, known: Option<&Socket>) -> bool {
    match event.change.old {
        TcpState::Close => true,
        TcpState::SynRecv => known.is_none_or(|socket| socket.state != Some(TcpState::SynRecv)),
        _ => false,
    }
}

/// Whom to credit with what, by the counting rules.
fn credit(
    socket: &mut Socket,
    event: &TransitionEvent,
    outcome: Option<Outcome>,
) -> Option<(Credit, Option<ProcessKey>)> {
    let change = &event.change;
    if change.old == TcpState::Close {
        socket.owner = event.owner;
    }
    // A close that a softirq carries out (a socket shut down before its
    // handshake ended) belongs to whoever connected.
    let actor = event.owner.or(socket.owner);
    match outcome {
        Some(Outcome::CloseActive) => {
            socket.closer = Some(actor);
            Some((Credit::ActiveClose, actor))
        }
        // Nothing was credited if it began before us, or if that record was lost.
        Some(Outcome::CloseSimultaneous) => {
            socket.closer.map(|closer| (Credit::ActiveCloseWithdrawn, closer))
        }
        Some(Outcome::ResetLocal) => Some((Credit::Reset, event.owner)),
        _ if (change.old, change.new) == (TcpState::CloseWait, TcpState::LastAck) => {
            Some((Credit::PeerClose, actor))
        }
        _ => None,
    }
}
