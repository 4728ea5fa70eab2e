//! Which destination runs out of ports, and when; who the clients are.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    forecast::{Outlook, TIME_WAIT_S},
    processes::Processes,
    snapshot::{self, Failures, Halves},
};
use crate::{
    event::Tuple,
    frame::PortFacts,
    tracker::ports::{
        Class, ClientKey, ConnectErrors, DestinationKey, Found, Namespace, Offer, Pace, Ports,
        Quadruplets, Second, Taken,
    },
};

/// How old a mini-socket has to be on kernels that have no setting for it: more than the
/// second in which its last segment came.
/// <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_ipv4.c#L163-L168>
const REUSE_DELAY_MS: u64 = 1_000;

/// Ports and clients at one moment.
pub(super) struct Moment<'a> {
    pub(super) ports: &'a Ports,
    /// Whether they are followed; otherwise they were looked at.
    pub(super) followed: bool,
    /// Whether others, who are left out, may take ports towards the same destinations.
    pub(super) shared: bool,
    pub(super) processes: &'a Processes,
    /// On the clock of records.
    pub(super) now_s: f64,
    pub(super) top: usize,
}

/// What connects towards a destination may take of its mini-sockets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reuse {
    /// The setting forbids it.
    Forbidden,
    /// Those with timestamps that are older than so many seconds.
    After(f64),
    /// The setting is not known.
    Unknown,
}

/// Mini-sockets by whether a connect may take their port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reusable {
    now: u64,
    forbidden: u64,
    no_timestamps: u64,
    too_young: u64,
    fin_wait2: u64,
    bound: u64,
}

/// A destination that may have a row.
#[derive(Clone, Copy)]
struct Row<'a> {
    key: DestinationKey,
    taken: &'a Taken,
    /// By which it is ranked.
    fullness: (f64, u64),
    reuse: Reuse,
    reusable: Reusable,
    pace: Pace,
}

impl Row<'_> {
    /// Whether there is anything to see of a destination now, or connects have failed.
    fn is_alive(&self) -> bool {
        self.taken.live().sum() + self.taken.waiting().sum() > 0
            || self.taken.errors() != ConnectErrors::default()
            || self.pace.opens > 0.0
    }
}

impl Moment<'_> {
    /// The `top` destinations by how full they are, and the sum of the rest; and what the `top`
    /// namespaces with most mini-sockets let connects take: both from one walk through all.
    pub(super) fn destinations(&self) -> (Vec<snapshot::Destination>, Vec<snapshot::TwReuse>) {
        let mut rows = Vec::new();
        let mut rest = Rest::default();
        let mut sums: BTreeMap<u32, Reusable> = BTreeMap::new();
        for (key, taken) in self.ports.destinations() {
            let Some(key) = key else {
                rest.add(taken);
                continue;
            };
            let row = self.row(key, taken);
            sums.entry(key.netns).or_default().add(row.reusable);
            if row.is_alive() { rows.push(row) } else { rest.add(taken) }
        }
        rows.sort_unstable_by(|a, b| {
            let ((a_ratio, a_used), (b_ratio, b_used)) = (a.fullness, b.fullness);
            b_ratio.total_cmp(&a_ratio).then(b_used.cmp(&a_used)).then_with(|| a.key.cmp(&b.key))
        });
        rows.iter().skip(self.top).for_each(|row| rest.add(row.taken));
        let bound = self.bound_ports();
        let shown = rows.iter().take(self.top).map(|row| self.destination(row, &bound));
        (shown.chain(rest.row()).collect(), self.tw_reuse(sums))
    }

    fn row<'a>(&self, key: DestinationKey, taken: &'a Taken) -> Row<'a> {
        let reuse = self.reuse(&key);
        let reusable = self.reusable(taken, reuse);
        let pace = taken.pace(self.now_s).unwrap_or_default();
        Row { key, taken, fullness: fullness(taken), reuse, reusable, pace }
    }

    /// How many ports processes have bound, by namespace.
    fn bound_ports(&self) -> BTreeMap<u32, u64> {
        let bound = |(netns, namespace): (u32, &Namespace)| {
            let offer = namespace.offer()?;
            Some((netns, namespace.bound(&offer)))
        };
        self.ports.namespaces().filter_map(bound).collect()
    }

    fn destination(&self, row: &Row<'_>, bound: &BTreeMap<u32, u64>) -> snapshot::Destination {
        let Row { key, taken, reuse, reusable, pace, .. } = *row;
        let offer = taken.offer();
        let elsewhere = bound.get(&key.netns).map(|bound| bound.saturating_sub(taken.bound()));
        // How soon they and others run out together cannot be told.
        let alone = offer.zip(elsewhere).filter(|_| !self.shared);
        let limits = alone.map(|(offer, elsewhere)| Limits { offer, elsewhere });
        let outlook = self.outlook(row);
        let exhausted_in_s = limits.and_then(|limits| outlook.reaches(limits.ports()));
        let has_run_out = taken.has_just_run_out(self.now_s);
        let ratio = |offer: Offer| taken.in_range() as f64 / offer.ports() as f64;
        snapshot::Destination {
            other: false,
            netns: Some(key.netns),
            laddr: Some(Tuple::shown(key.laddr)),
            raddr: Some(Tuple::shown(key.raddr)),
            rport: Some(key.rport),
            ports_used: taken.live().sum() + taken.waiting().sum(),
            ports_time_wait: taken.waiting().sum(),
            ports_available: offer.map(|offer| offer.ports()),
            ports_bound: elsewhere.filter(|_| offer.is_some()),
            ports_reusable: (reuse != Reuse::Unknown).then_some(reusable.now),
            used_ratio: offer.filter(|offer| offer.ports() > 0).map(ratio),
            range: offer.map(search_range),
            opens_per_s: self.followed.then_some(pace.opens),
            knee_in_s: limits.and_then(|limits| limits.knee_in_s(taken, &outlook)),
            exhausted_in_s: if has_run_out { Some(0.0) } else { exhausted_in_s },
            connect_errors: failures(taken.errors()),
            found: halves(taken.found()),
            reused: taken.reused(),
            pid: taken.last_owner().map(|owner| owner.tgid),
            comm: taken.last_owner().and_then(|owner| self.processes.comm(Some(owner))),
        }
    }

    fn reuse(&self, key: &DestinationKey) -> Reuse {
        let namespace = self.ports.namespace(key.netns);
        namespace.map_or(Reuse::Unknown, |namespace| reuse(namespace.facts(), key))
    }

    fn reusable(&self, taken: &Taken, reuse: Reuse) -> Reusable {
        let mut sums = Reusable::default();
        for second in taken.seconds() {
            match reuse {
                Reuse::Forbidden | Reuse::Unknown => sums.forbidden += u64::from(second.waiting()),
                Reuse::After(delay_s) => sums.count(second, self.now_s - born_s(second) >= delay_s),
            }
        }
        sums
    }

    fn outlook(&self, row: &Row<'_>) -> Outlook {
        let Row { taken, reuse, reusable, pace, .. } = *row;
        let delay_s = match reuse {
            Reuse::After(delay_s) => delay_s,
            Reuse::Forbidden | Reuse::Unknown => TIME_WAIT_S,
        };
        let mut due = Vec::new();
        let (mut all, mut all_ready) = (0.0, 0.0);
        for second in taken.seconds().filter(|second| second.waiting() > 0) {
            let ready = f64::from(second.of(Class::Ready));
            let never = f64::from(second.waiting()) - ready;
            let age_s = self.now_s - born_s(second);
            due.extend((never > 0.0).then_some((TIME_WAIT_S - age_s, never)));
            // Those that are old enough block nothing any more.
            let blocks = age_s < delay_s || !matches!(reuse, Reuse::After(_));
            due.extend((blocks && ready > 0.0).then_some((delay_s - age_s, ready)));
            all += never + ready;
            all_ready += ready;
        }
        let part = if all > 0.0 { all_ready / all } else { 1.0 };
        Outlook {
            blocked: taken.in_range().saturating_sub(reusable.now) as f64,
            pace,
            due,
            lives: vec![(delay_s, part), (TIME_WAIT_S, 1.0 - part)],
        }
    }

    /// The `top` clients by quadruplets in use, and the sum of the rest.
    pub(super) fn clients(&self) -> Vec<snapshot::Client> {
        let mut rows: Vec<(ClientKey, Quadruplets)> = Vec::new();
        let mut rest = Quadruplets::default();
        for (key, quadruplets) in self.ports.clients() {
            match key {
                Some(key) => rows.push((key, *quadruplets)),
                None => merge(&mut rest, *quadruplets),
            }
        }
        rows.retain(|(_, quadruplets)| used(quadruplets) > 0);
        rows.sort_unstable_by_key(|(key, quadruplets)| (Reverse(used(quadruplets)), *key));
        rows.iter().skip(self.top).for_each(|(_, quadruplets)| merge(&mut rest, *quadruplets));
        let shown = rows.iter().take(self.top).map(|(key, quadruplets)| client(key, *quadruplets));
        let other = (used(&rest) > 0).then(|| snapshot::Client { other: true, ..counted(rest) });
        shown.chain(other).collect()
    }

    fn tw_reuse(&self, sums: BTreeMap<u32, Reusable>) -> Vec<snapshot::TwReuse> {
        let mut rows: Vec<_> = sums.into_iter().filter(|(_, sums)| sums.all() > 0).collect();
        rows.sort_by_key(|(netns, sums)| (Reverse(sums.all()), *netns));
        let row = |(netns, sums): (u32, Reusable)| {
            let facts = self.ports.namespace(netns)?.facts();
            Some(tw_reuse(facts, sums))
        };
        rows.into_iter().filter_map(row).take(self.top).collect()
    }
}

/// How many ports there are until something changes.
#[derive(Clone, Copy)]
struct Limits {
    offer: Offer,
    /// Ports that are bound and not taken towards this destination: the search passes
    /// over them.
    elsewhere: u64,
}

impl Limits {
    fn ports(self) -> f64 {
        self.offer.ports().saturating_sub(self.elsewhere) as f64
    }

    /// Until the first half is taken; how many of the other half are, too, then is taken
    /// for what it is now.
    fn knee_in_s(self, taken: &Taken, outlook: &Outlook) -> Option<f64> {
        if !self.offer.has_halves() {
            return None;
        }
        let in_range = taken.in_range() as f64;
        // Ports that may be reused count for none, whichever half they lie in.
        let blocking = if in_range > 0.0 { outlook.blocked / in_range } else { 1.0 };
        let in_second = (in_range - taken.in_first_half() as f64) * blocking;
        let half_of_bound = self.elsewhere as f64 / 2.0;
        outlook.reaches((self.offer.low as f64 - half_of_bound).max(0.0) + in_second)
    }
}

impl Reusable {
    /// Where connects may take those that are old enough, as these are if `is_old`.
    fn count(&mut self, second: &Second, is_old: bool) {
        let of = |class| u64::from(second.of(class));
        *(if is_old { &mut self.now } else { &mut self.too_young }) += of(Class::Ready);
        self.no_timestamps += of(Class::NoTimestamps);
        self.fin_wait2 += of(Class::FinWait2);
        self.bound += of(Class::Bound);
    }

    fn all(&self) -> u64 {
        self.now
            + self.forbidden
            + self.no_timestamps
            + self.too_young
            + self.fin_wait2
            + self.bound
    }

    fn add(&mut self, other: Self) {
        self.now += other.now;
        self.forbidden += other.forbidden;
        self.no_timestamps += other.no_timestamps;
        self.too_young += other.too_young;
        self.fin_wait2 += other.fin_wait2;
        self.bound += other.bound;
    }
}

/// The sum of destinations that have no row.
#[derive(Default)]
struct Rest {
    used: u64,
    waiting: u64,
    errors: ConnectErrors,
    found: Found,
    reused: u64,
    any: bool,
}

impl Rest {
    fn add(&mut self, taken: &Taken) {
        let used = taken.live().sum() + taken.waiting().sum();
        self.used += used;
        self.waiting += taken.waiting().sum();
        self.errors.merge(taken.errors());
        self.found.merge(taken.found());
        self.reused += taken.reused();
        self.any |= used > 0 || taken.errors() != ConnectErrors::default();
    }

    fn row(self) -> Option<snapshot::Destination> {
        self.any.then(|| snapshot::Destination {
            other: true,
            ports_used: self.used,
            ports_time_wait: self.waiting,
            connect_errors: failures(self.errors),
            found: halves(self.found),
            reused: self.reused,
            ..snapshot::Destination::default()
        })
    }
}

/// How full a destination is, and by how many ports. One without a port to give is full; how
/// full one is that is not known comes last.
fn fullness(taken: &Taken) -> (f64, u64) {
    let ratio = match taken.offer().map(|offer| offer.ports()) {
        None => -1.0,
        Some(0) => f64::INFINITY,
        Some(ports) => taken.in_range() as f64 / ports as f64,
    };
    (ratio, taken.live().sum() + taken.waiting().sum())
}

/// The middle of a second in which mini-sockets were born.
fn born_s(second: &Second) -> f64 {
    f64::from(second.at_s) + 0.5
}

/// [`tcp_twsk_unique`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_ipv4.c#L113-L200).
fn reuse(facts: &PortFacts, key: &DestinationKey) -> Reuse {
    let loopback = is_loopback(key.laddr) || is_loopback(key.raddr);
    match facts.tw_reuse {
        None => Reuse::Unknown,
        Some(1) => Reuse::After(delay_s(facts)),
        Some(2) if loopback => Reuse::After(delay_s(facts)),
        Some(_) => Reuse::Forbidden,
    }
}

fn delay_s(facts: &PortFacts) -> f64 {
    facts.tw_reuse_delay_ms.unwrap_or(REUSE_DELAY_MS) as f64 / 1e3
}

/// 127/8 and ::1.
fn is_loopback(address: [u8; 16]) -> bool {
    std::net::Ipv6Addr::from_octets(address).to_canonical().is_loopback()
}

fn search_range(offer: Offer) -> snapshot::SearchRange {
    let Offer { range, own, step, .. } = offer;
    snapshot::SearchRange { low: range.low, high: range.high, own, step }
}

fn failures(errors: ConnectErrors) -> Failures {
    let ConnectErrors { no_port, refused, timed_out, other } = errors;
    let named = [
        ("EADDRNOTAVAIL", no_port),
        ("ECONNREFUSED", refused),
        ("ETIMEDOUT", timed_out),
        ("other", other),
    ];
    named.into_iter().filter(|(name, count)| *count > 0 || *name == "EADDRNOTAVAIL").collect()
}

pub(super) fn halves(found: Found) -> Halves {
    Halves { first_half: found.first, second_half: found.second, unknown: found.unknown }
}

fn used(quadruplets: &Quadruplets) -> u64 {
    quadruplets.live + quadruplets.waiting
}

fn merge(sum: &mut Quadruplets, other: Quadruplets) {
    sum.live += other.live;
    sum.waiting += other.waiting;
}

fn client(key: &ClientKey, quadruplets: Quadruplets) -> snapshot::Client {
    snapshot::Client {
        netns: Some(key.netns),
        laddr: Some(Tuple::shown(key.laddr)),
        lport: Some(key.lport),
        raddr: Some(Tuple::shown(key.raddr)),
        ..counted(quadruplets)
    }
}

fn counted(quadruplets: Quadruplets) -> snapshot::Client {
    snapshot::Client {
        quadruplets_used: used(&quadruplets),
        time_wait: quadruplets.waiting,
        ..snapshot::Client::default()
    }
}

fn tw_reuse(facts: &PortFacts, sums: Reusable) -> snapshot::TwReuse {
    let known = facts.tw_reuse.is_some();
    let told = |count| known.then_some(count);
    snapshot::TwReuse {
        netns: facts.netns,
        setting: facts.tw_reuse,
        delay_ms: known.then(|| facts.tw_reuse_delay_ms.unwrap_or(REUSE_DELAY_MS)),
        reusable: told(sums.now),
        refused: snapshot::ReuseRefusals {
            setting: told(sums.forbidden),
            no_timestamps: told(sums.no_timestamps),
            too_young: told(sums.too_young),
            fin_wait2: told(sums.fin_wait2),
            bound: told(sums.bound),
        },
    }
}
