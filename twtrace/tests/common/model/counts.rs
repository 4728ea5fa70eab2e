//! What many lives add up to, and what a Snapshot says of the same.

use std::collections::BTreeMap;

use twtrace::{event::Tuple, stats::snapshot::Snapshot};
use twtrace_common::{End, TcpState};

use super::{
    life::{Act, Birth, Life, Meaning},
    world::{Happening, History},
};
use crate::common::kernel::NETNS;

/// A row of closers: process, namespace, role.
type Who = (Option<u32>, u32, &'static str);
/// A destination: namespace, address, port.
type Where = (u32, String, u16);

/// What a closer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Did {
    active: u64,
    peer: u64,
    resets: u64,
    time_wait: u64,
    port_us: u64,
    /// Where refusals are seen.
    refused: u64,
}

/// Everything that is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// ok, refused, timed out, no port, other.
    pub(crate) connects: [u64; 5],
    /// active, passive, simultaneous, reset by us, reset by the peer.
    pub(crate) closes: [u64; 5],
    pub(crate) seeded: u64,
    pub(crate) born: u64,
    pub(crate) now: u64,
    /// By the order of [`End::ALL`].
    pub(crate) ended: [u64; 10],
    /// Born in FIN_WAIT2, and of those still in it.
    pub(crate) fin_wait2: [u64; 2],
    pub(crate) closers: BTreeMap<Who, Did>,
    /// Ports taken, and of these by mini-sockets.
    pub(crate) destinations: BTreeMap<Where, [u64; 2]>,
    pub(crate) states: BTreeMap<&'static str, u64>,
}

/// Adds up.
pub(crate) fn count(history: &History, now_ns: u64) -> Counts {
    let mut counts = Counts::default();
    history.before.iter().for_each(|(life, netns, tuple)| counts.begin(life, *netns, tuple));
    history.happenings.iter().for_each(|happening| counts.take(happening, now_ns));
    counts.without_zeros()
}

impl Counts {
    fn begin(&mut self, life: &Life, netns: u32, tuple: &Tuple) {
        let ports = self.destinations.entry(place(netns, tuple)).or_default();
        ports[0] += 1;
        if life.birth == Birth::MiniFromBefore {
            ports[1] += 1;
            self.seeded += 1;
            self.now += 1;
        } else {
            *self.states.entry(name(TcpState::Established)).or_default() += 1;
        }
    }

    fn take(&mut self, it: &Happening, now_ns: u64) {
        if let Act::Transition(change) = it.step.act {
            self.moves(it, change.old, change.new);
        }
        let Some(meaning) = it.step.means else { return };
        let closer = (Some(it.life.closer), it.netns, it.life.role());
        let ports = it.life.goes_out().then(|| place(it.netns, &it.tuple));
        match meaning {
            Meaning::ConnectOk => self.connects[0] += 1,
            Meaning::ConnectRefused => self.connects[1] += 1,
            Meaning::ConnectTimedOut => self.connects[2] += 1,
            Meaning::ConnectNoPort => self.connects[3] += 1,
            Meaning::ConnectOther => self.connects[4] += 1,
            Meaning::Active => {
                self.closes[0] += 1;
                self.did(closer).active += 1;
            }
            Meaning::Passive => self.closes[1] += 1,
            Meaning::Simultaneous => {
                self.closes[0] -= 1;
                self.closes[2] += 1;
                self.did(closer).active -= 1;
            }
            Meaning::PeerClose => self.did(closer).peer += 1,
            Meaning::ResetLocal => {
                self.closes[3] += 1;
                self.did(closer).resets += 1;
            }
            Meaning::ResetRemote => self.closes[4] += 1,
            Meaning::TakesPort => self.port(ports.as_ref(), 1, 0),
            Meaning::Born(substate) => {
                self.born += 1;
                self.now += 1;
                if substate == TcpState::FinWait2 {
                    self.fin_wait2[0] += 1;
                    self.fin_wait2[1] += 1;
                }
                let did = self.did(closer);
                did.time_wait += 1;
                did.port_us += (now_ns - it.time_ns) / 1_000;
                self.port(ports.as_ref(), 0, 1);
            }
            Meaning::Stepped => self.fin_wait2[1] -= 1,
            Meaning::Ended(end) => self.ends(it, end, closer, ports.as_ref(), now_ns),
            Meaning::Refused => self.did(closer).refused += 1,
        }
    }

    fn ends(&mut self, it: &Happening, end: End, closer: Who, ports: Option<&Where>, now_ns: u64) {
        self.now -= 1;
        self.ended[end as usize] += 1;
        if let Act::End(TcpState::FinWait2, _) = it.step.act {
            self.fin_wait2[1] -= 1;
        }
        self.port(ports, -1, -1);
        if it.born_ns.is_some() {
            let did = self.did(closer);
            did.time_wait -= 1;
            did.port_us -= (now_ns - it.time_ns) / 1_000;
        }
    }

    /// Sockets that listen, or have no port, are in no destination.
    fn moves(&mut self, it: &Happening, old: TcpState, new: TcpState) {
        // A listener's child is met when it is connected.
        let is_child = it.life.is_server() && [old, new].contains(&TcpState::SynRecv);
        if old != TcpState::Close && !is_child {
            *self.states.entry(name(old)).or_default() -= 1;
        }
        if new != TcpState::Close && new != TcpState::SynRecv
            || (new == TcpState::SynRecv && !is_child)
        {
            *self.states.entry(name(new)).or_default() += 1;
        }
        let leaves_mini = it.born_ns.is_some();
        if new == TcpState::Close
            && it.life.goes_out()
            && it.life.birth != Birth::Listener
            && !leaves_mini
        {
            self.port(Some(&place(it.netns, &it.tuple)), -1, 0);
        }
    }

    fn did(&mut self, who: Who) -> &mut Did {
        self.closers.entry(who).or_default()
    }

    fn port(&mut self, place: Option<&Where>, all: i64, minis: i64) {
        let Some(place) = place else { return };
        let ports = self.destinations.entry(place.clone()).or_default();
        ports[0] = ports[0].strict_add_signed(all);
        ports[1] = ports[1].strict_add_signed(minis);
    }

    fn without_zeros(mut self) -> Self {
        self.closers.retain(|_, did| *did != Did::default());
        self.destinations.retain(|_, ports| *ports != [0; 2]);
        self.states.retain(|_, count| *count != 0);
        self
    }

    /// What `snapshot` says.
    pub(crate) fn shown(snapshot: &Snapshot) -> Self {
        let known = |number: Option<u64>| number.expect("it is known");
        let connects = snapshot.connects.as_ref().expect("something was traced");
        let closes = snapshot.closes.as_ref().expect("something was traced");
        let time_wait = snapshot.time_wait.as_ref().expect("mini-sockets were followed");
        let fin_wait2 = snapshot.fin_wait2.as_ref().expect("mini-sockets were followed");
        let counts = Self {
            connects: [
                connects.ok,
                known(connects.refused),
                known(connects.timed_out),
                known(connects.no_port),
                known(connects.other),
            ],
            closes: [
                closes.active,
                closes.passive,
                closes.simultaneous,
                known(closes.reset_local),
                known(closes.reset_remote),
            ],
            seeded: known(time_wait.seeded),
            born: known(time_wait.born),
            now: known(time_wait.now),
            ended: ended(snapshot),
            fin_wait2: [known(fin_wait2.born), fin_wait2.now.unwrap_or(0)],
            closers: closers(snapshot),
            destinations: destinations(snapshot),
            states: snapshot
                .states
                .iter()
                .filter(|(state, _)| **state != name(TcpState::TimeWait))
                .map(|(state, count)| (*state, count.unwrap_or(0)))
                .collect(),
        };
        counts.without_zeros()
    }

    /// Active closes, and the answers to the peer's, by process alone.
    pub(crate) fn by_process(&self) -> BTreeMap<u32, [u64; 2]> {
        let mut sums = BTreeMap::<u32, [u64; 2]>::new();
        for ((pid, ..), did) in &self.closers {
            let sum = sums.entry(pid.expect("it is known")).or_default();
            sum[0] += did.active;
            sum[1] += did.peer;
        }
        sums.retain(|_, sum| *sum != [0; 2]);
        sums
    }

    /// As a tier sees it that cannot see the peer's FIN, nor what the kernel refuses.
    pub(crate) fn without_steps(mut self) -> Self {
        self.fin_wait2[1] = 0;
        self.closers.values_mut().for_each(|did| did.refused = 0);
        self.without_zeros()
    }
}

/// As [`Counts::by_process`], of a Snapshot without namespaces.
pub(crate) fn closes_by_process(snapshot: &Snapshot) -> BTreeMap<u32, [u64; 2]> {
    let mut sums = BTreeMap::<u32, [u64; 2]>::new();
    for row in snapshot.closers.iter().flatten() {
        let sum = sums.entry(row.pid.expect("it is known")).or_default();
        sum[0] += row.active_closes;
        sum[1] += row.peer_closes;
    }
    sums.retain(|_, sum| *sum != [0; 2]);
    sums
}

/// How many ended, by the order of [`End::ALL`].
pub(crate) fn ended(snapshot: &Snapshot) -> [u64; 10] {
    let ended = &snapshot.time_wait.as_ref().expect("mini-sockets were followed").ended;
    let bound = ended.reused_bound.unwrap_or(0);
    let reused = ended.reused.map(|reused| reused.saturating_sub(bound));
    [
        ended.expired,
        ended.fin_wait2_timeout,
        reused,
        Some(bound),
        ended.replaced,
        ended.reset,
        ended.rejected,
        ended.aborted,
        ended.purged,
        ended.other,
    ]
    .map(|count| count.unwrap_or(0))
}

fn closers(snapshot: &Snapshot) -> BTreeMap<Who, Did> {
    let rows = snapshot.closers.iter().flatten().map(|row| {
        assert!(!row.other, "each has a row");
        let who = (row.pid, row.netns.expect("it is known"), row.role.expect("it is known"));
        let did = Did {
            active: row.active_closes,
            peer: row.peer_closes,
            resets: row.resets.unwrap_or(0),
            time_wait: row.time_wait_now.unwrap_or(0),
            port_us: (row.port_seconds.unwrap_or(0.0) * 1e6).round() as u64,
            refused: row.refused.unwrap_or(0),
        };
        (who, did)
    });
    rows.collect()
}

fn destinations(snapshot: &Snapshot) -> BTreeMap<Where, [u64; 2]> {
    let rows = snapshot.destinations.iter().flatten().map(|row| {
        let raddr = row.raddr.clone().expect("each has a row");
        let place = (row.netns.expect("it is known"), raddr, row.rport.expect("it is known"));
        (place, [row.ports_used, row.ports_time_wait])
    });
    rows.collect()
}

fn place(netns: u32, tuple: &Tuple) -> Where {
    assert!(netns >= NETNS, "{netns}");
    (netns, Tuple::shown(tuple.raddr), tuple.rport)
}

/// As the Snapshot names it.
fn name(state: TcpState) -> &'static str {
    state.name()
}
