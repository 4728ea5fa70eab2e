//! What the Snapshot is made of: totals, losses, and who did what.
//!
//! Totals are the kernel's own counters, exact even when records were lost;
//! rows come from the tracker. [`Stats::snapshot`] puts both into the one form
//! that every view shows.

mod closers;
mod rates;
pub mod snapshot;
mod totals;

use twtrace_common::TcpState;

use self::{closers::Closers, rates::Rates, snapshot::Snapshot, totals::TotalCounts};
use crate::{
    event::ProcessEvent,
    frame::{Meta, Population, ProcessFacts, Totals},
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

    /// Takes over what sock_diag counted.
    pub fn polled(&mut self, population: &Population) {
        self.polled = Some(population.clone());
    }

    /// The state of everything at `time_ns`. Ends the interval over which
    /// rates are taken.
    pub fn snapshot(
        &mut self,
        time_ns: u64,
        sockets: &tracker::Population,
        table: TableLosses,
    ) -> Snapshot {
        let traced = self.meta.hooks != crate::probes::Hooks::POLLING;
        let totals = traced.then_some(&self.totals);
        let rates = self.rates.over_interval(time_ns, totals);
        let active = self.totals.closes().active;
        Snapshot {
            schema: snapshot::SCHEMA,
            time: wall_time(&self.meta, time_ns),
            elapsed_s: time_ns.saturating_sub(self.meta.started_ns) as f64 / 1e9,
            host: snapshot::Host {
                hostname: self.meta.hostname.clone(),
                kernel: self.meta.kernel.clone(),
                boot_id: self.meta.boot_id.clone(),
            },
            probes: snapshot::Probes::new(self.meta.hooks),
            loss: totals.map(|totals| snapshot::Loss {
                ring_full: totals.ring_full,
                missed: totals.missed,
                unmatched: table.unmatched,
                evicted: table.evicted,
            }),
            rates,
            transitions: totals.map(TotalCounts::transitions),
            connects: totals.map(|totals| totals.connects(self.meta.hooks.fields_known)),
            closes: totals.map(|totals| totals.closes_shown(self.meta.hooks.fields_known)),
            time_wait: self.polled.as_ref().map(snapshot::TimeWait::polled),
            fin_wait2: None,
            closers: totals.map(|_| self.closers.rows(self.top, active, self.meta.wall_at_boot_ns)),
            port_search: None,
            destinations: None,
            clients: None,
            close_wait: None,
            states: match &self.polled {
                Some(polled) => snapshot::polled_states(polled),
                None => snapshot::tracked_states(|state: TcpState| sockets.count(state)),
            },
            kernel: None,
            reconcile: None,
            hdr: None,
        }
    }
}

/// RFC 3339 in UTC, to the millisecond.
fn wall_time(meta: &Meta, time_ns: u64) -> String {
    snapshot::rfc3339(meta.wall_at_zero_ns.saturating_add(time_ns))
}
