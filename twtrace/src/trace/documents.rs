//! Payloads that are JSON: what comes seldom, and what others may want to read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use twtrace_common::{Counters, PAIRS, ProcessKey, TcpState, pair_index, pair_states};

use super::{Malformed, layout::MAX_DOCUMENT};
use crate::frame::{KernelCounters, PortFacts, ProcessFacts, Totals};

pub(super) fn write(document: &impl Serialize) -> Vec<u8> {
    // It fails for maps with keys that are no strings, of which there are none.
    serde_json::to_vec(document).unwrap_or_default()
}

pub(super) fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Malformed> {
    if payload.len() > MAX_DOCUMENT as usize {
        return Err(Malformed::Unknown("more JSON than there can be"));
    }
    serde_json::from_slice(payload).map_err(|error| Malformed::Document(error.to_string()))
}

/// HOST.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HostDocument {
    Kernel(Vec<KernelCounters>),
    Ports(Vec<PortFacts>),
}

/// A row of DICT.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ProcessDocument {
    tgid: u32,
    start_time_ns: u64,
    cgroup: Option<String>,
    container: Option<String>,
}

impl From<&ProcessFacts> for ProcessDocument {
    fn from(facts: &ProcessFacts) -> Self {
        Self {
            tgid: facts.key.tgid,
            start_time_ns: facts.key.start_time_ns,
            cgroup: facts.cgroup.clone(),
            container: facts.container.clone(),
        }
    }
}

impl From<ProcessDocument> for ProcessFacts {
    fn from(document: ProcessDocument) -> Self {
        let ProcessDocument { tgid, start_time_ns, cgroup, container } = document;
        Self { key: ProcessKey { start_time_ns, tgid, padding: 0 }, cgroup, container }
    }
}

/// COUNTERS.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct TotalsDocument {
    missed: Option<u64>,
    by_netns: Vec<CountersDocument>,
}

impl TotalsDocument {
    /// Of a part of the namespaces.
    pub(super) fn new(missed: Option<u64>, by_netns: &[(Option<u32>, Counters)]) -> Self {
        Self { missed, by_netns: by_netns.iter().map(CountersDocument::from).collect() }
    }

    /// Adds what it tells to what parts before it told.
    pub(super) fn add_to(self, totals: &mut Totals) -> Result<(), Malformed> {
        totals.missed = self.missed;
        for document in self.by_netns {
            totals.by_netns.push((document.netns, document.counters()?));
        }
        Ok(())
    }
}

/// A row of COUNTERS. What is 0 is left out, and so is what follows the last count of a
/// list that is not 0.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct CountersDocument {
    netns: Option<u32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pairs: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outcomes: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    births: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ends: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    searches: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    probed_searches: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed_searches: Vec<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    ends_in_fin_wait2: u64,
    #[serde(skip_serializing_if = "is_zero")]
    steps: u64,
    #[serde(skip_serializing_if = "is_zero")]
    rearmed: u64,
    #[serde(skip_serializing_if = "is_zero")]
    refused: u64,
    #[serde(skip_serializing_if = "is_zero")]
    ring_full: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl From<&(Option<u32>, Counters)> for CountersDocument {
    fn from((netns, counters): &(Option<u32>, Counters)) -> Self {
        let pair = |index: usize| {
            let (old, new) = pair_states(index)?;
            let count = counters.pairs[index];
            (count > 0).then(|| (format!("{}>{}", old.name(), new.name()), count))
        };
        Self {
            netns: *netns,
            pairs: (0..PAIRS).filter_map(pair).collect(),
            outcomes: trimmed(&counters.outcomes),
            births: trimmed(&counters.births),
            ends: trimmed(&counters.ends),
            searches: trimmed(&counters.searches),
            probed_searches: trimmed(&counters.probed_searches),
            failed_searches: trimmed(&counters.failed_searches),
            ends_in_fin_wait2: counters.ends_in_fin_wait2,
            steps: counters.steps,
            rearmed: counters.rearmed,
            refused: counters.refused,
            ring_full: counters.ring_full,
        }
    }
}

impl CountersDocument {
    fn counters(&self) -> Result<Counters, Malformed> {
        let mut pairs = [0; PAIRS];
        for (pair, count) in &self.pairs {
            let unknown = Malformed::Unknown("a pair of states");
            let (old, new) = pair.split_once('>').ok_or_else(|| unknown.clone())?;
            let state = |name: &str| TcpState::ALL.into_iter().find(|known| known.name() == name);
            let (old, new) = state(old).zip(state(new)).ok_or(unknown)?;
            pairs[pair_index(old, new)] = *count;
        }
        Ok(Counters {
            pairs,
            outcomes: filled(&self.outcomes)?,
            births: filled(&self.births)?,
            ends: filled(&self.ends)?,
            searches: filled(&self.searches)?,
            probed_searches: filled(&self.probed_searches)?,
            failed_searches: filled(&self.failed_searches)?,
            ends_in_fin_wait2: self.ends_in_fin_wait2,
            steps: self.steps,
            rearmed: self.rearmed,
            refused: self.refused,
            ring_full: self.ring_full,
        })
    }
}

fn trimmed(counts: &[u64]) -> Vec<u64> {
    let last = counts.iter().rposition(|count| *count != 0);
    counts[..last.map_or(0, |last| last + 1)].to_vec()
}

fn filled<const N: usize>(counts: &[u64]) -> Result<[u64; N], Malformed> {
    let mut filled = [0; N];
    let known = filled.get_mut(..counts.len()).ok_or(Malformed::Unknown("a count"))?;
    known.copy_from_slice(counts);
    Ok(filled)
}
