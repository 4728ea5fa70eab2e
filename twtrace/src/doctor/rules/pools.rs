//! Connection pools that keep too few connections, so that most are opened for one request.

use super::super::{
    command::again,
    facts::Facts,
    finding::{Finding, Severity, process},
    words::{count, endpoint, number},
};
use crate::stats::snapshot::{Closer, Destination};

/// Connections per second from which on a pool should have kept some.
const BUSY_PER_S: f64 = 10.0;
/// A single one may be at work.
const POOL: u64 = 2;
/// A connection that lives no longer has served about one request.
const ONE_REQUEST_S: f64 = 1.0;
/// Part of what it opens that it closes first itself.
const MOST: f64 = 0.5;

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    facts.destinations().filter_map(|row| finding(facts, row)).collect()
}

fn finding(facts: &Facts, row: &Destination) -> Option<Finding> {
    let per_s = row.opens_per_s.filter(|per_s| *per_s >= BUSY_PER_S)?;
    let kept = row.ports_used.saturating_sub(row.ports_time_wait);
    // Without a pool it is told by another rule who closes first.
    let lifetime_s = (kept >= POOL).then_some(kept as f64 / per_s)?;
    let who = process(row.comm.as_deref(), row.pid)?;
    if lifetime_s > ONE_REQUEST_S || !closes_them_first(facts, row, per_s) {
        return None;
    }
    let remote = endpoint(row.raddr.as_deref()?, row.rport?);
    Some(Finding {
        id: "pool_churn",
        severity: Severity::Notice,
        netns: row.netns,
        pid: row.pid,
        comm: row.comm.clone(),
        what: format!(
            "{who} has {} open to {remote}, opens {} a second and closes them first: a connection \
             lives {} s on average",
            count(kept),
            number(per_s),
            number(lifetime_s),
        ),
        why: "connections open = opened per second × lifetime (Little's law): a pool that keeps \
              fewer idle ones than are used at once closes the rest after one request each"
            .to_owned(),
        do_first: format!(
            "let the pool of {who} keep as many idle connections as it uses at once; many keep 2 \
             to a host unless told otherwise (Go: MaxIdleConnsPerHost)"
        ),
        then: Vec::new(),
        futile: Vec::new(),
        check: format!(
            "`{}`: fewer opened a second, and they live longer",
            again(&facts.entry(row.netns))
        ),
    })
}

fn closes_them_first(facts: &Facts, row: &Destination, per_s: f64) -> bool {
    let is_its =
        |it: &&Closer| it.pid == row.pid && it.netns == row.netns && it.role == Some("client");
    let closes = facts.snapshot.closers.iter().flatten().find(is_its).map(|it| it.active_closes);
    closes.is_some_and(|closes| closes as f64 >= per_s * MOST * facts.snapshot.elapsed_s.min(10.0))
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{closer, destination, healthy},
        *,
    };

    fn found(kept: u64, closes: u64) -> Option<Finding> {
        let mut facts = healthy();
        let row = destination(300);
        let row = Destination { ports_used: 300 + kept, opens_per_s: Some(30.0), ..row };
        facts.snapshot.destinations = Some(vec![row]);
        facts.snapshot.closers = Some(vec![closer("client", closes)]);
        find(&facts).pop()
    }

    #[test]
    fn few_that_stay_and_many_that_come_are_a_pool_too_small() {
        let finding = found(3, 300).unwrap();
        assert!(finding.what.contains("lives 0.1 s"), "{}", finding.what);
        assert_eq!(found(1, 300), None, "there is no pool");
        assert_eq!(found(100, 300), None, "they live for seconds");
        assert_eq!(found(3, 20), None, "the other end closes first");
    }
}
