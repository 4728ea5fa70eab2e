//! A run: one session for all scenes, and a judge who waits until it is quiet.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use twtrace_common::Counters;

use super::{
    case::{Case, Rules, Seen},
    scenes::Row,
    seen::{Sight, own_pid},
    stage::{Actor, Played, Stage},
};
use crate::{
    frame::{Frame, Totals},
    pipeline::Pipeline,
    source::Source,
    stats::snapshot::Snapshot,
};

/// Between two looks at the totals.
pub const INTERVAL: Duration = Duration::from_millis(200);
/// All together take no longer, but those that wait for a minute.
const QUICK: Duration = Duration::from_secs(60);
/// These.
const SLOW: Duration = Duration::from_secs(80);
/// The kernel purges in the background, seconds later on a busy host.
const REST: Duration = Duration::from_secs(10);
/// So many looks alike, and nothing is under way any more.
const QUIET_LOOKS: u32 = 3;

/// A stage, and the session that watches it.
pub struct Selftest {
    stage: Stage,
    watch: Watch,
}

impl Selftest {
    /// `source` must watch every namespace of `stage`.
    pub fn new(stage: Stage, source: Source, max_connections: usize) -> Self {
        Self { stage, watch: Watch::new(source, max_connections) }
    }

    /// Plays every scene and judges it.
    ///
    /// # Errors
    /// If the session breaks off. A scene that cannot be played is a case that failed.
    pub fn run(mut self) -> Result<Vec<Case>> {
        // Now everything is attached and seeded.
        self.watch.look()?;
        self.stage.actors.iter().for_each(Actor::play);
        // At once, since the number of a namespace that is gone may be given to
        // somebody else's.
        let mut cases = self.judge(&self.cast(|row| row.leaves), QUICK)?;
        // In a minute what is left of these will have expired.
        cases.extend(self.judge(&self.cast(|row| !row.leaves && !row.slow), QUICK)?);
        cases.extend(self.judge(&self.cast(|row| row.slow), SLOW)?);
        self.watch.source.join()?;
        Ok(cases.into_values().collect())
    }

    /// The places of the scenes that `belongs` names.
    fn cast(&self, belongs: impl Fn(&Row) -> bool) -> Vec<usize> {
        let actors = self.stage.actors.iter().enumerate();
        actors.filter(|(_, actor)| belongs(&actor.row)).map(|(place, _)| place).collect()
    }

    /// Waits until these scenes are over and nothing happens there any more;
    /// gives the cases by their place.
    fn judge(&mut self, places: &[usize], limit: Duration) -> Result<BTreeMap<usize, Case>> {
        let all = &self.stage.actors;
        let namespaces: Vec<u32> = all.iter().map(|actor| actor.inode).collect();
        let actors: Vec<&Actor> = places.iter().map(|place| &all[*place]).collect();
        if actors.is_empty() {
            return Ok(BTreeMap::new());
        }
        let played = self.watch.played(&actors, limit)?;
        self.watch.quiet(&actors, &played)?;
        let cases = self.watch.cases(&actors, &played, &namespaces)?;
        Ok(places.iter().copied().zip(cases).collect())
    }
}

/// How a scene went.
type Outcome = Result<Played>;

/// What the session has told so far.
struct Watch {
    source: Source,
    pipeline: Pipeline,
    totals: Totals,
    snapshot: Option<Snapshot>,
}

impl Watch {
    fn new(source: Source, max_connections: usize) -> Self {
        // Every row is looked at.
        let pipeline = Pipeline::new(source.meta.clone(), max_connections, usize::MAX);
        Self { source, pipeline, totals: Totals::default(), snapshot: None }
    }

    /// Takes in what comes until the next snapshot.
    fn look(&mut self) -> Result<()> {
        while let Some(frame) = self.source.frames.blocking_recv() {
            let snapshot = self.pipeline.apply(&frame).context(
                "the BPF object writes other records than this version reads: leave out --bpf-object",
            )?;
            if let Frame::Totals(totals) = frame {
                self.totals = totals;
            }
            if snapshot.is_some() {
                self.snapshot = snapshot;
                return Ok(());
            }
        }
        bail!("the hooks were detached before the end; -v says more")
    }

    fn counters(&self, netns: u32) -> Counters {
        let found = self.totals.by_netns.iter().find(|(inode, _)| *inode == Some(netns));
        found.map_or(Counters::ZERO, |(_, counters)| *counters)
    }

    /// Looks until every scene is over.
    fn played(&mut self, actors: &[&Actor], limit: Duration) -> Result<Vec<Outcome>> {
        let start = Instant::now();
        let mut outcomes: Vec<Option<Outcome>> = actors.iter().map(|_| None).collect();
        while outcomes.iter().any(Option::is_none) && start.elapsed() < limit {
            self.look()?;
            for (actor, outcome) in actors.iter().zip(&mut outcomes) {
                if outcome.is_none() {
                    *outcome = actor.outcome();
                }
            }
        }
        let too_long = || Err(anyhow::anyhow!("the scene took longer than {} s", limit.as_secs()));
        Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(too_long)).collect())
    }

    /// Looks until nothing happens any more in the namespaces of these scenes;
    /// not for ever, since the judge will say what is wrong.
    fn quiet(&mut self, actors: &[&Actor], played: &[Outcome]) -> Result<()> {
        let start = Instant::now();
        // Of those that go, the purge is yet to come.
        let leave = actors.iter().any(|actor| actor.row.leaves);
        let (mut alike, mut last) = (0, None);
        while start.elapsed() < REST && alike < QUIET_LOOKS && !self.all_purged(actors, played) {
            self.look()?;
            let now: Vec<Counters> =
                actors.iter().map(|actor| self.counters(actor.inode)).collect();
            alike = if !leave && last.as_ref() == Some(&now) { alike + 1 } else { 0 };
            last = Some(now);
        }
        Ok(())
    }

    /// Whether these namespaces are all gone, with what was in them.
    fn all_purged(&self, actors: &[&Actor], played: &[Outcome]) -> bool {
        let is_purged = |(actor, played): (&&Actor, &Outcome)| {
            let counters = self.counters(actor.inode);
            let ended: u64 = counters.ends.iter().sum();
            let born = counters.births.iter().sum();
            actor.row.leaves && (played.is_err() || (born > 0 && ended >= born))
        };
        actors.iter().zip(played).all(is_purged)
    }

    fn cases(
        &self,
        actors: &[&Actor],
        played: &[Outcome],
        namespaces: &[u32],
    ) -> Result<Vec<Case>> {
        let snapshot = self.snapshot.as_ref().context("there was no snapshot")?;
        let sight = Sight {
            hooks: self.source.meta.hooks,
            tw_counts_births: self.source.meta.tw_counts_births == Some(true),
            snapshot,
            own_pid: own_pid(snapshot, namespaces),
        };
        let missed = self.totals.missed.unwrap_or(0);
        let rules = Rules { words: &snapshot.probes.exactness, missed };
        let case = |(actor, played): (&&Actor, &Outcome)| {
            let judged = match played {
                Ok(played) => self.compare(&sight, actor, played, rules),
                Err(error) => return Case::not_played(actor.row.name, error),
            };
            judged.unwrap_or_else(|error| Case::not_played(actor.row.name, &error))
        };
        Ok(actors.iter().zip(played).map(case).collect())
    }

    fn compare(
        &self,
        sight: &Sight<'_>,
        actor: &Actor,
        played: &Played,
        rules: Rules<'_>,
    ) -> Result<Case> {
        let kernel = actor.counters(played)?;
        let counters = self.counters(actor.inode);
        let mut done = played.done.clone();
        let mut seen: Seen = sight.of(actor.inode, &counters);
        sight.compare_with_kernel(&kernel, &counters, &mut done, &mut seen);
        Ok(Case::judge(actor.row.name, &done, &seen, rules))
    }
}
