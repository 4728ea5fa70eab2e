//! What namespaces offer to the search for a local port: read once, and again where
//! something happens, since nothing tells of a change.

use std::collections::BTreeMap;

use log::debug;

use crate::{
    frame::{PortFacts, Totals},
    host::{self, Netns},
};

/// A namespace that is not our own is read again so often at most: it has to be found and
/// entered. If it is not the one selected, only while anything happens there.
const OTHERS_EVERY_NS: u64 = 5_000_000_000;

/// Reads the facts of namespaces. It holds none of them open.
#[derive(Debug)]
pub(super) struct PortFactsReader {
    home: Option<u32>,
    only: Option<u32>,
    known: BTreeMap<u32, PortFacts>,
    /// Transitions by namespace, when the facts of others were last read.
    transitions: BTreeMap<u32, u64>,
    others_next_ns: u64,
}

impl PortFactsReader {
    /// `home` is the namespace that is always read, `only` the only one traced.
    pub(super) fn new(home: Option<u32>, only: Option<u32>) -> Self {
        Self { home, only, known: BTreeMap::new(), transitions: BTreeMap::new(), others_next_ns: 0 }
    }

    /// Of every namespace that can be entered.
    pub(super) fn all(&mut self, now_ns: u64) -> Vec<PortFacts> {
        self.others_next_ns = now_ns.saturating_add(OTHERS_EVERY_NS);
        let only = self.only;
        self.read(|netns| only.is_none_or(|only| netns == only))
    }

    /// Of all of them again, if it is time for that.
    pub(super) fn all_now_and_then(&mut self, now_ns: u64) -> Vec<PortFacts> {
        if now_ns < self.others_next_ns { Vec::new() } else { self.all(now_ns) }
    }

    /// Of those that are new or have changed.
    pub(super) fn changed(&mut self, totals: &Totals, now_ns: u64) -> Vec<PortFacts> {
        let own = host::own().ok().filter(|own| Some(own.inode) == self.home);
        let mut changed: Vec<PortFacts> =
            own.iter().filter_map(facts).filter(|facts| self.is_news(facts)).collect();
        self.remember(&changed);
        let busy = self.busy(totals);
        // Of the home namespace, which is not ours, the rows are looked at.
        let home = self.home.filter(|_| own.is_none());
        let wanted = |netns| busy.contains_key(&netns) || Some(netns) == home;
        let is_new = busy.keys().any(|netns| !self.known.contains_key(netns));
        let is_due = now_ns >= self.others_next_ns && (home.is_some() || !busy.is_empty());
        if is_new || is_due {
            self.others_next_ns = now_ns.saturating_add(OTHERS_EVERY_NS);
            changed.extend(self.read(wanted));
            // One that cannot be entered is not tried again each time.
            for netns in busy.keys() {
                self.known.entry(*netns).or_insert_with(|| PortFacts::unknown(*netns));
            }
            self.transitions.extend(busy);
        }
        changed
    }

    /// The namespaces other than ours where anything happened since they were read.
    fn busy(&self, totals: &Totals) -> BTreeMap<u32, u64> {
        let transitions = totals.by_netns.iter().filter_map(|(netns, counters)| {
            let netns = netns.filter(|netns| Some(*netns) != self.home)?;
            Some((netns, counters.pairs.iter().sum()))
        });
        let is_busy = |(netns, count): &(u32, u64)| self.transitions.get(netns) != Some(count);
        transitions.filter(is_busy).collect()
    }

    fn read(&mut self, wanted: impl Fn(u32) -> bool) -> Vec<PortFacts> {
        let found = host::list().map(|list| list.found).unwrap_or_default();
        let wanted = found.iter().filter(|netns| wanted(netns.inode));
        let news: Vec<PortFacts> =
            wanted.filter_map(facts).filter(|facts| self.is_news(facts)).collect();
        self.remember(&news);
        news
    }

    fn is_news(&self, facts: &PortFacts) -> bool {
        self.known.get(&facts.netns) != Some(facts)
    }

    fn remember(&mut self, news: &[PortFacts]) {
        self.known.extend(news.iter().map(|facts| (facts.netns, facts.clone())));
    }
}

/// `None` if it is gone or may not be entered.
fn facts(netns: &Netns) -> Option<PortFacts> {
    match host::port_facts(netns) {
        Ok(read) => Some(read),
        Err(error) => {
            debug!("{error:#}");
            None
        }
    }
}
