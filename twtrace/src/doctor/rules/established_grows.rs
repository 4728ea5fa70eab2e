//! Connections that are opened and never closed.

use super::super::{
    command::again,
    facts::Facts,
    finding::{Finding, Severity, process},
    words::{count, number},
};
use crate::census::report::Process;

/// Fewer are a process that starts.
const MANY: u64 = 200;
/// Part of those opened that were closed.
const FEW: f64 = 0.1;
const ESTABLISHED: &str = "ESTABLISHED";

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    finding(facts).into_iter().collect()
}

fn finding(facts: &Facts) -> Option<Finding> {
    let pairs = &facts.snapshot.transitions.as_ref()?.by_pair;
    let count_of = |wanted: &dyn Fn(&str, &str) -> bool| -> u64 {
        let split = pairs.iter().filter_map(|(pair, count)| Some((pair.split_once('>')?, *count)));
        split.filter(|((old, new), _)| wanted(old, new)).map(|(_, count)| count).sum()
    };
    let opened = count_of(&|_, new| new == ESTABLISHED);
    let closed = count_of(&|old, _| old == ESTABLISHED);
    if opened < MANY || closed as f64 > opened as f64 * FEW {
        return None;
    }
    let holder = most(facts);
    let pid = holder.and_then(|it| it.pid);
    let comm = holder.and_then(|it| it.comm.clone());
    let netns = holder.and_then(|it| it.netns);
    let who = process(comm.as_deref(), pid);
    let has = holder.zip(who.as_ref()).map_or(String::new(), |(it, who)| {
        format!("; {who} has most of them, {}", count(it.states[ESTABLISHED]))
    });
    let per_s = (opened - closed) as f64 / facts.snapshot.elapsed_s.max(1.0);
    Some(Finding {
        id: "established_grows",
        severity: Severity::Notice,
        netns,
        pid,
        comm,
        what: format!(
            "{} connections were established and {} left that state, {} more a second{has}",
            count(opened),
            count(closed),
            number(per_s),
        ),
        why: "each holds a file descriptor, and at a client a local port, for as long as nobody \
              closes it; a peer that is gone without FIN is found by keepalive alone"
            .to_owned(),
        do_first: "close connections that are idle, and limit how many there may be; set \
                   SO_KEEPALIVE where peers vanish"
            .to_owned(),
        then: Vec::new(),
        futile: Vec::new(),
        check: format!("`{}`: as many leave ESTABLISHED as enter it", again(&facts.entry(netns))),
    })
}

fn most(facts: &Facts) -> Option<&Process> {
    let rows = facts.census.iter().flat_map(|census| &census.by_process);
    rows.filter(|it| it.pid.is_some()).max_by_key(|it| it.states[ESTABLISHED])
}

#[cfg(test)]
mod tests {
    use super::{super::testing::healthy, *};
    use crate::stats::snapshot::Transitions;

    #[test]
    fn what_opens_and_does_not_close_is_found() {
        let found = |opened, closed| {
            let mut facts = healthy();
            let pairs = [("SYN_RECV>ESTABLISHED", opened), ("ESTABLISHED>CLOSE_WAIT", closed)];
            let by_pair = pairs.map(|(pair, count)| (pair.to_owned(), count)).into();
            facts.snapshot.transitions = Some(Transitions { total: opened + closed, by_pair });
            find(&facts).pop()
        };
        let finding = found(200, 20).unwrap();
        assert!(finding.what.contains("18.0 more a second"), "{}", finding.what);
        assert_eq!((found(200, 21), found(199, 0)), (None, None));
    }
}
