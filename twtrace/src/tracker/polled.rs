//! Timewait mini-sockets where nothing is traced: each look of sock_diag at all
//! of them is compared with the look before.
//!
//! What both looks show lives. What only the later one shows was born between
//! them; what only the earlier one shows has ended, by its timer if that can
//! have fired by then, else by something that nobody saw. A mini-socket that
//! lived between two looks is seen by neither.
//!
//! No bound is needed: the kernel's own (`tcp_max_tw_buckets`) holds, and a
//! look as a frame has this size already.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use foldhash::fast::FixedState;
use twtrace_common::TcpState;

use crate::frame::{Polled, PolledMini};

/// What is left of a timer is told in whole jiffies, of up to 10 ms (HZ=100),
/// and the first of them may be almost over:
/// [`inet_twsk_diag_fill`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_diag.c).
const LONGEST_JIFFY_NS: u64 = 10_000_000;

/// What happened to the mini-sockets of one namespace between two looks, as far
/// as these show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolledChanges {
    /// There when the namespace was looked at for the first time, and perhaps
    /// before counting began.
    pub seeded: u64,
    /// Seen for the first time.
    pub born: u64,
    /// Of these, in substate FIN_WAIT2.
    pub born_fin_wait2: u64,
    /// Of those born since counting began, in FIN_WAIT2 before and in TIME_WAIT now.
    pub to_time_wait: u64,
    /// Gone from TIME_WAIT when its timer can have fired.
    pub expired: u64,
    /// Gone from FIN_WAIT2 when its timer can have fired.
    pub fin_wait2_timeout: u64,
    /// Gone before its timer was due, or with its namespace.
    pub unseen: u64,
}

/// A mini-socket that the last look at its namespace showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolledAlive {
    /// When its timer is due, at the earliest, on the clock of records.
    pub due_ns: u64,
    /// FIN_WAIT2 or TIME_WAIT, then.
    pub substate: TcpState,
    /// Whether it was born since counting began.
    born: bool,
    /// Whether the look under way has shown it.
    seen: bool,
}

/// The mini-sockets of a host by the last look. See the module's documentation.
#[derive(Debug, Default)]
pub struct PolledMinis {
    namespaces: HashMap<u32, Namespace, FixedState>,
    /// Namespaces that were there already when they could not be looked at:
    /// what they hold was not born since.
    waiting: HashSet<u32, FixedState>,
    /// Whether any look came before.
    begun: bool,
}

#[derive(Debug, Default)]
struct Namespace {
    /// By cookie: the kernel gives none twice, and a mini-socket keeps its own
    /// from FIN_WAIT2 to TIME_WAIT
    /// ([`__sock_gen_cookie`](https://github.com/torvalds/linux/blob/v6.12/net/core/sock_diag.c)).
    minis: HashMap<u64, PolledAlive, FixedState>,
    /// Whether the last look was at this namespace too.
    looked_at: bool,
    /// Whether the look under way is the first.
    seeding: bool,
    /// By the look under way.
    changes: PolledChanges,
}

impl PolledMinis {
    /// Compares `look` with the one before: what changed in each namespace that
    /// either of them was at. One that is there but could not be looked at
    /// stays as it was, until it can be or is gone.
    pub(super) fn compare(&mut self, look: &Polled) -> Vec<(u32, PolledChanges)> {
        self.enter(&look.looked_at);
        for mini in &look.minis {
            if let Some(namespace) = self.namespaces.get_mut(&mini.netns)
                && namespace.looked_at
            {
                namespace.see(mini, look.time_ns);
            }
        }
        let changes = self.leave(look);
        let unknown = look.failed.iter().filter(|netns| !self.namespaces.contains_key(netns));
        self.waiting = unknown.copied().collect();
        self.begun = true;
        changes
    }

    /// How many are alive in one namespace; `None` if the last look was not at it.
    pub fn alive_in(&self, netns: u32) -> Option<u64> {
        self.namespaces.get(&netns).filter(|namespace| namespace.looked_at).map(Namespace::len)
    }

    /// Those alive in the namespaces that the last look was at.
    pub fn alive(&self) -> impl Iterator<Item = &PolledAlive> {
        let looked_at = self.namespaces.values().filter(|namespace| namespace.looked_at);
        looked_at.flat_map(|namespace| namespace.minis.values())
    }

    /// Begins a look at the namespaces `looked_at`.
    fn enter(&mut self, looked_at: &[u32]) {
        for namespace in self.namespaces.values_mut() {
            namespace.looked_at = false;
        }
        for netns in looked_at {
            let there_before = !self.begun || self.waiting.contains(netns);
            let namespace = self
                .namespaces
                .entry(*netns)
                .or_insert_with(|| Namespace { seeding: there_before, ..Namespace::default() });
            namespace.looked_at = true;
        }
    }

    /// Ends a look: what it did not show is gone.
    fn leave(&mut self, look: &Polled) -> Vec<(u32, PolledChanges)> {
        let mut changes = Vec::with_capacity(self.namespaces.len());
        self.namespaces.retain(|netns, namespace| {
            if namespace.looked_at {
                changes.push((*netns, namespace.compared(look.until_ns)));
                return true;
            }
            let stays = look.failed.contains(netns);
            if !stays {
                let unseen = namespace.len();
                changes.push((*netns, PolledChanges { unseen, ..PolledChanges::default() }));
            }
            stays
        });
        changes
    }
}

impl Namespace {
    fn len(&self) -> u64 {
        self.minis.len() as u64
    }

    /// A look that began at `time_ns` shows `mini`.
    fn see(&mut self, mini: &PolledMini, time_ns: u64) {
        let &PolledMini { cookie, substate, expires_ms, .. } = mini;
        let due_ns = time_ns.saturating_add(u64::from(expires_ms) * 1_000_000);
        let changes = &mut self.changes;
        match self.minis.entry(cookie) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                let step = (known.substate, substate) == (TcpState::FinWait2, TcpState::TimeWait);
                changes.to_time_wait += u64::from(step && known.born);
                *known = PolledAlive { due_ns, substate, seen: true, ..*known };
            }
            Entry::Vacant(unknown) => {
                let born = !self.seeding;
                changes.seeded += u64::from(self.seeding);
                changes.born += u64::from(born);
                changes.born_fin_wait2 += u64::from(born && substate == TcpState::FinWait2);
                unknown.insert(PolledAlive { due_ns, substate, born, seen: true });
            }
        }
    }

    /// Forgets those that a look which was over at `until_ns` did not show;
    /// returns what it showed to have changed.
    fn compared(&mut self, until_ns: u64) -> PolledChanges {
        let mut changes = std::mem::take(&mut self.changes);
        self.minis.retain(|_, mini| {
            let seen = std::mem::take(&mut mini.seen);
            if !seen {
                changes.ended(mini, until_ns);
            }
            seen
        });
        self.seeding = false;
        changes
    }
}

impl PolledChanges {
    /// `mini` was gone at `until_ns`. A timer fires when it is due or later, up
    /// to a bucket of the
    /// [timer wheel](https://github.com/torvalds/linux/blob/v6.12/kernel/time/timer.c):
    /// whatever ended one in that time counts as its timer.
    fn ended(&mut self, mini: &PolledAlive, until_ns: u64) {
        let due = mini.due_ns <= until_ns.saturating_add(LONGEST_JIFFY_NS);
        match mini.substate {
            _ if !due => self.unseen += 1,
            TcpState::FinWait2 => self.fin_wait2_timeout += 1,
            _ => self.expired += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use twtrace_common::TcpState::{FinWait2, TimeWait};

    use super::*;
    use crate::event::Tuple;

    const NETNS: u32 = 4_026_531_840;
    const OTHER: u32 = 4_026_532_000;

    fn ns(seconds: f64) -> u64 {
        u64::try_from(Duration::from_secs_f64(seconds).as_nanos()).unwrap()
    }

    fn mini(netns: u32, cookie: u64, substate: TcpState, expires_ms: u32) -> PolledMini {
        let tuple = Tuple { laddr: [0; 16], raddr: [0; 16], lport: 1, rport: 80 };
        PolledMini { netns, cookie, substate, expires_ms, tuple }
    }

    /// A look of 1 ms at the namespaces `looked_at`.
    fn look_at(looked_at: &[u32], at_s: f64, minis: &[PolledMini]) -> Polled {
        Polled {
            time_ns: ns(at_s),
            until_ns: ns(at_s + 0.001),
            minis: minis.to_vec(),
            looked_at: looked_at.to_vec(),
            complete: true,
            ..Polled::default()
        }
    }

    fn look(at_s: f64, minis: &[PolledMini]) -> Polled {
        look_at(&[NETNS], at_s, minis)
    }

    /// What `minis` says changed in [`NETNS`].
    fn changes(minis: &mut PolledMinis, look: &Polled) -> PolledChanges {
        let changes = minis.compare(look);
        let of_netns = changes.iter().find(|(netns, _)| *netns == NETNS);
        of_netns.map(|(_, changes)| *changes).unwrap_or_default()
    }

    #[test]
    fn the_first_look_seeds_and_the_next_shows_births() {
        let mut minis = PolledMinis::default();
        let (old, new) = (mini(NETNS, 1, TimeWait, 50_000), mini(NETNS, 2, FinWait2, 2_000));
        let seeded = changes(&mut minis, &look(1.0, &[old]));
        assert_eq!(seeded, PolledChanges { seeded: 1, ..PolledChanges::default() });
        let born = changes(&mut minis, &look(2.0, &[new, old]));
        let expected = PolledChanges { born: 1, born_fin_wait2: 1, ..PolledChanges::default() };
        assert_eq!(born, expected);
        assert_eq!(minis.alive_in(NETNS), Some(2));
        let quiet = changes(&mut minis, &look(3.0, &[old, new]));
        assert_eq!(quiet, PolledChanges::default());
    }

    #[test]
    fn what_was_due_has_expired_by_its_last_substate() {
        let mut minis = PolledMinis::default();
        let due = [mini(NETNS, 1, TimeWait, 20), mini(NETNS, 2, FinWait2, 999)];
        minis.compare(&look(1.0, &due));
        let ended = changes(&mut minis, &look(2.0, &[]));
        let expected =
            PolledChanges { expired: 1, fin_wait2_timeout: 1, ..PolledChanges::default() };
        assert_eq!(ended, expected);
        assert_eq!(minis.alive().count(), 0);
    }

    #[test]
    fn what_was_not_due_ended_unseen() {
        let mut minis = PolledMinis::default();
        let early = [mini(NETNS, 1, TimeWait, 1_100), mini(NETNS, 2, FinWait2, 1_100)];
        minis.compare(&look(1.0, &early));
        let ended = changes(&mut minis, &look(2.0, &[]));
        assert_eq!(ended, PolledChanges { unseen: 2, ..PolledChanges::default() });
    }

    #[test]
    fn a_jiffy_and_the_time_a_look_takes_are_no_early_end() {
        let mut minis = PolledMinis::default();
        // The look is over after 1 ms, and a jiffy is up to 10.
        let edge = [mini(NETNS, 1, TimeWait, 1_011), mini(NETNS, 2, TimeWait, 1_012)];
        minis.compare(&look(1.0, &edge));
        let ended = changes(&mut minis, &look(2.0, &[]));
        assert_eq!(ended, PolledChanges { expired: 1, unseen: 1, ..PolledChanges::default() });
    }

    #[test]
    fn one_that_is_overdue_lives_until_it_is_gone() {
        let mut minis = PolledMinis::default();
        minis.compare(&look(1.0, &[mini(NETNS, 1, TimeWait, 500)]));
        let overdue = changes(&mut minis, &look(2.0, &[mini(NETNS, 1, TimeWait, 0)]));
        assert_eq!(overdue, PolledChanges::default());
        assert_eq!(changes(&mut minis, &look(3.0, &[])).expired, 1);
    }

    #[test]
    fn a_late_fin_is_a_step_and_no_birth() {
        let mut minis = PolledMinis::default();
        minis.compare(&look(1.0, &[mini(NETNS, 1, FinWait2, 5_000)]));
        minis.compare(&look(
            2.0,
            &[mini(NETNS, 1, FinWait2, 4_000), mini(NETNS, 2, FinWait2, 5_000)],
        ));
        let both = [mini(NETNS, 1, TimeWait, 60_000), mini(NETNS, 2, TimeWait, 60_000)];
        let stepped = changes(&mut minis, &look(3.0, &both));
        // The seeded one is in no cumulative count.
        assert_eq!(stepped, PolledChanges { to_time_wait: 1, ..PolledChanges::default() });
        // Due by its first timer, not by its second.
        assert_eq!(changes(&mut minis, &look(8.0, &both[..1])).unseen, 1);
        assert_eq!(changes(&mut minis, &look(70.0, &[])).expired, 1);
    }

    #[test]
    fn one_that_comes_twice_counts_once() {
        let mut minis = PolledMinis::default();
        minis.compare(&look(1.0, &[]));
        let twice = [mini(NETNS, 1, TimeWait, 5_000), mini(NETNS, 1, TimeWait, 5_000)];
        assert_eq!(changes(&mut minis, &look(2.0, &twice)).born, 1);
        assert_eq!(minis.alive_in(NETNS), Some(1));
        // The same cookie elsewhere is another one.
        let elsewhere = [twice[0], mini(OTHER, 1, TimeWait, 5_000)];
        minis.compare(&look_at(&[NETNS, OTHER], 3.0, &elsewhere));
        assert_eq!((minis.alive_in(NETNS), minis.alive_in(OTHER)), (Some(1), Some(1)));
    }

    #[test]
    fn the_end_of_a_namespace_is_no_expiry() {
        let mut minis = PolledMinis::default();
        minis.compare(&look_at(&[NETNS, OTHER], 1.0, &[mini(NETNS, 1, TimeWait, 20)]));
        let gone = changes(&mut minis, &look_at(&[OTHER], 2.0, &[]));
        assert_eq!(gone, PolledChanges { unseen: 1, ..PolledChanges::default() });
        assert_eq!(minis.alive_in(NETNS), None);
        // The kernel gives the inode to the next namespace: all in it is new.
        let next = changes(&mut minis, &look(3.0, &[mini(NETNS, 2, TimeWait, 60_000)]));
        assert_eq!(next, PolledChanges { born: 1, ..PolledChanges::default() });
    }

    #[test]
    fn a_namespace_that_cannot_be_looked_at_stays_as_it_was() {
        let mut minis = PolledMinis::default();
        let (due, lasting) = (mini(NETNS, 1, TimeWait, 1_500), mini(NETNS, 2, TimeWait, 9_000));
        minis.compare(&look_at(&[NETNS, OTHER], 1.0, &[due, lasting]));
        let failed = Polled { failed: vec![NETNS], ..look_at(&[OTHER], 2.0, &[]) };
        assert_eq!(changes(&mut minis, &failed), PolledChanges::default());
        assert_eq!((minis.alive_in(NETNS), minis.alive().count()), (None, 0));
        let back = changes(&mut minis, &look(3.0, &[lasting]));
        assert_eq!(back, PolledChanges { expired: 1, ..PolledChanges::default() });
    }

    #[test]
    fn what_a_namespace_held_before_its_first_look_is_seeded() {
        let mut minis = PolledMinis::default();
        minis.compare(&Polled { failed: vec![NETNS], ..look_at(&[OTHER], 1.0, &[]) });
        let first = changes(&mut minis, &look(2.0, &[mini(NETNS, 1, TimeWait, 9_000)]));
        assert_eq!(first, PolledChanges { seeded: 1, ..PolledChanges::default() });
    }

    #[test]
    fn what_a_broken_dump_showed_is_left_out() {
        let mut minis = PolledMinis::default();
        let broken = Polled {
            failed: vec![NETNS],
            ..look_at(&[OTHER], 1.0, &[mini(NETNS, 1, TimeWait, 9_000)])
        };
        minis.compare(&broken);
        assert_eq!(minis.alive().count(), 0);
    }
}
