//! Connection tracking that is full: the same symptom as ports that run out, another cause.

use super::super::{
    command::again,
    facts::{Conntrack, Facts, Namespace},
    finding::{Finding, Futile, Remedy, Severity},
    words::{count, percent},
};
use crate::stats::thresholds::NEARLY_FULL;

const MAX: &str = "net.netfilter.nf_conntrack_max";
const TIME_WAIT: &str = "net.netfilter.nf_conntrack_tcp_timeout_time_wait";

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    let found = facts.namespaces.iter().filter_map(|(netns, namespace)| {
        finding(facts, *netns, namespace, namespace.conntrack.as_ref().ok()?)
    });
    found.collect()
}

fn finding(facts: &Facts, netns: u32, namespace: &Namespace, seen: &Conntrack) -> Option<Finding> {
    let ratio = seen.count as f64 / seen.max.max(1) as f64;
    let severity = if seen.dropped + seen.early_drop + seen.insert_failed > 0 {
        Severity::Critical
    } else if seen.max > 0 && ratio >= NEARLY_FULL {
        Severity::Warning
    } else {
        return None;
    };
    let kept_s = facts.number(Some(netns), TIME_WAIT);
    let is_full = ratio >= NEARLY_FULL;
    Some(Finding {
        id: "conntrack",
        severity,
        netns: Some(netns),
        pid: None,
        comm: None,
        what: format!(
            "{} of {} conntrack entries ({}); meanwhile {} packets dropped, {} entries thrown out \
             early, {} inserts failed",
            count(seen.count),
            count(seen.max),
            percent(ratio),
            count(seen.dropped),
            count(seen.early_drop),
            count(seen.insert_failed),
        ),
        why: format!(
            "without an entry a packet is dropped, so that connects time out (ETIMEDOUT) rather \
             than fail at once as without a port (EADDRNOTAVAIL); an entry outlives its connection \
             by {} s (nf_conntrack_tcp_timeout_time_wait)",
            kept_s.map_or("-".to_owned(), |it| it.to_string()),
        ),
        do_first: "open fewer connections: keep them alive; leave traffic that needs neither NAT \
                   nor state untracked (NOTRACK)"
            .to_owned(),
        then: is_full.then(|| raise(facts, seen)).into_iter().collect(),
        futile: vec![Futile::new(
            "net.ipv4.tcp_tw_reuse, ip_local_port_range",
            "local ports are not what is missing: the table of conntrack has limits of its own"
                .to_owned(),
        )],
        check: format!("`{}`: entries below 80 %, and none dropped", again(&namespace.entry)),
    })
}

/// The limit is one for all namespaces, and set in the first
/// ([`nf_conntrack_standalone.c`](https://github.com/torvalds/linux/blob/v6.12/net/netfilter/nf_conntrack_standalone.c)).
fn raise(facts: &Facts, seen: &Conntrack) -> Remedy {
    let size = facts.slab_bytes("nf_conntrack");
    let size = size.map_or(String::new(), |it| format!(" ({it} bytes an entry)"));
    Remedy {
        command: format!("sysctl -w {MAX}={}", seen.max * 2),
        side_effects: format!(
            "more kernel memory{size}; it counts for all network namespaces, and is set in the first"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{NETNS, healthy},
        *,
    };

    fn found(seen: Conntrack) -> Option<Finding> {
        let mut facts = healthy();
        facts.namespaces.get_mut(&NETNS).unwrap().conntrack = Ok(seen);
        find(&facts).pop()
    }

    const QUIET: Conntrack =
        Conntrack { count: 10, max: 100, dropped: 0, early_drop: 0, insert_failed: 0 };

    #[test]
    fn a_full_table_is_told_apart_from_ports_that_run_out() {
        assert_eq!(found(QUIET), None);
        let finding = found(Conntrack { count: 80, ..QUIET }).unwrap();
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.then[0].command.ends_with("nf_conntrack_max=200"));
        assert!(finding.futile[0].advice.contains("ip_local_port_range"));
        let finding = found(Conntrack { insert_failed: 1, ..QUIET }).unwrap();
        assert_eq!((finding.severity, finding.then.len()), (Severity::Critical, 0));
    }
}
