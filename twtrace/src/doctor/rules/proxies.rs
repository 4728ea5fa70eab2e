//! Processes that pay with TIME_WAITs on both sides.

use super::super::{
    command::again,
    facts::Facts,
    finding::{Finding, Severity, process},
    words::count,
};
use crate::stats::snapshot::Proxy;

/// Fewer on either side cost nothing.
const MANY: u64 = 1_000;

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    facts.snapshot.proxies.iter().flatten().filter_map(|row| finding(facts, row)).collect()
}

fn finding(facts: &Facts, row: &Proxy) -> Option<Finding> {
    let who = process(row.comm.as_deref(), row.pid)?;
    let pays = row.outbound_time_wait >= MANY && row.inbound_time_wait >= MANY;
    pays.then(|| Finding {
        id: "proxy",
        severity: Severity::Notice,
        netns: row.netns,
        pid: row.pid,
        comm: row.comm.clone(),
        what: format!(
            "{who} has {} TIME_WAITs of connections that it opened, and {} of those that it accepted",
            count(row.outbound_time_wait),
            count(row.inbound_time_wait),
        ),
        why: "it closes first on both sides: towards its servers each keeps a local port for 60 s, \
              towards its clients each keeps one of the client's ports"
            .to_owned(),
        do_first: format!("turn on keep-alive in {who} towards its servers first, then towards its clients"),
        then: Vec::new(),
        futile: Vec::new(),
        check: format!("`{}` no longer names {who}", again(&facts.entry(row.netns))),
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{NETNS, healthy},
        *,
    };

    #[test]
    fn it_must_pay_on_both_sides() {
        let found = |outbound_time_wait, inbound_time_wait| {
            let mut facts = healthy();
            facts.snapshot.proxies = Some(vec![Proxy {
                pid: Some(90),
                comm: Some("proxy".to_owned()),
                netns: Some(NETNS),
                outbound_time_wait,
                inbound_time_wait,
            }]);
            find(&facts).pop()
        };
        assert_eq!(found(1_000, 1_000).unwrap().pid, Some(90));
        assert_eq!((found(999, 5_000), found(5_000, 999)), (None, None));
    }
}
