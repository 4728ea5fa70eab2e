//! Timewait mini-sockets from birth to end, and whose closes made them.

use std::{
    collections::{HashMap, hash_map::Entry},
    num::{NonZeroU32, NonZeroU64},
};

use foldhash::fast::FixedState;
use twtrace_common::{End, ProcessKey, TcpState};

use super::{
    TableLosses,
    ports::{self, Class, Hold, Ports, Release, Waiting},
};
use crate::{
    event::{MiniEvent, Role, Tuple},
    frame::{CarriedCounts, CarriedMini, CarriedOpener, MiniOf, SeedMini},
};

/// A birth whose socket does not say goodbye within this time lost it: both
/// come from one CPU within microseconds.
pub(crate) const LONGEST_GOODBYE_NS: u64 = 1_000_000_000;

/// Whose close made a mini-socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Maker {
    start_time_ns: u64,
    /// No thread group has the number 0: `None` takes no room.
    tgid: Option<NonZeroU32>,
    /// The namespace of the socket.
    pub netns: u32,
    /// How it came to be connected.
    pub role: Role,
}

/// A mini-socket that lives. There may be hundreds of thousands of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mini {
    /// When it was born, on the clock of records.
    pub born_ns: u64,
    /// FIN_WAIT2 or TIME_WAIT, then.
    pub substate: TcpState,
    /// Since when it is in TIME_WAIT, on the clock of records; `None` if that was
    /// not seen.
    pub time_wait_ns: Option<NonZeroU64>,
    /// Whose it is.
    pub maker: Maker,
    /// Whether its birth is in no count, for it was seen when the recording had another file.
    pub carried: bool,
    /// Whether its connection had timestamps, if that is known.
    timestamps: Option<bool>,
    /// What it keeps from others.
    hold: Hold,
}

/// One that was there before us.
#[derive(Clone, Copy, Debug)]
struct Seeded {
    substate: TcpState,
    waiting: Waiting,
    hold: Hold,
}

/// What is known of a mini-socket that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its birth was seen, and whose it is.
    Claimed(Mini),
    /// Its birth was seen, and it ended before its socket said whose it is.
    Unclaimed(Mini),
    /// It was there before us, or its birth was missed.
    Unknown,
}

/// Mini-sockets of a host. See the module's documentation.
#[derive(Debug)]
pub(super) struct Minis {
    max: usize,
    steps_seen: bool,
    alive: HashMap<u64, Mini, FixedState>,
    /// Who connected the sockets of those that another process closed: few, as a rule.
    openers: HashMap<u64, ProcessKey, FixedState>,
    /// Born, and waiting for their socket to say whose they are.
    newborn: HashMap<(u32, Tuple), Newborn, FixedState>,
    /// Refused ones, and when, whose socket has not said goodbye yet.
    refused: HashMap<(u32, Tuple), u64, FixedState>,
    seeds: HashMap<(u32, Tuple), Seeded, FixedState>,
    /// How many there were when counting began, by namespace.
    seeded: HashMap<u32, u64, FixedState>,
    /// Of these, in FIN_WAIT2.
    seeded_in_fin_wait2: u64,
    seeded_until_ns: u64,
    losses: TableLosses,
    /// Births that found no room and whose ends are still to come.
    strangers: u64,
}

#[derive(Clone, Copy, Debug)]
struct Newborn {
    tw: u64,
    born_ns: u64,
    substate: TcpState,
    time_wait_ns: Option<NonZeroU64>,
    timestamps: Option<bool>,
    /// As [`Mini::carried`].
    carried: bool,
}

impl Mini {
    /// Where no step is seen, those born in FIN_WAIT2 are taken for stepped: most peers
    /// close at once. Of those whose timestamps are not told, nearly all have some.
    fn waiting(&self, steps_seen: bool) -> Waiting {
        let since_ns = self.time_wait_ns.map_or(self.born_ns, NonZeroU64::get);
        let class = match (self.timestamps, self.time_wait_ns) {
            (Some(false), _) => Class::NoTimestamps,
            (_, None) if steps_seen => Class::FinWait2,
            _ => Class::Ready,
        };
        Waiting { since_s: ports::second(since_ns), class }
    }
}

impl Mini {
    fn carried(&self, tw: u64, ports: &Ports) -> CarriedMini {
        let Self { born_ns, substate, time_wait_ns, maker, timestamps, hold, .. } = *self;
        let (process, role, held) = (maker.process(), maker.role, ports.held(hold));
        let of = MiniOf::Closed { process, role, held };
        CarriedMini { tw, born_ns, substate, time_wait_ns, timestamps, netns: maker.netns, of }
    }
}

impl Newborn {
    fn carried(self, netns: u32, tuple: Tuple) -> CarriedMini {
        let Self { tw, born_ns, substate, time_wait_ns, timestamps, .. } = self;
        let of = MiniOf::Closing(tuple);
        CarriedMini { tw, born_ns, substate, time_wait_ns, timestamps, netns, of }
    }

    fn new(event: &MiniEvent) -> Self {
        let in_time_wait = event.substate == TcpState::TimeWait;
        Self {
            tw: event.tw,
            born_ns: event.time_ns,
            substate: event.substate,
            time_wait_ns: NonZeroU64::new(event.time_ns).filter(|_| in_time_wait),
            timestamps: event.timestamps,
            carried: false,
        }
    }

    fn made_by(self, maker: Maker, hold: Hold) -> Mini {
        let Self { born_ns, substate, time_wait_ns, timestamps, carried, .. } = self;
        Mini { born_ns, substate, time_wait_ns, maker, carried, timestamps, hold }
    }
}

impl Maker {
    /// The maker `process`, `None` if nobody saw who it was.
    pub(super) fn new(process: Option<ProcessKey>, netns: u32, role: Role) -> Self {
        Self {
            start_time_ns: process.map_or(0, |process| process.start_time_ns),
            tgid: process.and_then(|process| NonZeroU32::new(process.tgid)),
            netns,
            role,
        }
    }

    /// The process that closed first; `None` if nobody saw who it was.
    pub fn process(&self) -> Option<ProcessKey> {
        let start_time_ns = self.start_time_ns;
        self.tgid.map(|tgid| ProcessKey { start_time_ns, tgid: tgid.get(), padding: 0 })
    }

    /// Of a mini-socket whose socket was not seen to close.
    fn unknown(netns: u32) -> Self {
        Self::new(None, netns, Role::Unknown)
    }
}

impl Minis {
    /// None yet; at most `max` are remembered. `steps_seen`: whether those from FIN_WAIT2 to
    /// TIME_WAIT are told.
    pub(super) fn new(max: usize, steps_seen: bool) -> Self {
        Self {
            max,
            steps_seen,
            alive: HashMap::default(),
            openers: HashMap::default(),
            newborn: HashMap::default(),
            refused: HashMap::default(),
            seeds: HashMap::default(),
            seeded: HashMap::default(),
            seeded_in_fin_wait2: 0,
            seeded_until_ns: 0,
            losses: TableLosses::default(),
            strangers: 0,
        }
    }

    pub(super) fn losses(&self) -> TableLosses {
        self.losses
    }

    /// How many were in FIN_WAIT2 when counting began.
    pub(super) fn seeded_in_fin_wait2(&self) -> u64 {
        self.seeded_in_fin_wait2
    }

    /// How many there were when counting began.
    pub(super) fn seeded(&self) -> impl Iterator<Item = (u32, u64)> {
        self.seeded.iter().map(|(netns, count)| (*netns, *count))
    }

    /// Takes in those that were there before us, as far as sock_diag could tell.
    pub(super) fn seed(&mut self, seeds: &[SeedMini], until_ns: u64, ports: &mut Ports) {
        self.seeded_until_ns = until_ns;
        for seed in seeds {
            let key = (seed.netns, seed.tuple);
            if self.has_room() {
                if let Entry::Vacant(place) = self.seeds.entry(key) {
                    let hold = ports.found(seed.netns, &seed.tuple);
                    let in_fin_wait2 = self.steps_seen && seed.substate == TcpState::FinWait2;
                    let class = if in_fin_wait2 { Class::FinWait2 } else { Class::Ready };
                    let waiting = Waiting::until(until_ns, seed.expires_ms, class);
                    ports.was_waiting(hold, waiting);
                    place.insert(Seeded { substate: seed.substate, waiting, hold });
                    self.count_seed(seed);
                }
            } else if !self.seeds.contains_key(&key) {
                self.count_seed(seed);
                self.turn_away();
            }
        }
    }

    fn count_seed(&mut self, seed: &SeedMini) {
        *self.seeded.entry(seed.netns).or_default() += 1;
        self.seeded_in_fin_wait2 += u64::from(seed.substate == TcpState::FinWait2);
    }

    /// A birth; returns the mini-socket whose memory this one has, if nobody
    /// saw that end.
    pub(super) fn born(&mut self, event: &MiniEvent, ports: &mut Ports) -> Option<Mini> {
        let key = (event.netns, event.tuple);
        // Told twice: it was born between attaching and seeding.
        if event.time_ns <= self.seeded_until_ns
            && let Some(Seeded { substate, waiting, hold }) = self.seeds.remove(&key)
        {
            ports.ends(hold, waiting, Release::Expired, event.time_ns);
            let seeded = self.seeded.entry(event.netns).or_default();
            *seeded = seeded.saturating_sub(1);
            let in_fin_wait2 = u64::from(substate == TcpState::FinWait2);
            self.seeded_in_fin_wait2 = self.seeded_in_fin_wait2.saturating_sub(in_fin_wait2);
        }
        let unseen = self.alive.remove(&event.tw);
        self.openers.remove(&event.tw);
        if let Some(mini) = &unseen {
            let waiting = mini.waiting(self.steps_seen);
            ports.ends(mini.hold, waiting, Release::Other, event.time_ns);
        }
        if self.has_room() {
            self.newborn.insert(key, Newborn::new(event));
        } else {
            self.turn_away();
        }
        unseen
    }

    /// The socket of `tuple`, which `opener` had connected, closed for good, and says whose
    /// its mini-socket is, and what it kept from others; `None` if it has none.
    pub(super) fn claim(
        &mut self,
        tuple: &Tuple,
        maker: Maker,
        opener: Option<ProcessKey>,
        hold: Hold,
        ports: &mut Ports,
    ) -> Option<Mini> {
        let newborn = self.newborn.remove(&(maker.netns, *tuple))?;
        // Of a socket that was first met when it closed nothing is held yet.
        let hold = match hold {
            Hold::Nothing => ports.found(maker.netns, tuple),
            held => held,
        };
        let mini = newborn.made_by(maker, hold);
        ports.waits(hold, mini.waiting(self.steps_seen));
        self.lives(newborn.tw, mini, ports);
        let other = opener.filter(|_| opener != maker.process());
        self.openers.extend(other.map(|opener| (newborn.tw, opener)));
        Some(mini)
    }

    /// It is in TIME_WAIT from now on.
    pub(super) fn stepped(&mut self, event: &MiniEvent, ports: &mut Ports) {
        if let Some(mini) = self.alive.get_mut(&event.tw) {
            let before = mini.waiting(self.steps_seen);
            mini.time_wait_ns = NonZeroU64::new(event.time_ns);
            ports.waits_anew(mini.hold, before, mini.waiting(self.steps_seen));
        } else if let Some(newborn) = self.newborn.get_mut(&(event.netns, event.tuple))
            && newborn.tw == event.tw
        {
            newborn.time_wait_ns = NonZeroU64::new(event.time_ns);
        } else {
            self.seed_stepped(event, ports);
        }
    }

    /// One from before us. If sock_diag looked after the step, it was in FIN_WAIT2
    /// when counting began all the same.
    fn seed_stepped(&mut self, event: &MiniEvent, ports: &mut Ports) {
        let seed = self.seeds.get_mut(&(event.netns, event.tuple));
        let was_known = seed.as_ref().is_some_and(|seed| seed.substate == TcpState::FinWait2);
        if let Some(seed) = seed {
            seed.substate = TcpState::TimeWait;
            let since_s = ports::second(event.time_ns);
            let stepped = Waiting { since_s, class: Class::Ready };
            ports.waits_anew(seed.hold, seed.waiting, stepped);
            seed.waiting = stepped;
        }
        if !was_known && event.time_ns <= self.seeded_until_ns {
            self.seeded_in_fin_wait2 += 1;
        }
    }

    /// One was refused; whose it would have been its socket says next.
    pub(super) fn refused(&mut self, event: &MiniEvent) {
        if self.refused.len() < self.max {
            self.refused.insert((event.netns, event.tuple), event.time_ns);
        }
    }

    /// Whether the socket of `tuple`, which closes for good, was refused one.
    pub(super) fn was_refused(&mut self, netns: u32, tuple: &Tuple) -> bool {
        self.refused.remove(&(netns, *tuple)).is_some()
    }

    /// Gives up waiting for the sockets of the births long before `now_ns`.
    pub(super) fn unclaimed(&mut self, now_ns: u64, ports: &mut Ports) -> Vec<Mini> {
        let is_late = |time_ns: u64| time_ns.saturating_add(LONGEST_GOODBYE_NS) < now_ns;
        self.refused.retain(|_, refused_ns| !is_late(*refused_ns));
        let late = |newborn: &Newborn| is_late(newborn.born_ns);
        let mut unclaimed = Vec::new();
        let unheard: Vec<_> = self.newborn.extract_if(|_, newborn| late(newborn)).collect();
        for ((netns, tuple), newborn) in unheard {
            let hold = ports.found(netns, &tuple);
            let mini = newborn.made_by(Maker::unknown(netns), hold);
            ports.was_waiting(hold, mini.waiting(self.steps_seen));
            self.lives(newborn.tw, mini, ports);
            unclaimed.push(mini);
        }
        unclaimed
    }

    /// From now on the mini-socket at `tw` is this one; the end of one that was there
    /// before got lost.
    fn lives(&mut self, tw: u64, mini: Mini, ports: &mut Ports) {
        self.openers.remove(&tw);
        if let Some(lost) = self.alive.insert(tw, mini) {
            ports.ends(lost.hold, lost.waiting(self.steps_seen), Release::Other, mini.born_ns);
        }
    }

    /// An end; `None` if it is told so late that another one was born in that
    /// memory, and [`Self::born`] gave up waiting for it.
    pub(super) fn ended(
        &mut self,
        event: &MiniEvent,
        end: End,
        ports: &mut Ports,
    ) -> Option<Ended> {
        let is_younger = |mini: &Mini| mini.born_ns > event.time_ns;
        if self.alive.get(&event.tw).is_some_and(is_younger) {
            return None;
        }
        Some(self.ended_in_time(event, release(end), ports))
    }

    fn ended_in_time(&mut self, event: &MiniEvent, release: Release, ports: &mut Ports) -> Ended {
        if let Some(mini) = self.alive.remove(&event.tw) {
            self.openers.remove(&event.tw);
            ports.ends(mini.hold, mini.waiting(self.steps_seen), release, event.time_ns);
            return Ended::Claimed(mini);
        }
        let key = (event.netns, event.tuple);
        if let Entry::Occupied(newborn) = self.newborn.entry(key)
            && newborn.get().tw == event.tw
        {
            let maker = Maker::unknown(event.netns);
            // What it keeps from others its socket still holds.
            ports.ends_early(event.netns, &event.tuple, release);
            return Ended::Unclaimed(newborn.remove().made_by(maker, Hold::Nothing));
        }
        match self.seeds.remove(&key) {
            Some(Seeded { hold, waiting, .. }) => {
                ports.ends(hold, waiting, release, event.time_ns);
            }
            None => self.stranger_ended(event),
        }
        Ended::Unknown
    }

    /// One that is neither known nor seeded: was it there when we attached, and
    /// gone before sock_diag looked? Was there no room for it? Or was it missed?
    fn stranger_ended(&mut self, event: &MiniEvent) {
        if event.time_ns <= self.seeded_until_ns {
            *self.seeded.entry(event.netns).or_default() += 1;
            self.seeded_in_fin_wait2 += u64::from(event.substate == TcpState::FinWait2);
        } else if self.strangers > 0 {
            self.strangers -= 1;
        } else {
            self.losses.unmatched += 1;
        }
    }

    /// What all of them keep from others.
    pub(super) fn holds(&self) -> impl Iterator<Item = Hold> {
        let alive = self.alive.values().map(|mini| mini.hold);
        alive.chain(self.seeds.values().map(|seed| seed.hold))
    }

    /// Who connected the sockets of those that another process closed.
    pub(super) fn openers(&self) -> Vec<CarriedOpener> {
        self.openers
            .iter()
            .map(|(tw, process)| CarriedOpener { tw: *tw, process: *process })
            .collect()
    }

    /// Takes over who connected sockets whose mini-sockets come next.
    pub(super) fn carry_openers(&mut self, openers: &[CarriedOpener]) {
        self.openers.extend(openers.iter().map(|opener| (opener.tw, opener.process)));
    }

    /// All whose birth was seen.
    pub(super) fn carried(&self, ports: &Ports) -> Vec<CarriedMini> {
        let claimed = self.alive.iter().map(|(tw, mini)| mini.carried(*tw, ports));
        let newborn = self.newborn.iter();
        claimed.chain(newborn.map(|((netns, tuple), it)| it.carried(*netns, *tuple))).collect()
    }

    /// Those of before us that did not end yet, with the time they had left at `time_ns`.
    pub(super) fn unmet(&self, time_ns: u64) -> Vec<SeedMini> {
        let unmet = self.seeds.iter().map(|((netns, tuple), seeded)| SeedMini {
            netns: *netns,
            substate: seeded.substate,
            expires_ms: seeded.waiting.left_ms(time_ns),
            tuple: *tuple,
        });
        unmet.collect()
    }

    /// Takes over one whose birth was seen before; returns it if it is known whose it is.
    pub(super) fn carry(&mut self, carried: &CarriedMini, ports: &mut Ports) -> Option<Mini> {
        let CarriedMini { tw, born_ns, substate, time_wait_ns, timestamps, netns, of } = *carried;
        let newborn = Newborn { tw, born_ns, substate, time_wait_ns, timestamps, carried: true };
        let (process, role, held) = match of {
            MiniOf::Closing(tuple) => {
                self.newborn.insert((netns, tuple), newborn);
                return None;
            }
            MiniOf::Closed { process, role, held } => (process, role, held),
        };
        let maker = Maker::new(process, netns, role);
        let mini = newborn.made_by(maker, Hold::Nothing);
        let hold = ports.keeps(&held, mini.waiting(self.steps_seen));
        let mini = Mini { hold, ..mini };
        self.alive.insert(tw, mini);
        Some(mini)
    }

    /// All that were there are told of: so many, whatever the lists say.
    pub(super) fn carried_in_all(&mut self, counts: &CarriedCounts) {
        self.seeded = counts.minis.iter().copied().collect();
        self.seeded_in_fin_wait2 = counts.in_fin_wait2;
        self.seeded_until_ns = counts.seeded_until_ns;
    }

    fn has_room(&self) -> bool {
        self.alive.len() + self.newborn.len() + self.seeds.len() < self.max
    }

    fn turn_away(&mut self) {
        self.losses.evicted += 1;
        self.strangers += 1;
    }
}

fn release(end: End) -> Release {
    match end {
        End::Expired | End::FinWait2Timeout | End::Purged => Release::Expired,
        End::Reused => Release::Reused,
        End::ReusedBound => Release::ReusedBound,
        _ => Release::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(time_ns: u64, lport: u16, substate: TcpState) -> MiniEvent {
        let tuple = Tuple { laddr: [0; 16], raddr: [0; 16], lport, rport: 80 };
        MiniEvent { time_ns, tw: u64::from(lport), netns: 1, substate, tuple, timestamps: None }
    }

    /// What was in FIN_WAIT2 when counting began, and has left it when sock_diag looks.
    #[test]
    fn those_that_leave_fin_wait2_before_sock_diag_looks_were_in_it() {
        let (mut minis, mut ports) = (Minis::new(10, true), Ports::new(1));
        let seed = |lport, substate| SeedMini {
            netns: 1,
            substate,
            expires_ms: 60_000,
            tuple: event(0, lport, substate).tuple,
        };
        let seeds = [seed(1, TcpState::FinWait2), seed(2, TcpState::TimeWait)];
        minis.seed(&seeds, 100, &mut ports);
        assert_eq!(minis.seeded_in_fin_wait2(), 1);
        minis.stepped(&event(50, 2, TcpState::TimeWait), &mut ports);
        minis.ended(&event(60, 3, TcpState::FinWait2), End::FinWait2Timeout, &mut ports);
        assert_eq!(minis.seeded_in_fin_wait2(), 3, "one stepped, one ended");
        minis.stepped(&event(200, 1, TcpState::TimeWait), &mut ports);
        minis.stepped(&event(210, 4, TcpState::TimeWait), &mut ports);
        assert_eq!(minis.seeded_in_fin_wait2(), 3, "one was known, one was missed");
    }
}
