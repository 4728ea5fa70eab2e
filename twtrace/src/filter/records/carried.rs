//! What was there when the recording went on in another file.
//!
//! A socket that passes does so with all that is known of it, at once or as soon as it is
//! known that it does; a mini-socket at once or never, as its birth would have.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;
use twtrace_common::{ProcessKey, TcpState};

use super::{
    super::{Filter, sockets::Socket},
    Alive, Passed, Records,
};
use crate::{
    event::{Role, Tuple},
    frame::{
        CarriedCounts, CarriedDestination, CarriedMini, CarriedOpener, CarriedSocket, Held,
        HeldDestination, MiniOf, SeedMini, SeedSocket,
    },
};

/// Where a port is taken towards.
type Place = (u32, HeldDestination);

/// What was told of what was there, and has not passed yet.
#[derive(Debug)]
pub(super) struct Carried {
    /// Destinations, which pass with whatever holds a port towards them.
    destinations: HashMap<Place, Destination, FixedState>,
    /// Who connected the sockets of mini-sockets, where another process closed them.
    openers: HashMap<u64, ProcessKey, FixedState>,
    /// Mini-sockets that passed, by namespace.
    minis: BTreeMap<u32, u64>,
    /// Of these, in FIN_WAIT2.
    in_fin_wait2: u64,
    /// Whether it is known of each socket and mini-socket whether its ends are wanted.
    complete: bool,
}

/// A destination, and what of it has passed.
#[derive(Clone, Copy, Debug)]
struct Destination {
    carried: CarriedDestination,
    has_passed: bool,
    /// Whether it passed with somebody who connected to it.
    has_opener: bool,
}

impl Default for Carried {
    fn default() -> Self {
        Self {
            destinations: HashMap::default(),
            openers: HashMap::default(),
            minis: BTreeMap::new(),
            in_fin_wait2: 0,
            complete: true,
        }
    }
}

impl Carried {
    fn count(&mut self, netns: u32, in_fin_wait2: bool) {
        *self.minis.entry(netns).or_default() += 1;
        self.in_fin_wait2 += u64::from(in_fin_wait2);
    }
}

impl Records {
    /// Takes in towards what ports were taken: it passes with whatever holds one.
    pub(in crate::filter) fn carry_destinations(&mut self, carried: &[CarriedDestination]) {
        let place = |it: &CarriedDestination| {
            let destination = Destination { carried: *it, has_passed: false, has_opener: false };
            ((it.netns, it.destination), destination)
        };
        let room = self.limit.saturating_sub(self.carried.destinations.len());
        self.carried.destinations.extend(carried.iter().map(place).take(room));
    }

    /// Takes in sockets that were met.
    pub(in crate::filter) fn carry_sockets(
        &mut self,
        carried: &[CarriedSocket],
        passed: &mut Passed,
    ) {
        for it in carried {
            let mut socket = Socket::carried(&self.filter, it);
            for process in [it.owner, it.closer.flatten()].into_iter().flatten() {
                self.acts(&mut socket, process);
            }
            self.carried.complete &= socket.knows_ends();
            match socket.is_wanted() {
                Some(true) => self.release(&mut socket, passed),
                Some(false) => socket.carried = None,
                None => {}
            }
            self.follow_listener(&mut socket, lport(&it.held));
            self.follow_leaving(it.sk, &socket);
            self.put(it.sk, socket);
        }
    }

    /// Takes in who connected the sockets of mini-sockets.
    pub(in crate::filter) fn carry_openers(&mut self, carried: &[CarriedOpener]) {
        let room = self.limit.saturating_sub(self.carried.openers.len());
        let openers = carried.iter().map(|opener| (opener.tw, opener.process));
        self.carried.openers.extend(openers.take(room));
    }

    /// The mini-sockets that pass of those whose birth was seen.
    pub(in crate::filter) fn carry_minis(
        &mut self,
        carried: &[CarriedMini],
        passed: &mut Passed,
    ) -> Vec<CarriedMini> {
        let mut minis = Vec::new();
        for mini in carried {
            let ends = self.wants_ends_of(mini);
            let opener = self.carried.openers.remove(&mini.tw);
            let is_wanted = ends == Some(true) && self.is_of_wanted(mini, opener);
            self.carried.complete &= ends.is_some();
            let is_asked_for = (is_wanted && self.filter.asks_for_process()) || ends.is_none();
            if is_asked_for && self.minis.len() < self.limit {
                let alive = Alive { born_ns: mini.born_ns, is_wanted, was_wanted: false };
                self.minis.insert(mini.tw, alive);
            }
            if is_wanted {
                let in_fin_wait2 =
                    mini.substate == TcpState::FinWait2 && mini.time_wait_ns.is_none();
                self.carried.count(mini.netns, in_fin_wait2);
                self.towards_of_mini(mini, opener, passed);
                passed.openers.extend(opener.map(|process| CarriedOpener { tw: mini.tw, process }));
                minis.push(*mini);
            }
        }
        minis
    }

    fn wants_ends_of(&self, mini: &CarriedMini) -> Option<bool> {
        match &mini.of {
            MiniOf::Closing(tuple) => self.filter.wants(Some(mini.netns), tuple),
            MiniOf::Closed { held, .. } => wants_held(&self.filter, Some(mini.netns), held),
        }
    }

    /// Whether a mini-socket is of a process that is wanted, if one is asked for.
    fn is_of_wanted(&mut self, mini: &CarriedMini, opener: Option<ProcessKey>) -> bool {
        match mini.of {
            _ if !self.filter.asks_for_process() => true,
            MiniOf::Closing(tuple) => self.leaving.contains_key(&(mini.netns, tuple)),
            MiniOf::Closed { process, .. } => {
                [process, opener].into_iter().flatten().any(|process| self.wants_process(process))
            }
        }
    }

    /// What sock_diag had listed, and was not met since, passes.
    pub(in crate::filter) fn carry_seeds(
        &mut self,
        sockets: &[SeedSocket],
        minis: &[SeedMini],
        passed: &mut Passed,
    ) {
        for SeedSocket { netns, tuple, .. } in sockets {
            netns.iter().for_each(|netns| self.towards(*netns, tuple, None, passed));
        }
        for SeedMini { netns, substate, tuple, .. } in minis {
            self.carried.count(*netns, *substate == TcpState::FinWait2);
            self.towards(*netns, tuple, None, passed);
        }
    }

    /// How many pass of `counts`, where all totals are counted from records if `recounted`.
    pub(in crate::filter) fn carry_counts(
        &self,
        counts: &CarriedCounts,
        recounted: bool,
    ) -> CarriedCounts {
        let complete = counts.complete && self.carried.complete;
        if recounted {
            return CarriedCounts {
                minis: self.carried.minis.iter().map(|(netns, count)| (*netns, *count)).collect(),
                in_fin_wait2: self.carried.in_fin_wait2,
                // One that is listed ends when a record says so.
                untold_ends: Vec::new(),
                complete,
                seeded_until_ns: counts.seeded_until_ns,
            };
        }
        let of_netns = |all: &[(u32, u64)]| -> Vec<(u32, u64)> {
            all.iter().copied().filter(|(netns, _)| self.filter.wants_netns(Some(*netns))).collect()
        };
        let minis = of_netns(&counts.minis);
        // Others may be in it, too: how many are is told of all together.
        let is_alone = minis.len() == counts.minis.len();
        let in_fin_wait2 = if is_alone { counts.in_fin_wait2 } else { self.carried.in_fin_wait2 };
        CarriedCounts {
            minis,
            in_fin_wait2,
            untold_ends: of_netns(&counts.untold_ends),
            complete,
            seeded_until_ns: counts.seeded_until_ns,
        }
    }

    /// A socket passes that holds `held`: so does what its port is taken towards.
    pub(super) fn towards_of_socket(&mut self, socket: &CarriedSocket, passed: &mut Passed) {
        if let Some((netns, tuple)) = socket.held.ends() {
            self.towards(netns, &tuple, socket.owner, passed);
        }
    }

    fn towards_of_mini(
        &mut self,
        mini: &CarriedMini,
        opener: Option<ProcessKey>,
        passed: &mut Passed,
    ) {
        if let MiniOf::Closed { process, role, held } = mini.of
            && let Some((netns, tuple)) = held.ends()
        {
            let opener = opener.or(process).filter(|_| role == Role::Client);
            self.towards(netns, &tuple, opener, passed);
        }
    }

    /// Something passes that holds a port between these ends, and that `opener` connected.
    pub(super) fn towards(
        &mut self,
        netns: u32,
        tuple: &Tuple,
        opener: Option<ProcessKey>,
        passed: &mut Passed,
    ) {
        let Tuple { laddr, raddr, rport, .. } = *tuple;
        let place = (netns, HeldDestination { laddr, raddr, rport });
        let Some(destination) = self.carried.destinations.get(&place).copied() else { return };
        let Destination { carried, has_passed, has_opener } = destination;
        if has_passed && (has_opener || opener.is_none()) {
            return;
        }
        // The connect that came last may be of a socket that is not wanted: then one that
        // is has to do.
        let last = carried.last_opened.filter(|_| self.filter.lports.is_none());
        let last = last.filter(|(_, process)| self.wants_process(*process));
        let last_opened = last.or(opener.map(|opener| (0, opener)));
        let has_opener = last_opened.is_some();
        let told = Destination { carried, has_passed: true, has_opener };
        self.carried.destinations.insert(place, told);
        passed.destinations.push(CarriedDestination { last_opened, ..carried });
    }
}

/// Whether what holds `held` in `netns` is wanted; `None` if that is not known.
pub(in crate::filter) fn wants_held(
    filter: &Filter,
    netns: Option<u32>,
    held: &Held,
) -> Option<bool> {
    if let Some((_, tuple)) = held.ends() {
        return filter.wants(netns, &tuple);
    }
    if netns.is_some() && !filter.wants_netns(netns) {
        return Some(false);
    }
    let is_told =
        (filter.netns.is_none() || netns.is_some()) && !filter.asks_for_more_than_a_port();
    match filter.wants_lport(lport(held)) {
        Some(true) => is_told.then_some(true),
        other => other,
    }
}

fn lport(held: &Held) -> u16 {
    match (held, held.ends()) {
        (_, Some((_, tuple))) => tuple.lport,
        (Held::Port { lport, .. }, None) => *lport,
        _ => 0,
    }
}
