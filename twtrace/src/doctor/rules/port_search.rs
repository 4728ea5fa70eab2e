//! Searches for a local port that cost CPU.

use super::super::{
    command::again,
    facts::Facts,
    finding::{Finding, Severity, process},
    words::{count, number},
};
use crate::stats::{
    snapshot::{BoundConnects, SearchingProcess},
    thresholds::CHEAP_PCT,
};

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    let searches = facts.snapshot.port_search.iter().flat_map(|it| &it.by_process);
    let processes = searches.filter(|row| !row.other && row.pid.is_some());
    processes.filter_map(|row| finding(facts, row)).collect()
}

fn finding(facts: &Facts, row: &SearchingProcess) -> Option<Finding> {
    let cpu = row.cpu_core_pct.filter(|cpu| *cpu >= CHEAP_PCT)?;
    let who = process(row.comm.as_deref(), row.pid)?;
    let bound = bound_first(facts, row);
    let bound_words = bound.map_or(String::new(), |it| {
        format!("; {} of its connects were bound to a port before", count(it.count))
    });
    let netns = bound.and_then(|it| it.netns);
    Some(Finding {
        id: "port_search",
        severity: Severity::Warning,
        netns,
        pid: row.pid,
        comm: row.comm.clone(),
        what: format!(
            "{who} spends {} % of a core on {} searches for a local port{bound_words}",
            number(cpu),
            count(row.count),
        ),
        why: "a search looks at one port after the other until one is free towards that remote \
              end: the fuller the range, the more of them; a bind without IP_BIND_ADDRESS_NO_PORT \
              needs one that is free towards all"
            .to_owned(),
        do_first: if bound.is_some() {
            format!(
                "set IP_BIND_ADDRESS_NO_PORT in {who} before it binds an address to connect from: \
                 the port is then chosen by connect(), for that remote end alone"
            )
        } else {
            format!("open fewer connections in {who}: keep them and use them again")
        },
        then: Vec::new(),
        futile: Vec::new(),
        check: format!("`{}`: less of a core", again(&facts.entry(netns))),
    })
}

fn bound_first<'a>(facts: &'a Facts, row: &SearchingProcess) -> Option<&'a BoundConnects> {
    let rows = facts.snapshot.port_search.iter().flat_map(|it| &it.bind_before_connect);
    rows.into_iter().find(|it| !it.other && it.pid == row.pid)
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{NETNS, healthy, port_search},
        *,
    };

    #[test]
    fn who_pays_is_named_with_the_cause() {
        let mut facts = healthy();
        facts.snapshot.port_search = Some(port_search(4.9));
        assert_eq!(find(&facts), []);
        facts.snapshot.port_search = Some(port_search(30.0));
        let [finding] = &find(&facts)[..] else { panic!("one finding") };
        assert!(finding.what.starts_with("client (pid 90) spends 30.0 % of a core"));
        assert!(finding.do_first.starts_with("open fewer"));
        if let Some(search) = &mut facts.snapshot.port_search {
            search.bind_before_connect.push(BoundConnects {
                other: false,
                pid: Some(90),
                comm: Some("client".to_owned()),
                netns: Some(NETNS),
                count: 500,
                in_range: Some(500),
            });
        }
        assert!(find(&facts)[0].do_first.contains("IP_BIND_ADDRESS_NO_PORT"));
    }
}
