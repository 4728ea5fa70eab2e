//! What happened over time, in memory that does not grow with the length of the run.
//!
//! Each tick ends a bucket. When there are too many, neighbours merge in pairs, and from then
//! on a bucket takes twice as many ticks: sums are kept, and detail is given up evenly.

mod bucket;
mod count;
mod events;
mod fullness;
mod heat;

pub use self::{
    bucket::Bucket,
    count::{Count, Counts},
    events::{Gap, SysctlChange},
    fullness::{DESTINATIONS, Destination, Line, Passed},
    heat::{Heat, LATENCIES, latency_from_ns},
};
use self::{events::Bounded, fullness::Fullness};
use super::snapshot::{SearchOp, Snapshot};
use crate::frame::Meta;

/// There are never more of them.
pub const MAX_BUCKETS: usize = 600;
/// Changes of settings, and damaged stretches, that are kept one by one.
const MAX_EVENTS: usize = 100;
/// A wall clock that is further off than this was set.
const WALL_TOLERANCE_NS: u64 = 1_000_000_000;

/// What happened over time in one run.
#[derive(Debug)]
pub struct Timeline {
    started_ns: u64,
    anchor: Option<Anchor>,
    wall_was_set: bool,
    last: Counts,
    buckets: Vec<Bucket>,
    /// Ticks that a full bucket has taken.
    ticks_each: u64,
    /// Searches since the last tick, by connect and by bind.
    pending: [Heat; 2],
    fullness: Fullness,
    sysctls: Bounded<SysctlChange>,
    gaps: Bounded<Gap>,
}

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    time_ns: u64,
    wall_ns: u64,
}

impl Anchor {
    fn wall_ns(self, time_ns: u64) -> u64 {
        if time_ns >= self.time_ns {
            self.wall_ns.saturating_add(time_ns - self.time_ns)
        } else {
            self.wall_ns.saturating_sub(self.time_ns - time_ns)
        }
    }
}

impl Timeline {
    /// Of the run `meta`, before its first tick.
    pub fn new(meta: &Meta) -> Self {
        Self {
            started_ns: meta.started_ns,
            anchor: None,
            wall_was_set: false,
            last: Counts::ZERO,
            buckets: Vec::new(),
            ticks_each: 1,
            pending: [Heat::EMPTY; 2],
            fullness: Fullness::default(),
            sysctls: Bounded::new(MAX_EVENTS),
            gaps: Bounded::new(MAX_EVENTS),
        }
    }

    /// An interval has passed: `snapshot` is what was true at its end, `time_ns` on the clock of
    /// records and `wall_ns` on the wall clock. Its counts are cumulative.
    pub fn tick(&mut self, time_ns: u64, wall_ns: u64, snapshot: &Snapshot) {
        let anchor = *self.anchor.get_or_insert(Anchor { time_ns, wall_ns });
        self.wall_was_set |= anchor.wall_ns(time_ns).abs_diff(wall_ns) > WALL_TOLERANCE_NS;
        let now = Counts::of(snapshot);
        let destinations = snapshot.destinations.as_deref();
        for moved in self.fullness.look(time_ns, destinations) {
            // Its place is another's now.
            self.buckets.iter_mut().for_each(|bucket| bucket.used_ratio[moved] = None);
        }
        let from_ns = self.buckets.last().map_or(self.started_ns, |last| last.to_ns);
        let searches = std::mem::replace(&mut self.pending, [Heat::EMPTY; 2]);
        self.push(Bucket {
            from_ns,
            to_ns: time_ns.max(from_ns),
            ticks: 1,
            grown: now.since(&self.last),
            time_wait_now: snapshot.time_wait.as_ref().and_then(|minis| minis.now),
            used_ratio: self.fullness.now(destinations),
            searches,
        });
        self.last = now;
    }

    /// A port search took `latency_ns` at most. It belongs to the interval under way.
    pub fn searched(&mut self, op: SearchOp, latency_ns: u64) {
        self.pending[heat::index(op)].record(latency_ns);
    }

    /// The setting `name` of the namespace `netns` was changed; `None` where its value could not
    /// be read.
    pub fn sysctl_changed(
        &mut self,
        time_ns: u64,
        netns: u32,
        name: &str,
        before: Option<&str>,
        after: Option<&str>,
    ) {
        let owned = |value: Option<&str>| value.map(str::to_owned);
        let (before, after) = (owned(before), owned(after));
        self.sysctls.push(SysctlChange { time_ns, netns, name: name.to_owned(), before, after });
    }

    /// The recording is damaged here: nothing is known of what happened.
    pub fn gap(&mut self, from_ns: u64, to_ns: u64, why: &str) {
        self.gaps.push(Gap { from_ns, to_ns: to_ns.max(from_ns), why: why.to_owned() });
    }

    fn push(&mut self, bucket: Bucket) {
        match self.buckets.last_mut() {
            // One of no length has no rate.
            Some(last) if last.ticks < self.ticks_each || bucket.to_ns == bucket.from_ns => {
                last.merge(&bucket);
            }
            _ => self.buckets.push(bucket),
        }
        if self.buckets.len() > MAX_BUCKETS {
            self.halve();
        }
    }

    fn halve(&mut self) {
        self.buckets = self.buckets.chunks(2).filter_map(Bucket::merged).collect();
        self.ticks_each *= 2;
    }
}

/// What views show.
impl Timeline {
    /// When counting started, on the clock of records.
    pub fn started_ns(&self) -> u64 {
        self.started_ns
    }

    /// The last tick; the start, if there was none.
    pub fn ended_ns(&self) -> u64 {
        self.buckets.last().map_or(self.started_ns, |last| last.to_ns)
    }

    /// In order, without gaps between them.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// What the wall clock would have said at `time_ns`, in nanoseconds since 1970, by what it
    /// said at the first tick; `None` before that.
    pub fn wall_ns(&self, time_ns: u64) -> Option<u64> {
        self.anchor.map(|anchor| anchor.wall_ns(time_ns))
    }

    /// Whether the wall clock was set meanwhile.
    pub fn wall_was_set(&self) -> bool {
        self.wall_was_set
    }

    /// The destinations of [`Bucket::used_ratio`], by place there.
    pub fn destinations(&self) -> impl Iterator<Item = Option<&Destination>> {
        self.fullness.destinations()
    }

    /// When destinations passed the knee, and when they had no port left, for the first time.
    pub fn passed(&self) -> &[Passed] {
        self.fullness.passed()
    }

    /// Changes of settings, the first ones.
    pub fn sysctls(&self) -> &[SysctlChange] {
        self.sysctls.kept()
    }

    /// Changes of settings after those.
    pub fn sysctls_left_out(&self) -> u64 {
        self.sysctls.left_out()
    }

    /// Damaged stretches, the first ones.
    pub fn gaps(&self) -> &[Gap] {
        self.gaps.kept()
    }

    /// Damaged stretches after those.
    pub fn gaps_left_out(&self) -> u64 {
        self.gaps.left_out()
    }
}

#[cfg(test)]
mod tests;
