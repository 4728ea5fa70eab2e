//! What looks at all sockets tell, one after the other, where nothing is traced.

use std::collections::BTreeMap;

use twtrace_common::TcpState;

use super::{
    distribution::Distribution,
    kernel::Kernel,
    snapshot::{self, Summary},
};
use crate::{
    frame::Polled,
    probes::Exactness,
    tracker::{PolledChanges, PolledMinis},
};

/// Everything counted since the first look.
#[derive(Debug, Default)]
pub(super) struct Polls {
    /// `None` if sock_diag did not answer the last time.
    last: Option<Look>,
    looks: u64,
    /// Whether some namespace could not be looked at, then or before.
    ever_incomplete: bool,
    namespaces: BTreeMap<u32, Counts>,
}

#[derive(Debug)]
struct Look {
    time_ns: u64,
    states: Vec<(TcpState, u64)>,
    complete: bool,
}

/// What the looks at one namespace have shown.
#[derive(Debug, Default)]
struct Counts {
    seen: PolledChanges,
    /// Births that the kernel had counted before the first look.
    before: u64,
    /// Those born and gone between two looks, by the kernel's count.
    missed: u64,
}

impl Counts {
    fn born(&self) -> u64 {
        self.seen.born + self.missed
    }

    fn unseen(&self) -> u64 {
        self.seen.unseen + self.missed
    }

    fn ended(&self) -> u64 {
        self.seen.expired + self.seen.fin_wait2_timeout + self.unseen()
    }

    fn add(&mut self, changes: &PolledChanges) {
        let seen = &mut self.seen;
        seen.seeded += changes.seeded;
        seen.born += changes.born;
        seen.born_fin_wait2 += changes.born_fin_wait2;
        seen.to_time_wait += changes.to_time_wait;
        seen.expired += changes.expired;
        seen.fin_wait2_timeout += changes.fin_wait2_timeout;
        seen.unseen += changes.unseen;
    }

    /// The kernel had counted so many births, before a look that saw the rest
    /// of those `seen`: at least the difference was seen by no look. What is
    /// born between the kernel's count and the look only makes it smaller.
    fn kernel_counted(&mut self, births: u64) {
        let since = births.saturating_sub(self.before);
        self.missed = self.missed.max(since.saturating_sub(self.seen.born));
    }
}

impl Polls {
    /// Takes over a look; `None` if sock_diag did not answer. `kernels` is the
    /// kernel's own count of births in a namespace, as far as it has one.
    pub(super) fn looked(
        &mut self,
        polled: Option<&Polled>,
        changes: &[(u32, PolledChanges)],
        kernels: impl Fn(u32) -> Option<u64>,
    ) {
        self.last = polled.map(Look::new);
        let Some(look) = &self.last else {
            return;
        };
        self.looks += 1;
        self.ever_incomplete |= !look.complete;
        for (netns, changes) in changes {
            let births = kernels(*netns);
            let new = || Counts { before: births.unwrap_or(0), ..Counts::default() };
            let counts = self.namespaces.entry(*netns).or_insert_with(new);
            counts.add(changes);
            if let Some(births) = births {
                counts.kernel_counted(births);
            }
        }
    }

    /// Sockets by state; `None` if sock_diag did not answer.
    pub(super) fn states(&self) -> Option<&[(TcpState, u64)]> {
        self.last.as_ref().map(|look| look.states.as_slice())
    }

    /// How far what is now is known.
    pub(super) fn now_known(&self) -> Option<Exactness> {
        self.last.as_ref().map(|look| exactness(look.complete))
    }

    /// How far what was there before is known.
    pub(super) fn seeds_known(&self) -> Option<Exactness> {
        (self.looks > 0).then(|| exactness(!self.ever_incomplete))
    }

    /// Births since the first look. `None` as long as no second look could see
    /// one, and when sock_diag did not answer: a rate would be 0 and untrue.
    pub(super) fn born(&self) -> Option<u64> {
        self.compared().then(|| self.sum(Counts::born))
    }

    /// Ends since the first look, as [`Self::born`].
    pub(super) fn ended(&self) -> Option<u64> {
        self.compared().then(|| self.sum(Counts::ended))
    }

    /// `None` before the first look. `minis` are those of the last look.
    pub(super) fn time_wait(
        &self,
        minis: &PolledMinis,
        kernel: &Kernel,
    ) -> Option<snapshot::TimeWait> {
        let seen = |count: fn(&PolledChanges) -> u64| self.sum(|counts| count(&counts.seen));
        (self.looks > 0).then(|| snapshot::TimeWait {
            now: self.last.as_ref().map(|_| minis.alive().count() as u64),
            seeded: Some(seen(|seen| seen.seeded)),
            born: Some(self.sum(Counts::born)),
            refused: kernel.overflows(),
            rearmed: None,
            ended: snapshot::Ended {
                expired: Some(seen(|seen| seen.expired)),
                fin_wait2_timeout: Some(seen(|seen| seen.fin_wait2_timeout)),
                unseen: Some(self.sum(Counts::unseen)),
                ..snapshot::Ended::default()
            },
            lifetime_s: None,
            lifetime_by_end: None,
            time_wait_s: None,
            remaining_s: self.last.as_ref().map(|look| look.remaining(minis)),
        })
    }

    /// `None` before the first look. Those that became TIME_WAIT before a look
    /// showed them are missing, and those that no look showed at all.
    pub(super) fn fin_wait2(&self, minis: &PolledMinis) -> Option<snapshot::FinWait2> {
        let now = || minis.alive().filter(|mini| mini.substate == TcpState::FinWait2).count();
        (self.looks > 0).then(|| snapshot::FinWait2 {
            now: self.last.as_ref().map(|_| now() as u64),
            born: Some(self.sum(|counts| counts.seen.born_fin_wait2)),
            to_time_wait: Some(self.sum(|counts| counts.seen.to_time_wait)),
            time_s: None,
        })
    }

    /// How many are alive in one namespace, if the last look was at it.
    pub(super) fn now_in(&self, netns: u32, minis: &PolledMinis) -> Option<u64> {
        self.last.as_ref().and_then(|_| minis.alive_in(netns))
    }

    fn compared(&self) -> bool {
        self.looks > 1 && self.last.is_some()
    }

    fn sum(&self, count: impl Fn(&Counts) -> u64) -> u64 {
        self.namespaces.values().map(count).sum()
    }
}

impl Look {
    fn new(polled: &Polled) -> Self {
        let Polled { time_ns, complete, .. } = *polled;
        Self { time_ns, states: polled.states.clone(), complete }
    }

    /// Time from this look until the timers are due.
    fn remaining(&self, minis: &PolledMinis) -> Summary<f64> {
        let mut remaining = Distribution::fine();
        for mini in minis.alive() {
            remaining.record(mini.due_ns.saturating_sub(self.time_ns) / 1_000_000);
        }
        remaining.summary(|milliseconds| milliseconds / 1e3)
    }
}

fn exactness(complete: bool) -> Exactness {
    if complete { Exactness::Exact } else { Exactness::Inferred }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETNS: u32 = 4_026_531_840;

    fn changes(seeded: u64, born: u64) -> Vec<(u32, PolledChanges)> {
        vec![(NETNS, PolledChanges { seeded, born, ..PolledChanges::default() })]
    }

    fn looked(polls: &mut Polls, seeded: u64, born: u64, kernels: Option<u64>) {
        polls.looked(Some(&Polled::default()), &changes(seeded, born), |_| kernels);
    }

    #[test]
    fn what_only_the_kernel_counted_was_born_and_ended_unseen() {
        let mut polls = Polls::default();
        looked(&mut polls, 3, 0, None);
        assert_eq!(polls.born(), None);
        looked(&mut polls, 0, 10, Some(25));
        assert_eq!((polls.born(), polls.ended()), (Some(25), Some(15)));
        // Born after the kernel's count, and seen by the look.
        looked(&mut polls, 0, 4, Some(25));
        assert_eq!((polls.born(), polls.ended()), (Some(29), Some(15)));
    }

    #[test]
    fn a_kernel_that_counts_otherwise_changes_nothing() {
        let mut polls = Polls::default();
        looked(&mut polls, 3, 0, None);
        looked(&mut polls, 0, 10, None);
        assert_eq!((polls.born(), polls.ended()), (Some(10), Some(0)));
    }

    #[test]
    fn births_before_a_namespace_could_be_looked_at_do_not_count() {
        let mut polls = Polls::default();
        looked(&mut polls, 3, 0, Some(100));
        looked(&mut polls, 0, 1, Some(101));
        assert_eq!(polls.born(), Some(1));
    }

    #[test]
    fn a_look_that_failed_leaves_now_unknown_and_the_rest_as_it_was() {
        let mut polls = Polls::default();
        let (minis, kernel) = (PolledMinis::default(), Kernel::default());
        assert_eq!(polls.time_wait(&minis, &kernel), None);
        assert_eq!(polls.seeds_known(), None);
        looked(&mut polls, 3, 0, None);
        looked(&mut polls, 0, 2, None);
        polls.looked(None, &[], |_| None);
        let shown = polls.time_wait(&minis, &kernel).unwrap();
        assert_eq!((shown.now, shown.seeded, shown.born), (None, Some(3), Some(2)));
        assert_eq!((shown.remaining_s, polls.born(), polls.now_known()), (None, None, None));
    }
}
