//! Connections that peers cut, or that time out.

use super::super::{
    facts::Facts,
    finding::{Finding, Severity},
    words::{count, percent},
};

/// Fewer are accidents.
const MANY: u64 = 20;
/// Part of all closes.
const MUCH: f64 = 0.1;

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    finding(facts).into_iter().collect()
}

fn finding(facts: &Facts) -> Option<Finding> {
    let closes = facts.snapshot.closes.as_ref()?;
    // Over loopback one end's RST is the other's: what our own processes cut is told of them.
    let theirs = closes.reset_remote?.saturating_sub(closes.reset_local?);
    let all = closes.active + closes.passive + closes.simultaneous + closes.reset;
    let ratio = theirs as f64 / all.max(1) as f64;
    (theirs >= MANY && ratio >= MUCH).then(|| Finding {
        id: "cut_by_peers",
        severity: Severity::Notice,
        netns: None,
        pid: None,
        comm: None,
        what: format!(
            "{} established connections were cut by peers or timed out, {} of all closes",
            count(theirs),
            percent(ratio),
        ),
        why: "RST instead of FIN says that the peer had no such connection any more, closed with \
              unread data, or that something between forgot it: a load balancer or NAT whose idle \
              timeout is shorter than ours"
            .to_owned(),
        do_first: "let idle connections be closed here before they are forgotten there: an idle \
                   timeout of the pool below that of the load balancer, or keepalive"
            .to_owned(),
        then: Vec::new(),
        futile: Vec::new(),
        check: "`closes.reset_remote` of `twtrace top --json` grows no more".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::testing::healthy, *};
    use crate::stats::snapshot::Closes;

    #[test]
    fn what_our_own_processes_cut_is_not_their_peers() {
        let found = |local, remote, active| {
            let mut facts = healthy();
            facts.snapshot.closes = Some(Closes {
                active,
                passive: 0,
                simultaneous: 0,
                reset: local + remote,
                reset_local: Some(local),
                reset_remote: Some(remote),
            });
            !find(&facts).is_empty()
        };
        assert!(found(0, 20, 100));
        assert!(!found(20, 20, 100), "over loopback");
        assert!(!found(0, 19, 0) && !found(0, 20, 1_000));
    }
}
