//! Settings of namespaces, as far as they were told.

use foldhash::fast::FixedState;
use hashlink::LruCache;

use crate::frame::Sysctls;

/// Namespaces remembered; the one that was not told of longest is forgotten.
const MAX_NAMESPACES: usize = 4_096;

/// A setting that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) name: String,
    /// `None` if there was no such setting.
    pub(super) before: Option<String>,
    /// `None` if there is none any more.
    pub(super) after: Option<String>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct KnownSysctls {
    namespaces: LruCache<u32, Sysctls, FixedState>,
}

impl Default for KnownSysctls {
    fn default() -> Self {
        Self { namespaces: LruCache::with_hasher(MAX_NAMESPACES, FixedState::default()) }
    }
}

impl KnownSysctls {
    /// Learns the settings of a namespace; returns what has changed there since it was
    /// told of before.
    pub(super) fn learn(&mut self, told: &Sysctls) -> Vec<Change> {
        let before = self.namespaces.insert(told.netns, told.clone());
        before.map(|before| changes(&before, told)).unwrap_or_default()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Sysctls> {
        self.namespaces.iter().map(|(_, sysctls)| sysctls.clone()).collect()
    }
}

fn changes(before: &Sysctls, after: &Sysctls) -> Vec<Change> {
    let names = before.values.keys().chain(after.values.keys());
    let mut names: Vec<&String> = names.collect();
    names.sort_unstable();
    names.dedup();
    let change = |name: &String| {
        let (before, after) = (before.values.get(name), after.values.get(name));
        let name = name.clone();
        (before != after).then(|| Change { name, before: before.cloned(), after: after.cloned() })
    };
    names.into_iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_first_is_no_change() {
        let told = |values: &[(&str, &str)]| {
            let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            Sysctls { netns: 1, values: values.iter().map(pair).collect() }
        };
        let mut known = KnownSysctls::default();
        assert_eq!(known.learn(&told(&[("a", "1"), ("b", "2")])), []);
        let changes = known.learn(&told(&[("a", "1"), ("b", "3"), ("c", "4")]));
        let change = |name: &str, before: Option<&str>, after: Option<&str>| Change {
            name: name.to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        let wanted = [change("b", Some("2"), Some("3")), change("c", None, Some("4"))];
        assert_eq!(changes, wanted);
        assert_eq!(known.all(), [told(&[("a", "1"), ("b", "3"), ("c", "4")])]);
    }
}
