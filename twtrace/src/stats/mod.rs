//! What the Snapshot is made of: totals, losses, and who did what.
//!
//! Totals are the kernel's own counters, exact even when records were lost;
//! rows come from the tracker. [`Stats::snapshot`] puts both into the one form
//! that every view shows.

mod bound_connects;
mod close_waits;
mod closers;
pub mod contacts;
mod destinations;
mod distribution;
mod encoded;
mod forecast;
mod kernel;
mod lifetimes;
mod polls;
pub(crate) mod processes;
mod rates;
mod roles;
mod samples;
mod search_failures;
mod searches;
pub mod snapshot;
mod sysctls;
pub mod thresholds;
mod time_wait;
pub mod timeline;
mod totals;

use std::collections::{BTreeMap, BTreeSet};

use twtrace_common::{End, ProcessKey, Search};

use self::{
    close_waits::CloseWaits,
    closers::{Closers, RowTotals},
    contacts::{Contacts, Detail, Focus},
    destinations::Moment,
    kernel::{Kernel, Ours},
    polls::Polls,
    processes::Processes,
    rates::{RateCounts, Rates},
    roles::Roles,
    searches::{Depth, PortSearches},
    snapshot::{SearchOp, Snapshot},
    sysctls::KnownSysctls,
    time_wait::TimeWait,
    timeline::Timeline,
    totals::TotalCounts,
};
use crate::{
    event::{MiniEvent, ProcessEvent, SampleEvent, TransitionEvent, printable},
    filter::Scope,
    frame::{
        self, CarriedCounts, Frame, KernelCounters, Meta, Polled, ProcessFacts, Sysctls, Totals,
    },
    probes::{Capability, Exactness},
    tracker::{Ended, Goodbye, Mini, PolledChanges, PortSearch, Tracker, Transition},
};

/// Everything counted since attach.
#[derive(Debug)]
pub struct Stats {
    meta: Meta,
    scope: Scope,
    top: usize,
    processes: Processes,
    closers: Closers,
    roles: Roles,
    time_wait: TimeWait,
    searches: PortSearches,
    totals: TotalCounts,
    kernel: Kernel,
    rates: Rates,
    polls: Polls,
    close_waits: CloseWaits,
    seeds_complete: bool,
    /// The totals as they were read last.
    read: Totals,
    /// Where they began, if not at 0.
    base: Option<Totals>,
    /// Records lost between the ring and the file.
    lost: u64,
    sysctls: KnownSysctls,
    /// `None` where nobody asks what happened when.
    timeline: Option<Box<Timeline>>,
    /// `None` where nobody looks at one process or one destination.
    contacts: Option<Box<Contacts>>,
}

impl Stats {
    /// Empty statistics of the run `meta`; arrays will hold `top` rows.
    pub fn new(meta: Meta, top: usize) -> Self {
        let rates = Rates::new(meta.started_ns);
        Self {
            meta,
            scope: Scope::default(),
            top,
            processes: Processes::default(),
            closers: Closers::default(),
            roles: Roles::default(),
            time_wait: TimeWait::default(),
            searches: PortSearches::default(),
            totals: TotalCounts::default(),
            kernel: Kernel::default(),
            rates,
            polls: Polls::default(),
            close_waits: CloseWaits::default(),
            seeds_complete: true,
            read: Totals::default(),
            base: None,
            lost: 0,
            sysctls: KnownSysctls::default(),
            timeline: None,
            contacts: None,
        }
    }

    /// Empty statistics that remember what these do, of the run `meta`.
    pub fn emptied(&self, meta: Meta) -> Self {
        let mut empty = Self::new(meta, self.top);
        if self.timeline.is_some() {
            empty.keep_timeline();
        }
        if self.contacts.is_some() {
            empty.keep_contacts();
        }
        empty
    }

    /// What a filter leaves known.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Remembers who closes towards whom, from now on.
    pub fn keep_contacts(&mut self) {
        self.contacts = Some(Box::default());
    }

    /// What is known of one process or one destination, if that is remembered.
    pub fn detail(&self, focus: &Focus) -> Option<Detail> {
        let contacts = self.contacts.as_ref()?;
        Some(contacts.of(focus, &self.processes, self.meta.wall_at_boot_ns))
    }

    /// Remembers what happens when, from now on.
    pub fn keep_timeline(&mut self) {
        self.timeline = Some(Box::new(Timeline::new(&self.meta)));
    }

    /// What happened when, if that is remembered.
    pub fn timeline(&self) -> Option<&Timeline> {
        self.timeline.as_deref()
    }

    /// Nothing is known of what happened between the two moments, and why.
    pub fn gap(&mut self, from_ns: u64, to_ns: u64, why: &str) {
        if let Some(timeline) = &mut self.timeline {
            timeline.gap(from_ns, to_ns, why);
        }
    }

    /// Learns the settings of namespaces, as they are at `time_ns` or were shortly before.
    pub fn sysctls(&mut self, time_ns: u64, told: &[Sysctls]) {
        for sysctls in told {
            for change in self.sysctls.learn(sysctls) {
                let (before, after) = (change.before.as_deref(), change.after.as_deref());
                if let Some(timeline) = &mut self.timeline {
                    timeline.sysctl_changed(time_ns, sysctls.netns, &change.name, before, after);
                }
            }
        }
    }

    /// What run they are of.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Learns what a filter leaves known.
    pub fn filtered(&mut self, scope: Scope) {
        self.scope = scope;
    }

    /// Credits a process for what a transition meant.
    pub fn apply(&mut self, event: &TransitionEvent, transition: &Transition) {
        self.closers.apply(transition, &mut self.processes);
        self.roles.apply(transition);
        if let Some(contacts) = &mut self.contacts {
            contacts.apply(event, transition);
        }
        match &transition.goodbye {
            Some(Goodbye::Mini(mini)) => self.claimed(mini),
            Some(Goodbye::Refused(maker)) => self.closers.refused(maker, &mut self.processes),
            Some(Goodbye::Nothing(maker)) => {
                self.closers.left_nothing(maker, &mut self.processes);
            }
            None => {}
        }
        if let Some(bound) = &transition.bound_connect
            && self.in_scope(bound.process.as_ref())
        {
            self.searches.bound_connect(bound);
        }
        if let Some(search) = &transition.search {
            self.searched(search);
        }
    }

    /// It is known whose a mini-socket is, or that it will not be.
    pub fn claimed(&mut self, mini: &Mini) {
        if mini.carried {
            self.carried(mini);
        } else {
            self.closers.born(mini, &mut self.processes);
            self.roles.born(mini);
        }
    }

    /// A mini-socket ended; `known` says of what.
    pub fn ended(&mut self, event: &MiniEvent, end: End, known: &Ended) {
        self.time_wait.ended(event, end, known);
        let lifetime =
            |mini: &Mini| (!mini.carried).then(|| event.time_ns.saturating_sub(mini.born_ns));
        match known {
            Ended::Claimed(mini) => {
                self.closers.ended(mini, lifetime(mini), &mut self.processes);
            }
            Ended::Unclaimed(mini) => {
                self.claimed(mini);
                self.closers.ended(mini, lifetime(mini), &mut self.processes);
            }
            Ended::Unknown => {}
        }
    }

    /// A mini-socket is no longer there, and no record told its end.
    pub fn vanished(&mut self, mini: &Mini) {
        self.time_wait.vanished(mini);
        self.closers.ended(mini, None, &mut self.processes);
    }

    /// A port search, or the check of a port, is over.
    pub fn searched(&mut self, search: &PortSearch) {
        if !self.in_scope(search.process.as_ref()) {
            return;
        }
        let range = search.range.filter(|_| self.knows_range(search.search));
        self.searches.record(&PortSearch { range, ..*search });
        let op = match search.search {
            Search::Connect => SearchOp::Connect,
            Search::Bind => SearchOp::Bind,
            // A check, and a listen of which nobody tells how long it took.
            Search::BindExplicit | Search::Listen => return,
        };
        if let (Some(timeline), Some(latency_ns)) = (&mut self.timeline, search.latency_ns) {
            timeline.searched(op, latency_ns);
        }
    }

    /// A processor was found searching a port.
    pub fn sampled(&mut self, sample: &SampleEvent) {
        if self.in_scope(Some(&sample.owner)) {
            self.searches.sampled(sample);
        }
    }

    /// Learns a process's name.
    pub fn process(&mut self, process: &ProcessEvent) {
        self.processes.name(process);
    }

    /// Learns where a process runs.
    pub fn process_facts(&mut self, facts: &ProcessFacts) {
        self.processes.place(facts);
    }

    /// Takes over our programs' totals.
    pub fn totals(&mut self, totals: &Totals) {
        if self.meta.continues && self.base.is_none() {
            self.base = Some(totals.clone());
        }
        self.totals = match &self.base {
            Some(base) => TotalCounts::new(&totals.since(base)),
            None => TotalCounts::new(totals),
        };
        self.totals.ring_full += self.lost;
        self.read.clone_from(totals);
    }

    /// Records were read and got lost on their way to the file: they found no room there.
    pub fn lost(&mut self, records: u64) {
        self.lost += records;
        self.totals.ring_full += records;
    }

    /// What was there when another file ended: how much of what.
    pub fn carry(&mut self, counts: &CarriedCounts) {
        self.seeds_complete = counts.complete;
        self.time_wait.carry(&counts.untold_ends);
    }

    /// What was there when another file ended: a mini-socket, and whose it is.
    pub fn carried(&mut self, mini: &Mini) {
        self.closers.carried(mini, &mut self.processes);
    }

    /// What another file has to begin with, besides what the tracker knows: frames, in
    /// order, and how many there are of what.
    pub fn checkpoint(&self, tracker: &Tracker) -> (Vec<Frame>, CarriedCounts) {
        let (names, places) = self.processes.introductions();
        let mut frames = vec![Frame::Totals(self.read.clone()), Frame::Kernel(self.kernel.last())];
        let sysctls = self.sysctls.all();
        frames.extend((!sysctls.is_empty()).then_some(Frame::Sysctls(sysctls)));
        frames.extend((!names.is_empty()).then_some(Frame::Records(names)));
        frames.extend((!places.is_empty()).then_some(Frame::Processes(places)));
        frames.extend(self.close_waits.carried());
        (frames, self.carried_counts(tracker))
    }

    fn carried_counts(&self, tracker: &Tracker) -> CarriedCounts {
        let losses = tracker.losses();
        let seeded: BTreeMap<u32, u64> = tracker.seeded_minis().collect();
        let netns: BTreeSet<u32> = seeded
            .keys()
            .copied()
            .chain(self.totals.namespaces().map(|(netns, _)| netns))
            .collect();
        let now = |netns: u32| {
            let seeded = seeded.get(&netns).copied().unwrap_or(0);
            (netns, self.time_wait.now_in(netns, seeded, &self.totals))
        };
        CarriedCounts {
            minis: netns.into_iter().map(now).filter(|(_, count)| *count > 0).collect(),
            in_fin_wait2: self.time_wait.in_fin_wait2(tracker.seeded_in_fin_wait2(), &self.totals),
            untold_ends: self.time_wait.untold_ends(&self.totals),
            complete: self.seeds_complete && self.totals.ring_full == 0 && losses.evicted == 0,
            // The tracker's to say.
            seeded_until_ns: 0,
        }
    }

    /// Takes over what the kernel itself counted when [`Self::totals`] were read.
    pub fn kernel(&mut self, counters: &[KernelCounters]) {
        self.kernel.read(counters, |netns| Ours::of(&self.totals, netns));
    }

    /// Takes over what sock_diag counted, and what has changed since it was
    /// asked before; `None` if it did not answer.
    pub fn polled(&mut self, polled: Option<&Polled>, changes: &[(u32, PolledChanges)]) {
        // The kernel counts everybody's.
        let counts_births = self.meta.tw_counts_births == Some(true) && !self.scope.recounted;
        let kernels = |netns| self.kernel.births(netns).filter(|_| counts_births);
        self.polls.looked(polled, changes, kernels);
    }

    /// Takes over what a look at the sockets in CLOSE_WAIT has shown; `None` if sock_diag did
    /// not answer.
    pub fn close_waits(&mut self, looked: Option<&frame::CloseWaits>) {
        self.close_waits.looked(looked);
        self.close_waits.holders().for_each(|holder| self.processes.touch(&holder));
    }

    /// Learns whether all sockets that existed could be seeded: if not, those
    /// left out are missing in `states` and `time_wait`.
    pub fn seeded(&mut self, complete: bool) {
        self.seeds_complete = complete;
    }

    /// The state of everything at `time_ns`, when the wall clock said `wall_ns`.
    /// Ends the interval over which rates are taken.
    pub fn snapshot(&mut self, time_ns: u64, wall_ns: u64, tracker: &Tracker) -> Snapshot {
        let hooks = self.meta.hooks;
        let traced = hooks.traces();
        let totals = traced.then_some(&self.totals);
        let followed = totals.filter(|_| hooks.follows_sockets());
        let withdrawn = self.closers.withdrawn();
        let losses = tracker.losses();
        let rates = self.rates.over_interval(time_ns, self.rate_counts());
        let port_search = self.port_search(time_ns);
        self.searches.end_interval(time_ns);
        let ports = self.ports(time_ns, tracker);
        let (destinations, tw_reuse) = ports.as_ref().map(Moment::destinations).unzip();
        let snapshot = Snapshot {
            schema: snapshot::SCHEMA,
            time: snapshot::rfc3339(wall_ns),
            elapsed_s: time_ns.saturating_sub(self.meta.started_ns) as f64 / 1e9,
            host: snapshot::Host {
                // Of a recording: what its file says.
                hostname: printable(&self.meta.hostname),
                kernel: printable(&self.meta.kernel),
                boot_id: printable(&self.meta.boot_id),
            },
            filter: self.scope.shown.clone(),
            probes: self.probes(),
            loss: totals.map(|totals| snapshot::Loss {
                ring_full: totals.ring_full,
                missed: totals.missed,
                unmatched: losses.unmatched,
                evicted: losses.evicted,
            }),
            rates,
            transitions: totals.map(TotalCounts::transitions),
            connects: totals.map(|totals| totals.connects(hooks.fields_known)),
            closes: totals.map(|totals| totals.closes(withdrawn, hooks.fields_known)),
            roles: followed.map(|_| self.roles.shown(self.follows_minis())),
            time_wait: self.time_wait(tracker),
            fin_wait2: self.fin_wait2(tracker),
            closers: followed.map(|_| self.closers(time_ns)),
            port_search,
            destinations,
            clients: ports.as_ref().map(Moment::clients),
            proxies: (followed.is_some() && self.follows_minis())
                .then(|| self.closers.proxies(self.top, &self.processes)),
            tw_reuse,
            close_wait: self.close_waits.rows(self.top, &self.processes),
            states: self.states(tracker),
            kernel: self.meta.home_netns.and_then(|home| self.kernel.shown(home)),
            reconcile: self.reconcile(tracker),
            hdr: self.hdr(),
        };
        if let Some(timeline) = &mut self.timeline {
            timeline.tick(time_ns, wall_ns, &snapshot);
        }
        snapshot
    }
}

impl Stats {
    /// Whether births and ends of mini-sockets are seen.
    fn follows_minis(&self) -> bool {
        self.meta.hooks.tier(Capability::EndCause).is_some()
    }

    /// Whether the functions that make and end mini-sockets are probed.
    fn probes_minis(&self) -> bool {
        self.meta.hooks.probes_functions(Capability::EndCause)
    }

    /// Whether the port searches of `process` count.
    fn in_scope(&self, process: Option<&ProcessKey>) -> bool {
        let Some(cgroup) = &self.meta.searches_of else {
            return true;
        };
        process.is_some_and(|process| self.processes.was_in(cgroup.id, process))
    }

    fn searches_ports(&self) -> bool {
        self.meta.hooks.tier(Capability::PortSearch).is_some()
    }

    fn rate_counts(&self) -> RateCounts {
        let totals = self.meta.hooks.traces().then_some(&self.totals);
        let followed = self.follows_minis().then_some(&self.totals);
        RateCounts {
            opens: totals.map(TotalCounts::opens),
            active_closes: totals.map(|totals| totals.active(self.closers.withdrawn())),
            births: followed.map_or_else(|| self.polls.born(), |totals| Some(totals.born())),
            ends: followed.map_or_else(
                || self.polls.ended(),
                |totals| Some(self.time_wait.all_ended(totals)),
            ),
        }
    }

    /// Which ports are taken; `None` where sockets are not followed, or mini-sockets, which take
    /// most, are not seen.
    fn ports<'a>(&'a self, time_ns: u64, tracker: &'a Tracker) -> Option<Moment<'a>> {
        let followed = self.follows_minis();
        if self.meta.hooks.light {
            return None;
        }
        (followed || self.polls.now_known().is_some()).then(|| Moment {
            shared: self.scope.shares_destinations,
            ports: tracker.ports(),
            followed,
            processes: &self.processes,
            now_s: time_ns as f64 / 1e9,
            top: self.top,
        })
    }

    fn closers(&self, time_ns: u64) -> Vec<snapshot::Closer> {
        let refused = |netns| {
            let without = self.totals.namespace(netns)?.closes_without();
            self.known_refused(netns, without)
        };
        let totals = RowTotals {
            time_ns,
            active: self.totals.active(self.closers.withdrawn()),
            fields_known: self.meta.hooks.fields_known,
            minis_known: self.follows_minis(),
            refusals_seen: self.probes_minis(),
            refused: &refused,
            wall_at_boot_ns: self.meta.wall_at_boot_ns,
        };
        self.closers.rows(self.top, &self.processes, &totals)
    }

    fn time_wait(&self, tracker: &Tracker) -> Option<snapshot::TimeWait> {
        if self.follows_minis() {
            let seeded = tracker.seeded_minis().map(|(_, count)| count).sum();
            return Some(snapshot::TimeWait {
                // Whose they are that were there before nobody knows.
                seeded: (!self.scope.by_process).then_some(seeded),
                ..self.followed_time_wait(seeded)
            });
        }
        let polled = self.polls.time_wait(tracker.polled_minis(), &self.kernel)?;
        let refused = polled.refused.filter(|_| !self.scope.recounted);
        Some(snapshot::TimeWait { refused, ..polled })
    }

    fn followed_time_wait(&self, seeded: u64) -> snapshot::TimeWait {
        if self.probes_minis() {
            let probed = self.time_wait.probed(seeded, &self.totals);
            // No record tells of it.
            let rearmed = probed.rearmed.filter(|_| !self.scope.recounted);
            return snapshot::TimeWait { rearmed, ..probed };
        }
        if self.meta.hooks.light {
            // Which closes without a mini-socket are explained is told one by one.
            return self.time_wait.shown(seeded, &self.totals, None);
        }
        let unexplained = |netns| self.closers.without_in(netns);
        let refused = |netns, without| self.known_refused(netns, without);
        let refused = time_wait::refused(&self.totals, refused, unexplained);
        self.time_wait.shown(seeded, &self.totals, refused)
    }

    /// Births refused in `netns`, by the kernel's count: of those that a filter leaves it
    /// tells only if there are none.
    fn known_refused(&self, netns: u32, without: u64) -> Option<u64> {
        let refused = self.kernel.refused(netns, without)?;
        (!self.scope.recounted || refused == 0).then_some(refused)
    }

    /// Whether the state of the range is known that a search walked: others take its
    /// ports too.
    fn knows_range(&self, search: Search) -> bool {
        match search {
            Search::Connect => !self.scope.shares_destinations,
            Search::Bind | Search::BindExplicit | Search::Listen => !self.scope.recounted,
        }
    }

    fn fin_wait2(&self, tracker: &Tracker) -> Option<snapshot::FinWait2> {
        if self.probes_minis() {
            let seeded = tracker.seeded_in_fin_wait2();
            return Some(self.time_wait.probed_fin_wait2(seeded, &self.totals));
        }
        if self.follows_minis() {
            return Some(self.time_wait.fin_wait2(&self.totals));
        }
        self.polls.fin_wait2(tracker.polled_minis())
    }

    fn port_search(&self, time_ns: u64) -> Option<snapshot::PortSearch> {
        let Meta { hooks, started_ns, .. } = self.meta;
        let sampled = hooks.tier(Capability::CpuShare).is_some() && !self.scope.loses_samples;
        let hz = self.meta.sample_hz.filter(|_| sampled);
        let depth = Depth {
            probed: hooks.probes_functions(Capability::PortSearch),
            tried: hooks.tier(Capability::PortsTried).is_some(),
            sampling: hz.map(|hz| self.searches.sampling(hz, started_ns, time_ns)),
        };
        // The kernel's side counts everybody's.
        let totals = self.meta.searches_of.is_none().then_some(&self.totals);
        let shown = || snapshot::PortSearch {
            only_cgroup: self.meta.searches_of.as_ref().map(|cgroup| cgroup.path.clone()),
            ..self.searches.shown(totals, &self.processes, self.top, depth)
        };
        self.searches_ports().then(shown)
    }

    fn reconcile(&self, tracker: &Tracker) -> Option<snapshot::Reconcile> {
        // The kernel counts everybody's.
        let home = self.meta.home_netns.filter(|_| !self.scope.recounted)?;
        if !self.follows_minis() {
            let now = self.polls.now_in(home, tracker.polled_minis())?;
            return self.kernel.reconcile_now(home, now);
        }
        let seeded = tracker.seeded_minis().find(|(netns, _)| *netns == home);
        let seeded = seeded.map_or(0, |(_, count)| count);
        let now = self.time_wait.now_in(home, seeded, &self.totals);
        let ours = Ours::of(&self.totals, home);
        self.kernel.reconcile(home, ours, now, self.probes_minis(), self.meta.tw_counts_births)
    }

    fn hdr(&self) -> Option<snapshot::Hdr> {
        if !self.follows_minis() && !self.searches_ports() {
            return None;
        }
        let (port_search_bind, port_search_connect) =
            if self.searches_ports() { self.searches.encoded() } else { (None, None) };
        let time_wait_lifetime = self.time_wait.encoded().filter(|_| self.follows_minis());
        Some(snapshot::Hdr { time_wait_lifetime, port_search_bind, port_search_connect })
    }

    /// `states`, and what of `time_wait` is seeded, are as exact as what was
    /// there before us is known.
    fn probes(&self) -> snapshot::Probes {
        let hooks = self.meta.hooks;
        let word = |complete| if complete { Exactness::Exact } else { Exactness::Inferred };
        // A socket whose end found no room stays where it was.
        let tracked = word(self.seeds_complete && self.totals.ring_full == 0);
        let polled = self.polls.now_known();
        let states = match hooks.traces() {
            true => Some(tracked).filter(|_| !hooks.light),
            false => polled,
        };
        let mut probes = if self.follows_minis() {
            snapshot::Probes::followed(hooks, states, word(self.seeds_complete))
        } else {
            snapshot::Probes::polled(hooks, states, polled, self.polls.seeds_known())
        };
        let close_wait = self.close_waits.known();
        let at_least = close_wait.map(|_| Exactness::Inferred);
        probes.exactness.extend([
            ("close_wait".to_owned(), close_wait),
            ("close_wait.oldest_s".to_owned(), at_least),
        ]);
        let is_lossy = self.totals.ring_full > 0;
        self.scope.correct(&mut probes.exactness, is_lossy, self.follows_minis());
        probes
    }

    fn states(&self, tracker: &Tracker) -> BTreeMap<&'static str, Option<u64>> {
        let hooks = self.meta.hooks;
        match self.polls.states() {
            _ if hooks.light => snapshot::unknown_states(),
            _ if hooks.traces() => {
                snapshot::tracked_states(|state| tracker.population().count(state))
            }
            Some(states) => snapshot::polled_states(states, self.scope.is_filtered()),
            None => snapshot::unknown_states(),
        }
    }
}
