//! What the Snapshot is made of: totals, losses, and who did what.
//!
//! Totals are the kernel's own counters, exact even when records were lost;
//! rows come from the tracker. [`Stats::snapshot`] puts both into the one form
//! that every view shows.

mod closers;
mod rates;
pub mod snapshot;
mod totals;

use std::collections::BTreeMap;

use self::{
    closers::{Closers, RowTotals},
    rates::Rates,
    snapshot::Snapshot,
    totals::TotalCounts,
};
use crate::{
    event::ProcessEvent,
    frame::{Meta, Population, ProcessFacts, Totals},
    probes::{Exactness, Hooks},
    tracker::{self, TableLosses, Transition},
};

/// Everything counted since attach.
#[derive(Debug)]
pub struct Stats {
    meta: Meta,
    top: usize,
    closers: Closers,
    totals: TotalCounts,
    rates: Rates,
    polled: Option<Population>,
    seeds_complete: bool,
}

impl Stats {
    /// Empty statistics of the run `meta`; arrays will hold `top` rows.
    pub fn new(meta: Meta, top: usize) -> Self {
        let rates = Rates::new(meta.started_ns);
        Self {
            meta,
            top,
            closers: Closers::default(),
            totals: TotalCounts::default(),
            rates,
            polled: None,
            seeds_complete: true,
        }
    }

    /// Credits a process for what a transition meant.
    pub fn apply(&mut self, transition: &Transition) {
        self.closers.apply(transition);
    }

    /// Learns a process's name.
    pub fn process(&mut self, process: &ProcessEvent) {
        self.closers.name(process);
    }

    /// Learns where a process runs.
    pub fn process_facts(&mut self, facts: &ProcessFacts) {
        self.closers.place(facts);
    }

    /// Takes over the kernel's totals.
    pub fn totals(&mut self, totals: &Totals) {
        self.totals = TotalCounts::new(totals);
    }

    /// Takes over what sock_diag counted; `None` if it did not answer.
    pub fn polled(&mut self, population: Option<&Population>) {
        self.polled = population.cloned();
    }

    /// Learns whether all sockets that existed could be seeded: if not, those
    /// left out are missing in `states`.
    pub fn seeded(&mut self, complete: bool) {
        self.seeds_complete = complete;
    }

    /// The state of everything at `time_ns`, when the wall clock said `wall_ns`.
    /// Ends the interval over which rates are taken.
    pub fn snapshot(
        &mut self,
        time_ns: u64,
        wall_ns: u64,
        sockets: &tracker::Population,
        table: TableLosses,
    ) -> Snapshot {
        let traced = self.meta.hooks != Hooks::POLLING;
        let totals = traced.then_some(&self.totals);
        let withdrawn = self.closers.withdrawn();
        let fields_known = self.meta.hooks.fields_known;
        let active = self.totals.active(withdrawn);
        let rates = self.rates.over_interval(time_ns, totals, active);
        let row_totals =
            RowTotals { active, fields_known, wall_at_boot_ns: self.meta.wall_at_boot_ns };
        Snapshot {
            schema: snapshot::SCHEMA,
            time: snapshot::rfc3339(wall_ns),
            elapsed_s: time_ns.saturating_sub(self.meta.started_ns) as f64 / 1e9,
            host: snapshot::Host {
                hostname: self.meta.hostname.clone(),
                kernel: self.meta.kernel.clone(),
                boot_id: self.meta.boot_id.clone(),
            },
            probes: snapshot::Probes::new(self.meta.hooks, self.states_known(traced)),
            loss: totals.map(|totals| snapshot::Loss {
                ring_full: totals.ring_full,
                missed: totals.missed,
                unmatched: table.unmatched,
                evicted: table.evicted,
            }),
            rates,
            transitions: totals.map(TotalCounts::transitions),
            connects: totals.map(|totals| totals.connects(fields_known)),
            closes: totals.map(|totals| totals.closes(withdrawn, fields_known)),
            time_wait: self.polled.as_ref().map(snapshot::TimeWait::polled),
            fin_wait2: None,
            closers: totals.map(|_| self.closers.rows(self.top, &row_totals)),
            port_search: None,
            destinations: None,
            clients: None,
            close_wait: None,
            states: self.states(traced, sockets),
            kernel: None,
            reconcile: None,
            hdr: None,
        }
    }
}

impl Stats {
    /// How far `states` can be trusted.
    fn states_known(&self, traced: bool) -> Option<Exactness> {
        match (traced, &self.polled) {
            (false, None) => None,
            (false, Some(polled)) if !polled.complete => Some(Exactness::Inferred),
            // A socket left out, or one whose end found no room.
            (true, _) if !self.seeds_complete || self.totals.ring_full > 0 => {
                Some(Exactness::Inferred)
            }
            _ => Some(Exactness::Exact),
        }
    }

    fn states(
        &self,
        traced: bool,
        sockets: &tracker::Population,
    ) -> BTreeMap<&'static str, Option<u64>> {
        match &self.polled {
            Some(polled) => snapshot::polled_states(polled),
            None if traced => snapshot::tracked_states(|state| sockets.count(state)),
            None => snapshot::unknown_states(),
        }
    }
}
