//! What frames tell besides the Snapshot: the same for live runs and recordings.

use std::collections::{BTreeMap, btree_map::Entry};

use super::facts::{Known, Window};
use crate::frame::{Frame, KernelCounters, Sysctls};

/// Settings and counters by namespace, as frames have told.
#[derive(Clone, Debug, Default)]
pub struct Gathering {
    sysctls: BTreeMap<u32, Sysctls>,
    /// `None` where they were read once, and nobody knows by how much they have grown.
    counters: BTreeMap<u32, (KernelCounters, Option<KernelCounters>)>,
    /// Whether all namespaces that there were have been read.
    has_read: bool,
}

impl Gathering {
    /// Takes in what a frame tells of them.
    pub fn take(&mut self, frame: &Frame) {
        match frame {
            Frame::Sysctls(told) => {
                self.sysctls.extend(told.iter().map(|it| (it.netns, it.clone())));
            }
            Frame::Kernel(read) => {
                read.iter().for_each(|it| self.read(it));
                self.has_read = true;
            }
            _ => {}
        }
    }

    fn read(&mut self, read: &KernelCounters) {
        match self.counters.entry(read.netns) {
            Entry::Occupied(mut known) => known.get_mut().1 = Some(read.clone()),
            Entry::Vacant(vacant) if self.has_read => {
                vacant.insert((from_zero(read), Some(read.clone())));
            }
            Entry::Vacant(vacant) => {
                vacant.insert((read.clone(), None));
            }
        }
    }

    /// The namespaces that anything was told of.
    pub fn namespaces(&self) -> impl Iterator<Item = u32> {
        let mut all: Vec<u32> = self.sysctls.keys().chain(self.counters.keys()).copied().collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter()
    }

    /// The settings of a namespace.
    pub fn sysctls(&self, netns: u32) -> BTreeMap<String, String> {
        self.sysctls.get(&netns).map(|it| it.values.clone()).unwrap_or_default()
    }

    /// The kernel's counters of a namespace.
    pub fn counters(&self, netns: u32) -> Known<Window<KernelCounters>> {
        let unread = "they could not be read: it takes CAP_SYS_ADMIN to enter it";
        let (before, after) = self.counters.get(&netns).ok_or(unread)?;
        let after = after.as_ref().ok_or("they were read at the beginning only")?;
        Ok(Window { before: before.clone(), after: after.clone() })
    }
}

/// A namespace that was made since has begun at 0.
fn from_zero(read: &KernelCounters) -> KernelCounters {
    let mut first = read.clone();
    first.counters.values_mut().for_each(|counter| *counter = 0);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_of_each_namespace_are_kept() {
        let read = |netns, tw: u64| KernelCounters {
            netns,
            tw_sockstat: Some(tw),
            counters: [("TW".into(), tw)].into(),
        };
        let mut gathering = Gathering::default();
        let late = vec![read(1, 7), read(4, 8)];
        for counters in [vec![read(1, 5), read(2, 6)], late, vec![read(1, 9)]] {
            gathering.take(&Frame::Kernel(counters));
        }
        let sysctls =
            |value: &str| Sysctls { netns: 3, values: [("a".to_owned(), value.to_owned())].into() };
        gathering.take(&Frame::Sysctls(vec![sysctls("1")]));
        gathering.take(&Frame::Sysctls(vec![sysctls("2")]));
        assert_eq!(gathering.counters(1), Ok(Window { before: read(1, 5), after: read(1, 9) }));
        assert!(gathering.counters(2).is_err(), "nobody knows what it has counted since");
        assert!(gathering.counters(3).is_err());
        let made_since = gathering.counters(4).expect("it was read");
        assert_eq!((made_since.before.counters["TW"], made_since.after.counters["TW"]), (0, 8));
        assert_eq!(gathering.sysctls(3)["a"], "2");
        assert_eq!(gathering.namespaces().collect::<Vec<_>>(), [1, 2, 3, 4]);
    }
}
