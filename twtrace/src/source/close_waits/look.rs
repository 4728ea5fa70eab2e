//! One look at the sockets in CLOSE_WAIT, where there can be any.

use std::collections::BTreeSet;

use anyhow::Result;
use log::debug;

use super::{Ask, Places, known::Seen};
use crate::{
    frame::CloseWaiting,
    host::{self, CloseWaitSocket, Netns, Reach},
    source::seeding,
};

/// Looks. That something could not be looked at was said when all sockets were listed.
#[derive(Debug)]
pub(super) struct Eyes {
    reach: Reach,
    only: Option<u32>,
    /// Whether all namespaces were found, when they were listed last.
    listed_all: bool,
}

/// What a look shows.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// The moment that it is of.
    time_ns: u64,
    pub(super) sockets: Vec<Seen>,
    /// Namespaces that are there and could not be looked at.
    pub(super) failed: BTreeSet<u32>,
    /// Whether every namespace where there can be any was looked at.
    pub(super) complete: bool,
    /// Whether sock_diag answered anywhere, or did not have to.
    pub(super) answered: bool,
}

impl Eyes {
    pub(super) fn new(reach: Reach, only: Option<u32>) -> Self {
        Self { reach, only, listed_all: true }
    }

    pub(super) fn look(&mut self, ask: &Ask) -> Look {
        let mut look = Look { time_ns: ask.time_ns, ..Look::default() };
        match &ask.places {
            Places::Netns(places) if places.is_empty() => {
                look.answered = true;
            }
            Places::Netns(places) => match own_alone(places) {
                Some(own) => look.answered = look.at(&own).is_ok(),
                None => self.look_around(&mut look, |netns| places.contains(&netns.inode)),
            },
            Places::All => self.look_around(&mut look, |_| true),
        }
        look.complete = self.listed_all && look.failed.is_empty();
        look
    }

    fn look_around(&mut self, look: &mut Look, wanted: impl Fn(&Netns) -> bool) {
        let mut answers = 0_usize;
        let looked = seeding::look(&self.reach, self.only, |netns| {
            if wanted(netns) {
                look.at(netns)?;
                answers += 1;
            }
            Ok(())
        });
        look.answered = answers > 0 || (looked.listed && look.failed.is_empty());
        self.listed_all = looked.listed && !looked.hidden;
        if let Some(first) = looked.first {
            debug!("some sockets in CLOSE_WAIT are left out: {first}");
        }
    }
}

/// The caller's own namespace, if it is the only one: found without a search.
fn own_alone(places: &BTreeSet<u32>) -> Option<Netns> {
    let own = host::own().ok()?;
    (places.len() == 1 && places.contains(&own.inode)).then_some(own)
}

impl Look {
    fn at(&mut self, netns: &Netns) -> Result<()> {
        match host::close_wait_sockets(netns) {
            Ok(found) => {
                let (seen_ns, now_ns) = (self.time_ns, host::monotonic_ns());
                self.sockets.extend(found.iter().map(|it| seen(netns.inode, it, seen_ns, now_ns)));
                Ok(())
            }
            Err(error) => {
                self.failed.insert(netns.inode);
                Err(error)
            }
        }
    }
}

fn seen(netns: u32, found: &CloseWaitSocket, seen_ns: u64, now_ns: u64) -> Seen {
    let socket = &found.socket;
    let silent_ns = u64::from(found.silent_ms.unwrap_or(0)) * 1_000_000;
    let told = CloseWaiting {
        cookie: socket.cookie,
        netns,
        tuple: seeding::tuple(socket),
        seen_ns,
        since_ns: now_ns.saturating_sub(silent_ns).min(seen_ns),
        accepted: socket.inode != 0,
        holder: None,
    };
    Seen { told, inode: socket.inode }
}
