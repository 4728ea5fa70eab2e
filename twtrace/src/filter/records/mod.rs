//! Records, kept or dropped as a whole.

mod carried;

use std::collections::HashMap;

use foldhash::fast::FixedState;
use hashlink::LruCache;
use twtrace_common::{
    ProcessKey, Search,
    TcpState::{self, Close, Closing, FinWait1, FinWait2, Listen, SynRecv},
};

use self::carried::Carried;
pub(super) use self::carried::wants_held;
use super::{
    Filter,
    listeners::Listeners,
    processes::Processes,
    recount::Recount,
    seeds::KeptSeeds,
    sockets::{Socket, Sockets},
};
use crate::{
    decode,
    event::{Event, MiniEvent, SearchEvent, TransitionEvent, Tuple},
    frame::{CarriedDestination, CarriedOpener, CarriedSocket, ProcessFacts, SeedSocket},
};

/// Binds kept until it is known what their socket is for.
const MAX_BINDS: usize = 65_536;

/// What passes of a batch, in this order.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// What the next hold ports towards.
    pub(super) destinations: Vec<CarriedDestination>,
    /// Sockets from another file that turned out to be wanted.
    pub(super) sockets: Vec<CarriedSocket>,
    /// Who connected those of the mini-sockets that come next.
    pub(super) openers: Vec<CarriedOpener>,
    /// Sockets from before us that did.
    pub(super) seeds: Vec<SeedSocket>,
    /// Records, back to back.
    pub(super) records: Vec<u8>,
}

/// A bind that got its port, of a socket of which nothing else is known yet.
#[derive(Clone, Debug)]
struct KeptBind {
    lport: u16,
    record: Vec<u8>,
}

/// A mini-socket whose ends are not all that is asked for.
#[derive(Clone, Copy, Debug)]
struct Alive {
    born_ns: u64,
    is_wanted: bool,
    /// Whether the one before it in that memory is, whose end is told late.
    was_wanted: bool,
}

/// Which records pass, by what they say and by what is remembered. See the [module](super).
#[derive(Debug)]
pub(super) struct Records {
    filter: Filter,
    limit: usize,
    keeps_samples: bool,
    pub(super) processes: Processes,
    pub(super) seeds: KeptSeeds,
    pub(super) listeners: Listeners,
    pub(super) recount: Recount,
    sockets: Sockets,
    binds: LruCache<u64, KeptBind, FixedState>,
    /// Sockets that are wanted and will leave a mini-socket, with their kernel address;
    /// only where it is asked whose they are.
    leaving: HashMap<(u32, Tuple), u64, FixedState>,
    /// Mini-sockets by their kernel address, as [`Self::leaving`]; and those of another file
    /// that did not tell their ends.
    minis: HashMap<u64, Alive, FixedState>,
    carried: Carried,
}

impl Records {
    /// Nothing remembered yet, and never more than `limit` sockets and as many mini-sockets.
    pub(super) fn new(filter: Filter, limit: usize, keeps_samples: bool, recount: Recount) -> Self {
        Self {
            limit,
            keeps_samples,
            processes: Processes::new(&filter),
            seeds: KeptSeeds::new(limit),
            listeners: Listeners::default(),
            recount,
            sockets: Sockets::new(limit),
            binds: LruCache::with_hasher(MAX_BINDS, FixedState::default()),
            leaving: HashMap::default(),
            minis: HashMap::default(),
            carried: Carried::default(),
            filter,
        }
    }

    /// Goes through one batch. What does not decode passes, for others to say so.
    pub(super) fn batch(&mut self, batch: &[u8], passed: &mut Passed) {
        let mut rest = batch;
        for event in decode::events(batch) {
            let len = rest.first().and_then(|kind| decode::record_len(*kind));
            let split = len.and_then(|len| rest.split_at_checked(len));
            let (Ok(event), Some((record, behind))) = (event, split) else { break };
            rest = behind;
            self.record(&event, record, passed);
        }
        passed.records.extend_from_slice(rest);
    }

    /// Learns where a process runs: sockets may have waited for that.
    pub(super) fn place(&mut self, facts: &ProcessFacts, passed: &mut Passed) {
        if self.processes.place(&self.filter, facts) {
            self.arrived(facts.key, passed);
        }
    }

    fn record(&mut self, event: &Event, record: &[u8], passed: &mut Passed) {
        let passes = match event {
            Event::Transition(event) => return self.transition(event, record, passed),
            Event::Connect(event) => {
                let lport = event.lport;
                return self.of_socket(event.sk, lport, None, record, passed);
            }
            Event::Search(event) => match event.search {
                Search::Connect | Search::Listen => return self.search(event, record, passed),
                Search::Bind | Search::BindExplicit => self.bind(event, record),
            },
            Event::Birth(mini) => self.birth(mini),
            Event::Refused(mini) => self.wants_mini(mini),
            Event::Step(mini) => self.wants_alive(mini),
            Event::End(mini, _) => self.end(mini),
            Event::Sample(sample) => self.keeps_samples && self.wants_process(sample.owner),
            Event::Process(process) => {
                // A name is in no count, and rows may need it.
                passed.records.extend_from_slice(record);
                if self.processes.name(process) {
                    self.arrived(process.key, passed);
                }
                return;
            }
        };
        if passes {
            self.pass(event, record, passed);
        }
    }

    fn pass(&mut self, event: &Event, record: &[u8], passed: &mut Passed) {
        self.recount.count(event);
        passed.records.extend_from_slice(record);
    }

    fn transition(&mut self, event: &TransitionEvent, record: &[u8], passed: &mut Passed) {
        let mut socket = self.take(event);
        socket.learn_ends(&self.filter, event);
        if let Some(owner) = event.owner {
            self.acts(&mut socket, owner);
        }
        (socket.state, socket.tuple) = (event.change.new, event.tuple);
        self.told(&mut socket, record, passed);
        self.follow_listener(&mut socket, event.tuple.lport);
        self.follow_leaving(event.sk, &socket);
        if socket.state != Close && !socket.can_be_forgotten() {
            self.put(event.sk, socket);
        }
    }

    /// The socket of `event` as it was before, or as it is first met.
    fn take(&mut self, event: &TransitionEvent) -> Socket {
        let known = self.sockets.remove(event.sk);
        let seed = self.seeds.take(event);
        let before = known.as_ref().map(|socket| socket.state);
        let is_child = event.change.old == SynRecv && before != Some(SynRecv);
        let is_born = event.change.old == Close || is_child;
        match known {
            Some(known) if !is_born => {
                // Told twice: it was born between attaching and seeding.
                self.forget_seed(seed);
                known
            }
            stale => {
                self.forget(stale);
                let mut socket = Socket::new(&self.filter, event, is_child);
                if is_born {
                    self.forget_seed(seed);
                    self.attach_bind(&mut socket, event);
                } else {
                    socket.seed = seed;
                    socket.listens = event
                        .netns
                        .map(|netns| (netns, event.tuple.lport))
                        .filter(|place| event.change.old == Listen && self.listeners.has(*place));
                }
                socket
            }
        }
    }

    /// A socket has the bind that came before, if it still has that port.
    fn attach_bind(&mut self, socket: &mut Socket, event: &TransitionEvent) {
        if let Some(bind) = self.binds.remove(&event.sk)
            && bind.lport == event.tuple.lport
        {
            socket.keep(&bind.record);
        }
    }

    fn forget(&mut self, socket: Option<Socket>) {
        if let Some(place) = socket.and_then(|socket| socket.listens) {
            self.listeners.remove(place);
        }
    }

    fn forget_seed(&mut self, seed: Option<SeedSocket>) {
        if let Some(place) = seed.as_ref().and_then(Listeners::place) {
            self.listeners.remove(place);
        }
    }

    fn put(&mut self, sk: u64, socket: Socket) {
        let oldest = self.sockets.put(sk, socket);
        self.forget(oldest);
    }

    fn acts(&mut self, socket: &mut Socket, process: ProcessKey) {
        if self.filter.asks_for_process() {
            let is_wanted = self.processes.wants(&self.filter, process);
            socket.learn_owner(process, is_wanted);
        }
    }

    /// A socket tells `record`: it passes with all that came before, waits, or is dropped.
    fn told(&mut self, socket: &mut Socket, record: &[u8], passed: &mut Passed) {
        match socket.is_wanted() {
            Some(true) => {
                socket.kept.extend_from_slice(record);
                self.release(socket, passed);
            }
            Some(false) => {
                (socket.seed, socket.carried) = (None, None);
                socket.kept = Vec::new();
            }
            None => socket.keep(record),
        }
    }

    /// A socket is wanted: all that was kept of it passes.
    fn release(&mut self, socket: &mut Socket, passed: &mut Passed) {
        if std::mem::take(&mut socket.is_child) {
            self.recount.child(socket.netns);
        }
        if let Some(carried) = socket.carried.take() {
            self.towards_of_socket(&carried, passed);
            passed.sockets.push(*carried);
        }
        if let Some(seed) = socket.seed.take() {
            seed.netns.into_iter().for_each(|it| self.towards(it, &seed.tuple, None, passed));
            passed.seeds.push(seed);
        }
        // It was decoded before it was kept.
        for event in decode::events(&socket.kept).flatten() {
            self.recount.count(&event);
        }
        passed.records.append(&mut socket.kept);
    }

    /// Follows where a socket listens that is left out.
    fn follow_listener(&mut self, socket: &mut Socket, lport: u16) {
        let left_out = socket.is_wanted() != Some(true)
            && socket.state == Listen
            && self.filter.wants_netns(socket.netns);
        match (left_out, socket.listens) {
            (true, None) if lport != 0 => {
                socket.listens = socket.netns.map(|netns| (netns, lport));
                socket.listens.into_iter().for_each(|place| self.listeners.add(place));
            }
            (false, Some(place)) => {
                socket.listens = None;
                self.listeners.remove(place);
            }
            _ => {}
        }
    }

    /// Remembers which sockets will leave a mini-socket that is wanted.
    fn follow_leaving(&mut self, sk: u64, socket: &Socket) {
        let Some(netns) = socket.netns.filter(|_| self.filter.asks_for_process()) else { return };
        let key = (netns, socket.tuple);
        if socket.is_wanted() == Some(true) && will_leave(socket.state) {
            if self.leaving.len() < self.limit {
                self.leaving.insert(key, sk);
            }
        } else if self.leaving.get(&key) == Some(&sk) {
            self.leaving.remove(&key);
        }
    }

    /// It is known now whether `process` is wanted.
    fn arrived(&mut self, process: ProcessKey, passed: &mut Passed) {
        for sk in self.sockets.awaiting(process) {
            let Some(mut socket) = self.sockets.remove(sk) else { continue };
            self.acts(&mut socket, process);
            if socket.is_wanted() == Some(true) {
                self.release(&mut socket, passed);
                self.follow_listener(&mut socket, 0);
                self.follow_leaving(sk, &socket);
            }
            self.put(sk, socket);
        }
    }

    fn search(&mut self, event: &SearchEvent, record: &[u8], passed: &mut Passed) {
        self.of_socket(event.sk, event.lport, Some(event), record, passed);
    }

    /// What tells of a socket by its address. A search whose socket is not known speaks for
    /// itself.
    fn of_socket(
        &mut self,
        sk: u64,
        lport: u16,
        search: Option<&SearchEvent>,
        record: &[u8],
        passed: &mut Passed,
    ) {
        let Some(mut socket) = self.sockets.remove(sk) else {
            if let Some(search) = search
                && self.wants_search(search)
            {
                self.pass(&Event::Search(*search), record, passed);
            }
            return;
        };
        socket.learn_lport(&self.filter, lport);
        if let Some(search) = search {
            self.acts(&mut socket, search.owner);
        }
        self.told(&mut socket, record, passed);
        self.follow_listener(&mut socket, lport);
        self.put(sk, socket);
    }

    fn wants_search(&mut self, event: &SearchEvent) -> bool {
        // A listen tells neither a remote end nor a family.
        if event.search != Search::Connect && self.filter.asks_for_more_than_a_port() {
            return false;
        }
        let SearchEvent { raddr, rport, lport, .. } = *event;
        let tuple = Tuple { laddr: [0; 16], raddr, lport, rport };
        self.filter.wants(Some(event.netns), &tuple) == Some(true)
            && self.wants_process(event.owner)
    }

    /// Whether a bind passes at once: it tells no remote end and no address family, which
    /// its socket may tell later.
    fn bind(&mut self, event: &SearchEvent, record: &[u8]) -> bool {
        let wanted = self.filter.wants_netns(Some(event.netns))
            && self.filter.wants_lport(event.lport) == Some(true)
            && self.wants_process(event.owner);
        if !wanted || !self.filter.asks_for_more_than_a_port() {
            return wanted;
        }
        if event.sk != 0 && event.error == 0 {
            let bind = KeptBind { lport: event.lport, record: record.to_vec() };
            self.binds.insert(event.sk, bind);
        }
        false
    }

    fn wants_process(&mut self, process: ProcessKey) -> bool {
        !self.filter.asks_for_process() || self.processes.wants(&self.filter, process) == Some(true)
    }

    /// Whether a socket is wanted that `holder` holds, if that is known.
    pub(super) fn wants_holder(&mut self, holder: Option<ProcessKey>) -> bool {
        !self.filter.asks_for_process() || holder.is_some_and(|holder| self.wants_process(holder))
    }

    fn birth(&mut self, mini: &MiniEvent) -> bool {
        let wanted = self.wants_mini(mini);
        if self.filter.asks_for_process() {
            let was_wanted = self.minis.remove(&mini.tw).is_some_and(|before| before.is_wanted);
            if (wanted || was_wanted) && self.minis.len() < self.limit {
                let alive = Alive { born_ns: mini.time_ns, is_wanted: wanted, was_wanted };
                self.minis.insert(mini.tw, alive);
            }
        } else {
            self.minis.remove(&mini.tw);
        }
        wanted
    }

    /// Whether a mini-socket is wanted that its socket is about to leave.
    fn wants_mini(&self, mini: &MiniEvent) -> bool {
        self.wants_ends(mini)
            && (!self.filter.asks_for_process()
                || self.leaving.contains_key(&(mini.netns, mini.tuple)))
    }

    fn wants_alive(&self, mini: &MiniEvent) -> bool {
        let is_wanted = |alive: &Alive| {
            if mini.time_ns < alive.born_ns { alive.was_wanted } else { alive.is_wanted }
        };
        let known = self.minis.get(&mini.tw).map(is_wanted);
        self.wants_ends(mini) && known.unwrap_or(!self.filter.asks_for_process())
    }

    fn end(&mut self, mini: &MiniEvent) -> bool {
        let wanted = self.wants_alive(mini);
        match self.minis.get_mut(&mini.tw) {
            Some(alive) if mini.time_ns < alive.born_ns => alive.was_wanted = false,
            _ => {
                self.minis.remove(&mini.tw);
            }
        }
        wanted
    }

    fn wants_ends(&self, mini: &MiniEvent) -> bool {
        self.filter.wants(Some(mini.netns), &mini.tuple) == Some(true)
    }
}

/// Whether a mini-socket may take the place of a socket in this state.
const fn will_leave(state: TcpState) -> bool {
    matches!(state, FinWait1 | FinWait2 | Closing)
}
