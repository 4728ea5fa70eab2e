//! Makes a moment of a Snapshot and of what is asked besides: our own cost, and conntrack.

use super::moment::{Costs, Moment};
use crate::{
    cmd::cost::CostMeter,
    host,
    stats::snapshot::Snapshot,
    view::prometheus::{self, Floor, Own},
};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Observer {
    /// How many names a label has.
    top: usize,
    cost: CostMeter,
    reach: host::Reach,
    floor: Floor,
    /// Whose connection tracking is asked; `None` if it is not known where we are.
    netns: Option<host::Netns>,
}

impl Observer {
    pub(super) fn new(top: usize, reach: host::Reach) -> Self {
        Self {
            top,
            cost: CostMeter::new(reach.clone()),
            reach,
            floor: Floor::default(),
            netns: host::own().ok(),
        }
    }

    /// The moment of `snapshot`, which was taken at `wall_ns`.
    pub(super) fn observe(&mut self, snapshot: Snapshot, wall_ns: u64, costs: &Costs) -> Moment {
        let own = self.own(wall_ns, costs);
        let mut families = prometheus::families(&snapshot, &own, self.top);
        self.floor.hold(&mut families);
        Moment::new(snapshot, families)
    }

    fn own(&mut self, wall_ns: u64, costs: &Costs) -> Own {
        let cost = self.cost.read();
        let conntrack = self.netns.as_ref().and_then(|netns| host::conntrack(netns).ok());
        let (scrapes, rendering, crowded_out) = costs.read();
        Own {
            taken_s: wall_ns as f64 / 1e9,
            cpu_s: host::own_cpu().as_secs_f64(),
            rss_bytes: cost.rss_bytes,
            bpf_cpu_ratio: cost.bpf_cpu_pct.map(|percent| percent / 100.0),
            helper_up: self.reach.has_helper().then(|| !self.reach.is_lost()),
            scrapes,
            rendering_s: rendering.as_secs_f64(),
            crowded_out,
            conntrack: conntrack.map(|it| (it.count, it.max)),
        }
    }
}
