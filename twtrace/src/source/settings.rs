//! The settings of namespaces: read once, and again where something happens, since nothing
//! tells of a change.

use std::collections::BTreeMap;

use log::debug;

use crate::{
    frame::{Frame, PortFacts, Sysctls, Totals},
    host::{self, Netns, Reach, Settings},
};

/// A namespace that is not our own is read again so often at most: it has to be found and
/// entered. If it is not the one selected, only while anything happens there.
const OTHERS_EVERY_NS: u64 = 5_000_000_000;

/// Reads the settings of namespaces. It holds none of them open.
#[derive(Debug)]
pub(super) struct SettingsReader {
    reach: Reach,
    /// Whether it was said that those of others are unknown, since the helper is gone.
    lost: bool,
    home: Option<u32>,
    only: Option<u32>,
    known: BTreeMap<u32, Settings>,
    /// Transitions by namespace, when those of others were last read.
    transitions: BTreeMap<u32, u64>,
    others_next_ns: u64,
}

impl SettingsReader {
    /// `home` is the namespace that is always read, `only` the only one traced.
    pub(super) fn new(reach: Reach, home: Option<u32>, only: Option<u32>) -> Self {
        Self {
            reach,
            lost: false,
            home,
            only,
            known: BTreeMap::new(),
            transitions: BTreeMap::new(),
            others_next_ns: 0,
        }
    }

    /// Of every namespace that can be entered.
    pub(super) fn all(&mut self, now_ns: u64) -> Vec<Frame> {
        self.others_next_ns = now_ns.saturating_add(OTHERS_EVERY_NS);
        let only = self.only;
        frames(self.read(|netns| only.is_none_or(|only| netns == only)))
    }

    /// Of all of them again, if it is time for that.
    pub(super) fn all_now_and_then(&mut self, now_ns: u64) -> Vec<Frame> {
        let mut news = frames(self.lost());
        if now_ns >= self.others_next_ns {
            news.extend(self.all(now_ns));
        }
        news
    }

    /// Of those that are new or have changed.
    pub(super) fn changed(&mut self, totals: &Totals, now_ns: u64) -> Vec<Frame> {
        let lost = self.lost();
        let own = host::own().ok().filter(|own| Some(own.inode) == self.home);
        let mut changed: Vec<Settings> =
            own.iter().filter_map(settings).filter(|read| self.is_news(read)).collect();
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
                self.known.entry(*netns).or_insert_with(|| unknown(*netns));
            }
            self.transitions.extend(busy);
        }
        changed.extend(lost);
        frames(changed)
    }

    /// Those that nobody can read any more, once: they may change from now on.
    fn lost(&mut self) -> Vec<Settings> {
        if self.lost || !self.reach.is_lost() {
            return Vec::new();
        }
        self.lost = true;
        let own = host::own().ok().map(|own| own.inode);
        let others = self.known.keys().filter(|netns| Some(**netns) != own);
        let lost: Vec<Settings> = others.map(|netns| unknown(*netns)).collect();
        self.remember(&lost);
        lost
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

    fn read(&mut self, wanted: impl Fn(u32) -> bool) -> Vec<Settings> {
        let found = self.reach.list().map(|list| list.found).unwrap_or_default();
        let wanted = found.iter().filter(|netns| wanted(netns.inode));
        let news: Vec<Settings> =
            wanted.filter_map(settings).filter(|read| self.is_news(read)).collect();
        self.remember(&news);
        news
    }

    fn is_news(&self, read: &Settings) -> bool {
        self.known.get(&read.ports.netns) != Some(read)
    }

    fn remember(&mut self, news: &[Settings]) {
        self.known.extend(news.iter().map(|read| (read.ports.netns, read.clone())));
    }
}

/// What they mean for searches, and as they are written; nothing of no namespace.
fn frames(news: Vec<Settings>) -> Vec<Frame> {
    if news.is_empty() {
        return Vec::new();
    }
    let (ports, sysctls) = news.into_iter().map(|read| (read.ports, read.sysctls)).unzip();
    vec![Frame::Ports(ports), Frame::Sysctls(sysctls)]
}

fn unknown(netns: u32) -> Settings {
    let sysctls = Sysctls { netns, values: BTreeMap::new() };
    Settings { sysctls, ports: PortFacts::unknown(netns) }
}

/// `None` if it is gone or may not be entered.
fn settings(netns: &Netns) -> Option<Settings> {
    match host::settings(netns) {
        Ok(read) => Some(read),
        Err(error) => {
            debug!("{error:#}");
            None
        }
    }
}
