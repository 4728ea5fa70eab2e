//! Clients that close first towards few destinations, so that they pay with local ports.

use super::super::{
    command::again,
    facts::Facts,
    finding::{Finding, Futile, Severity, process},
    words::{count, endpoint, number, percent},
};
use crate::stats::snapshot::{Closer, Destination};

/// Active closes per second below which nothing fills up.
const BUSY_PER_S: f64 = 5.0;
/// Part of a destination's ports that its TIME_WAITs take, or will if it goes on so.
const MUCH: f64 = 0.25;
/// How long each close keeps its port: TCP_TIMEWAIT_LEN of
/// [`tcp.h`](https://github.com/torvalds/linux/blob/v6.12/include/net/tcp.h).
const TIME_WAIT_S: f64 = 60.0;

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    let clients = facts.snapshot.closers.iter().flatten();
    let clients = clients.filter(|row| !row.other && row.role == Some("client"));
    clients.filter_map(|row| finding(facts, row)).collect()
}

fn finding(facts: &Facts, row: &Closer) -> Option<Finding> {
    let per_s = row.active_closes as f64 / facts.snapshot.elapsed_s.max(1.0);
    let (destination, filled) = fullest(facts, row).filter(|(_, filled)| *filled >= MUCH)?;
    let who = process(row.comm.as_deref(), row.pid).filter(|_| per_s >= BUSY_PER_S)?;
    let remote = endpoint(destination.raddr.as_deref()?, destination.rport?);
    let share = row.share.map_or(String::new(), |share| format!(", {} of all", percent(share)));
    Some(Finding {
        id: "client_closes_first",
        severity: Severity::Notice,
        netns: row.netns,
        pid: row.pid,
        comm: row.comm.clone(),
        what: format!(
            "{who} closed first {} times as a client ({}/s{share}); towards {remote} that keeps {} \
             of the local ports busy if it goes on so",
            count(row.active_closes),
            number(per_s),
            percent(filled.min(1.0)),
        ),
        why: "TIME_WAIT is at the end that closes first; at a client each keeps a local port for \
              60 s, at a server it keeps none"
            .to_owned(),
        do_first: format!(
            "keep connections open in {who} (keep-alive, a pool), or let the server close first: \
             it then has the TIME_WAIT, without a local port"
        ),
        then: Vec::new(),
        futile: vec![Futile::new(
            "SO_LINGER 0",
            "RST instead of FIN leaves no TIME_WAIT, and loses what the peer has not read"
                .to_owned(),
        )],
        check: format!("`{}` no longer names {who}", again(&facts.entry(row.netns))),
    })
}

/// Where its ports fill up most, and how far: now, or if it goes on so.
fn fullest<'a>(facts: &'a Facts, row: &Closer) -> Option<(&'a Destination, f64)> {
    let towards = facts.destinations().filter(|it| it.netns == row.netns && it.pid == row.pid);
    let filled = |it: &'a Destination| {
        let ports = it.ports_available.filter(|ports| *ports > 0)? as f64;
        let to_come = it.opens_per_s.unwrap_or(0.0) * TIME_WAIT_S;
        Some((it, (it.ports_time_wait as f64).max(to_come) / ports))
    };
    towards.filter_map(filled).max_by(|(_, one), (_, other)| one.total_cmp(other))
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{closer, destination, healthy},
        *,
    };

    fn found(role: &'static str, closes: u64, destination: Destination) -> Option<Finding> {
        let mut facts = healthy();
        facts.snapshot.closers = Some(vec![closer(role, closes)]);
        facts.snapshot.destinations = Some(vec![destination]);
        find(&facts).pop()
    }

    #[test]
    fn a_client_that_fills_its_ports_is_named() {
        let finding = found("client", 300, destination(300)).unwrap();
        assert_eq!((finding.pid, finding.comm.as_deref()), (Some(90), Some("client")));
        assert!(finding.what.contains("30.0/s"), "{}", finding.what);
        let young = Destination { opens_per_s: Some(30.0), ..destination(20) };
        assert!(found("client", 300, young).is_some(), "it will fill them");
    }

    #[test]
    fn who_fills_nothing_or_is_a_server_is_not() {
        assert_eq!(found("server", 300, destination(300)), None);
        assert_eq!(found("client", 49, destination(300)), None, "it has stopped");
        assert_eq!(found("client", 300, destination(100)), None, "there are ports enough");
        let others = Destination { pid: Some(91), ..destination(300) };
        assert_eq!(found("client", 300, others), None, "somebody else takes them");
    }
}
