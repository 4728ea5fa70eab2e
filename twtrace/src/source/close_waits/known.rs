//! What is known of sockets in CLOSE_WAIT, and what of that nobody was told yet.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use foldhash::fast::FixedState;
use twtrace_common::ProcessKey;

use crate::{
    frame::{CloseWaiting, MAX_CLOSE_WAITS},
    host::Holder,
};

/// Who holds a socket is looked for once it has been there so long: most are closed before.
const PATIENCE_NS: u64 = 5_000_000_000;
/// How soon it is looked for again, if it was not found: so long, and each time twice as long.
const RETRY_NS: u64 = 10_000_000_000;
const LONGEST_RETRY: u32 = 5;

/// A socket of a look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// What can be told of it; nobody knows yet who holds it.
    pub(super) told: CloseWaiting,
    /// Its inode; 0 if no process has accepted it.
    pub(super) inode: u32,
}

#[derive(Clone, Copy, Debug)]
struct Socket {
    seen: Seen,
    /// How often it was looked for in vain who holds it.
    tries: u32,
    /// When it is looked for next.
    ask_ns: u64,
}

/// What a look has shown that was not known.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) appeared: Vec<CloseWaiting>,
    pub(super) gone: Vec<u64>,
    /// Whether there was room for all.
    pub(super) complete: bool,
}

/// The sockets, by cookie. See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Known {
    sockets: BTreeMap<u64, Socket>,
}

impl Known {
    /// Takes over a look at all namespaces where there can be any but those that `failed`.
    pub(super) fn looked(&mut self, look: &[Seen], failed: &BTreeSet<u32>) -> Change {
        let there: HashSet<u64, FixedState> = look.iter().map(|seen| seen.told.cookie).collect();
        let stays = |socket: &Socket| {
            there.contains(&socket.seen.told.cookie) || failed.contains(&socket.seen.told.netns)
        };
        let gone = self.sockets.extract_if(.., |_, socket| !stays(socket));
        let gone = gone.map(|(cookie, _)| cookie).collect();
        let mut change = Change { appeared: Vec::new(), gone, complete: true };
        for seen in look {
            change.appeared.extend(self.meet(seen));
            change.complete &= self.sockets.contains_key(&seen.told.cookie);
        }
        change
    }

    /// What is new of one socket. Its age and its ends stay what they were.
    fn meet(&mut self, seen: &Seen) -> Option<CloseWaiting> {
        let has_room = self.sockets.len() < MAX_CLOSE_WAITS;
        match self.sockets.get_mut(&seen.told.cookie) {
            Some(known) if known.seen.inode == seen.inode => None,
            // It was accepted since.
            Some(known) => {
                let CloseWaiting { seen_ns, since_ns, holder, .. } = known.seen.told;
                let told = CloseWaiting { seen_ns, since_ns, holder, ..seen.told };
                known.seen = Seen { told, ..*seen };
                Some(known.seen.told)
            }
            None if has_room => {
                let ask_ns = seen.told.since_ns.saturating_add(PATIENCE_NS);
                self.sockets.insert(seen.told.cookie, Socket { seen: *seen, tries: 0, ask_ns });
                Some(seen.told)
            }
            None => None,
        }
    }

    /// The namespaces where there are any.
    pub(super) fn holding(&self) -> BTreeSet<u32> {
        self.sockets.values().map(|socket| socket.seen.told.netns).collect()
    }

    /// The processes that hold any.
    pub(super) fn holders(&self) -> BTreeSet<ProcessKey> {
        self.sockets.values().filter_map(|socket| socket.seen.told.holder).collect()
    }

    /// These processes are gone, and their sockets are not: somebody else holds them.
    pub(super) fn ended(&mut self, processes: &BTreeSet<ProcessKey>) -> Vec<CloseWaiting> {
        let mut orphaned = Vec::new();
        for socket in self.sockets.values_mut() {
            let told = &mut socket.seen.told;
            if told.holder.is_some_and(|holder| processes.contains(&holder)) {
                (told.holder, socket.tries, socket.ask_ns) = (None, 0, 0);
                orphaned.push(*told);
            }
        }
        orphaned
    }

    /// The inodes of all of which it is not known who holds them, though somebody does.
    pub(super) fn unheld(&self) -> HashSet<u32, FixedState> {
        let unheld = self.sockets.values().filter(|socket| socket.is_unheld());
        unheld.map(|socket| socket.seen.inode).collect()
    }

    /// The inodes of those for which it is time to ask everybody.
    pub(super) fn wanted(&self, now_ns: u64) -> HashSet<u32, FixedState> {
        let is_due = self.sockets.values().any(|it| it.is_unheld() && it.ask_ns <= now_ns);
        // One search is as good for all that have been there for long enough.
        let is_old = |it: &&Socket| it.is_unheld() && it.old_enough_ns() <= now_ns;
        let old = self.sockets.values().filter(|_| is_due).filter(is_old);
        old.map(|socket| socket.seen.inode).collect()
    }

    /// Takes over who was found to hold any.
    pub(super) fn held(&mut self, found: &HashMap<u32, Holder, FixedState>) -> Vec<CloseWaiting> {
        let mut news = Vec::new();
        for socket in self.sockets.values_mut().filter(|socket| socket.is_unheld()) {
            if let Some(holder) = found.get(&socket.seen.inode) {
                socket.seen.told.holder = Some(key(holder));
                news.push(socket.seen.told);
            }
        }
        news
    }

    /// Everybody was asked for those that were wanted: the rest is asked for later.
    pub(super) fn asked(&mut self, wanted: &HashSet<u32, FixedState>, now_ns: u64) {
        let unheld = self.sockets.values_mut().filter(|socket| socket.is_unheld());
        unheld.filter(|it| wanted.contains(&it.seen.inode)).for_each(|it| it.retry(now_ns));
    }
}

impl Socket {
    /// Whether somebody holds it, and nobody knows who.
    fn is_unheld(&self) -> bool {
        self.seen.inode != 0 && self.seen.told.holder.is_none()
    }

    fn old_enough_ns(&self) -> u64 {
        self.seen.told.since_ns.saturating_add(PATIENCE_NS)
    }

    fn retry(&mut self, now_ns: u64) {
        self.ask_ns = now_ns.saturating_add(RETRY_NS << self.tries);
        self.tries = (self.tries + 1).min(LONGEST_RETRY);
    }
}

/// Its start is as exact as /proc tells it.
fn key(holder: &Holder) -> ProcessKey {
    ProcessKey { start_time_ns: holder.started_ns, tgid: holder.pid, padding: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Tuple;

    const SECOND: u64 = 1_000_000_000;

    fn seen(cookie: u64, inode: u32, since_ns: u64) -> Seen {
        let tuple = Tuple { laddr: [1; 16], raddr: [2; 16], lport: 80, rport: 1 };
        let netns = (cookie / 100) as u32;
        let accepted = inode != 0;
        Seen {
            told: CloseWaiting {
                cookie,
                netns,
                tuple,
                seen_ns: since_ns,
                since_ns,
                accepted,
                holder: None,
            },
            inode,
        }
    }

    fn nobody_failed() -> BTreeSet<u32> {
        BTreeSet::new()
    }

    fn found<const N: usize>(holders: [(u32, u32); N]) -> HashMap<u32, Holder, FixedState> {
        holders.map(|(inode, pid)| (inode, Holder { started_ns: 5, pid })).into_iter().collect()
    }

    fn told(appeared: &[CloseWaiting]) -> Vec<(u64, Option<u32>)> {
        appeared.iter().map(|it| (it.cookie, it.holder.map(|holder| holder.tgid))).collect()
    }

    #[test]
    fn only_what_changes_is_told() {
        let mut known = Known::default();
        let first = known.looked(&[seen(1, 11, 9), seen(2, 0, 9)], &nobody_failed());
        assert_eq!(told(&first.appeared), [(1, None), (2, None)]);
        let same = known.looked(&[seen(1, 11, 30), seen(2, 0, 30)], &nobody_failed());
        assert_eq!(same, Change { complete: true, ..Change::default() });
        let next = known.looked(&[seen(2, 22, 60), seen(3, 33, 60)], &nobody_failed());
        assert_eq!((told(&next.appeared), next.gone), (vec![(2, None), (3, None)], vec![1]));
        let accepted = next.appeared[0];
        assert_eq!((accepted.accepted, accepted.since_ns, accepted.seen_ns), (true, 9, 9));
    }

    #[test]
    fn where_nobody_could_look_they_stay() {
        let mut known = Known::default();
        known.looked(&[seen(101, 1, 0), seen(201, 2, 0)], &nobody_failed());
        let change = known.looked(&[], &[2].into());
        assert_eq!((change.gone, known.holding()), (vec![101], [2].into()));
        assert_eq!(known.looked(&[], &nobody_failed()).gone, [201]);
    }

    #[test]
    fn who_holds_one_is_asked_when_it_is_old_and_then_less_and_less() {
        let mut known = Known::default();
        let young = SECOND;
        known.looked(&[seen(1, 11, 0), seen(2, 22, young), seen(3, 0, 0)], &nobody_failed());
        let wanted = |known: &Known, seconds: u64| {
            let mut wanted: Vec<u32> = known.wanted(seconds * SECOND).into_iter().collect();
            wanted.sort_unstable();
            wanted
        };
        assert_eq!(wanted(&known, 4), Vec::<u32>::new());
        assert_eq!(wanted(&known, 5), [11], "the other is too young, the third is nobody's");
        let asked = known.wanted(5 * SECOND);
        assert_eq!(known.held(&found([])), []);
        known.asked(&asked, 5 * SECOND);
        assert_eq!(
            wanted(&known, 6),
            [11, 22],
            "it is asked for the other, and is as good for both"
        );
        let asked = known.wanted(6 * SECOND);
        let news = known.held(&found([(22, 7), (33, 8)]));
        assert_eq!(told(&news), [(2, Some(7))]);
        known.asked(&asked, 6 * SECOND);
        assert_eq!(known.unheld(), [11].into_iter().collect());
        let times = (7..2_000).filter(|second| {
            let asked = known.wanted(second * SECOND);
            known.asked(&asked, second * SECOND);
            !asked.is_empty()
        });
        let times: Vec<u64> = times.collect();
        assert_eq!(times, [26, 66, 146, 306, 626, 946, 1_266, 1_586, 1_906]);
    }

    #[test]
    fn a_socket_outlives_the_one_who_was_named() {
        let mut known = Known::default();
        known.looked(&[seen(1, 11, 0), seen(2, 22, 0)], &nobody_failed());
        known.held(&found([(11, 7), (22, 8)]));
        let [seven, _] = known.holders().into_iter().collect::<Vec<_>>()[..] else { panic!("two") };
        assert_eq!(told(&known.ended(&[seven].into())), [(1, None)]);
        assert_eq!(known.wanted(9 * SECOND), [11].into_iter().collect());
    }

    #[test]
    fn there_is_no_more_room_than_there_is() {
        let mut known = Known::default();
        let all: Vec<Seen> = (0..MAX_CLOSE_WAITS as u64 + 1).map(|n| seen(n, 1, 0)).collect();
        let change = known.looked(&all, &nobody_failed());
        assert_eq!((change.appeared.len(), change.complete), (MAX_CLOSE_WAITS, false));
        let change = known.looked(&all[1..], &nobody_failed());
        let last = all[MAX_CLOSE_WAITS].told;
        assert_eq!(change, Change { appeared: vec![last], gone: vec![0], complete: true });
    }
}
