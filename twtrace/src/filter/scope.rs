//! What a pipeline has to know of the filter in front of it.

use std::collections::{BTreeMap, BTreeSet};

use super::Filter;
use crate::probes::Exactness;

/// What of the Snapshot a filter leaves known, and how exactly. Without a filter: all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The filter, as it is shown; `None` without one.
    pub shown: Option<String>,
    /// Totals are counted from records, those of the kernel side being everybody's.
    pub recounted: bool,
    /// Others, who are left out, may take ports towards the same destinations.
    pub shares_destinations: bool,
    /// It is asked whose a socket is.
    pub by_process: bool,
    /// It is asked where a process runs, which may be told late.
    pub by_place: bool,
    /// CPU samples, which tell a process and no socket, cannot be told apart.
    pub loses_samples: bool,
    /// Ports on which sockets listen that are left out, by namespace: others were accepted
    /// there all the same.
    pub other_listeners: BTreeSet<(u32, u16)>,
}

/// What depends on sockets of which no process has done anything yet.
const LATE: [&str; 13] = [
    "transitions",
    "rates.opens_per_s",
    "closes.passive",
    "closes.reset",
    "closes.reset_remote",
    "roles",
    "states",
    "time_wait.now",
    "fin_wait2.now",
    "destinations",
    "clients",
    "proxies",
    "close_wait",
];
/// What is known of nobody where mini-sockets have no process.
const OF_MINIS: [&str; 7] = [
    "time_wait.",
    "fin_wait2.",
    "destinations",
    "clients",
    "tw_reuse",
    "rates.births",
    "rates.ends",
];

impl Scope {
    /// Of `filter`.
    pub(super) fn new(filter: &Filter) -> Self {
        let by_process = filter.asks_for_process();
        let beyond = filter.asks_beyond_netns();
        Self {
            shown: (!filter.is_empty()).then(|| filter.to_string()),
            recounted: beyond,
            shares_destinations: by_process || filter.lports.is_some(),
            by_process,
            by_place: filter.cgroup.is_some(),
            loses_samples: filter.netns.is_some() || filter.asks_for_ends(),
            other_listeners: BTreeSet::new(),
        }
    }

    /// Whether anything is left out.
    pub fn is_filtered(&self) -> bool {
        self.shown.is_some()
    }

    /// Corrects the word of each key. `ring_full`: records were lost; `followed`: births and
    /// ends of mini-sockets are seen.
    pub(crate) fn correct(
        &self,
        words: &mut BTreeMap<String, Option<Exactness>>,
        ring_full: bool,
        followed: bool,
    ) {
        if !self.is_filtered() {
            return;
        }
        let all_late = (self.recounted && ring_full) || self.by_place;
        for (key, word) in words.iter_mut() {
            let late = all_late || (self.by_process && LATE.contains(&key.as_str()));
            if late && *word == Some(Exactness::Exact) {
                *word = Some(Exactness::Inferred);
            }
            if self.hides(key, followed) {
                *word = None;
            }
        }
    }

    /// Whether nothing can be said of `key`.
    fn hides(&self, key: &str, followed: bool) -> bool {
        let of_minis = || OF_MINIS.iter().any(|prefix| key.starts_with(prefix));
        match key {
            "time_wait.rearmed" => self.recounted,
            "time_wait.seeded" => self.by_process,
            "destinations.knee_in_s" => self.shares_destinations,
            _ if key.ends_with(".cpu_core_pct") => self.loses_samples,
            _ => self.by_process && !followed && of_minis(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::Hooks;

    #[test]
    fn without_a_filter_every_word_stays() {
        let before = Hooks::POLLING.exactness();
        let mut after = before.clone();
        Scope::default().correct(&mut after, true, true);
        assert_eq!(after, before);
    }

    #[test]
    fn recounted_totals_are_as_complete_as_the_ring() {
        let exact = || BTreeMap::from([("closes.active".to_owned(), Some(Exactness::Exact))]);
        let filter = Filter { rports: Some("80".parse().unwrap()), ..Filter::default() };
        let scope = Scope::new(&filter);
        let mut words = exact();
        scope.correct(&mut words, false, true);
        assert_eq!(words, exact());
        scope.correct(&mut words, true, true);
        assert_eq!(words["closes.active"], Some(Exactness::Inferred));
        // A namespace's counters are the kernel side's.
        let mut words = exact();
        let netns = Filter { netns: Some(1), ..Filter::default() };
        Scope::new(&netns).correct(&mut words, true, true);
        assert_eq!(words, exact());
    }
}
