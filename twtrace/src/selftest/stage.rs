//! Where the scenes are played: each in a thread of its own, which lives in a
//! network namespace of its own until nobody looks at that any more.

use std::{
    sync::mpsc::{Receiver, Sender, TryRecvError, channel},
    thread,
};

use anyhow::{Context, Result, anyhow};

use super::{
    case::Done,
    scene::Scene,
    scenes::{ROWS, Row},
};
use crate::host::{self, Netns, NetnsCounters, PrivateNetns};

/// What the namespaces of all scenes have: nothing is reused unless a scene asks for it.
const SYSCTLS: [(&str, &str); 1] = [("ipv4/tcp_tw_reuse", "0")];

/// Every scene, ready to be played.
pub struct Stage {
    pub(super) actors: Vec<Actor>,
}

impl Stage {
    /// Makes the namespaces. They have to be there before anything is attached,
    /// so that there are counters for each.
    ///
    /// # Errors
    /// Without the rights to make network namespaces.
    pub fn set(is_quick: bool) -> Result<Self> {
        let rows = ROWS.iter().filter(|row| !(is_quick && row.slow));
        Ok(Self { actors: rows.map(Actor::new).collect::<Result<_>>()? })
    }
}

/// What a scene leaves for the judge.
pub(super) struct Played {
    pub(super) done: Done,
    /// What the kernel counted in a namespace that is gone.
    pub(super) last_words: Option<NetnsCounters>,
}

/// A scene, its thread and its namespace.
pub(super) struct Actor {
    pub(super) row: Row,
    pub(super) inode: u32,
    /// `None` if the scene's namespace is to go.
    netns: Option<Netns>,
    /// Begins the scene; dropped, it ends the thread.
    cue: Sender<()>,
    outcome: Receiver<Result<Played>>,
}

impl Actor {
    fn new(row: &Row) -> Result<Self> {
        let row = *row;
        let (entered, inside) = channel();
        let (cue, on_cue) = channel();
        let (sender, outcome) = channel();
        thread::Builder::new()
            .name("scene".to_owned())
            .spawn(move || life(row, &entered, &on_cue, &sender))
            .context("cannot start a thread; raise the limit on tasks (ulimit -u)")?;
        let netns = inside.recv().map_err(|_| anyhow!("a scene's thread ended"))??;
        let inode = netns.inode;
        let netns = (!row.leaves).then_some(netns);
        Ok(Self { row, inode, netns, cue, outcome })
    }

    pub(super) fn play(&self) {
        // If nobody hears it the outcome will say so.
        let _ = self.cue.send(());
    }

    /// What it did, once it has; `None` as long as it plays.
    pub(super) fn outcome(&self) -> Option<Result<Played>> {
        match self.outcome.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(anyhow!("the scene broke off"))),
        }
    }

    /// What the kernel has counted in its namespace.
    pub(super) fn counters(&self, played: &Played) -> Result<NetnsCounters> {
        match (&self.netns, played.last_words) {
            (Some(netns), _) => host::tcp_counters(netns),
            (None, Some(last_words)) => Ok(last_words),
            (None, None) => Err(anyhow!("the namespace is gone, and nobody read its counters")),
        }
    }
}

/// The thread's life.
fn life(
    row: Row,
    entered: &Sender<Result<Netns>>,
    on_cue: &Receiver<()>,
    outcome: &Sender<Result<Played>>,
) {
    let Ok(own) = enter(entered) else {
        return;
    };
    if on_cue.recv().is_err() {
        return;
    }
    let played = play(row, own);
    // Nobody listens when the run was broken off.
    let _ = outcome.send(played);
    if !row.leaves {
        // A namespace that only a descriptor holds is not found by others, such
        // as whoever reads the kernel's counters.
        let _ = on_cue.recv();
    }
}

fn enter(entered: &Sender<Result<Netns>>) -> Result<PrivateNetns, ()> {
    let (made, handle) = match make() {
        Ok((made, handle)) => (Some(made), Ok(handle)),
        Err(error) => (None, Err(error)),
    };
    let is_heard = entered.send(handle).is_ok();
    made.filter(|_| is_heard).ok_or(())
}

/// A namespace, and another handle of it.
fn make() -> Result<(PrivateNetns, Netns)> {
    let made = PrivateNetns::enter()?;
    SYSCTLS.iter().try_for_each(|(key, value)| made.set(key, value))?;
    Ok((made, host::own()?))
}

fn play(row: Row, own: PrivateNetns) -> Result<Played> {
    let mut scene = Scene::new(own, row.family);
    if row.family.needs_ipv6() && !host::has_ipv6() {
        scene.done.impossible = Some("IPv6 is switched off".to_owned());
    } else {
        (row.play)(&mut scene)?;
    }
    let last_words = if row.leaves {
        let mut counters = host::tcp_counters(scene.netns.handle())?;
        // None is alive when the namespace is gone.
        counters.tw_sockets = Some(0);
        Some(counters)
    } else {
        None
    };
    Ok(Played { done: scene.done, last_words })
}
