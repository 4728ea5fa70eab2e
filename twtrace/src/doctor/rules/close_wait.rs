//! Processes that do not close what their peer has closed.

use super::super::{
    command::again,
    facts::Facts,
    finding::{Finding, Futile, Severity, process},
    words::{count, number},
};
use crate::{
    census::report::Process,
    stats::{snapshot::CloseWait, thresholds::is_leak},
};

const CLOSE_WAIT: &str = "CLOSE_WAIT";

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    let rows = facts.snapshot.close_wait.iter().flatten().filter(|row| is_leak(row));
    rows.map(|row| finding(facts, row)).collect()
}

fn finding(facts: &Facts, row: &CloseWait) -> Finding {
    let (pid, comm) = holder(facts, row);
    let who = process(comm.as_deref(), pid).unwrap_or("a process".to_owned());
    let not_accepted = row.unaccepted * 2 > row.count;
    Finding {
        id: "close_wait",
        severity: Severity::Warning,
        netns: row.netns,
        pid,
        comm: comm.clone(),
        what: what(row, &who),
        why:
            "CLOSE_WAIT ends when the process calls close(), and by nothing else: no timer and no \
              setting ends it; each holds a file descriptor and its buffers"
                .to_owned(),
        do_first: if not_accepted {
            format!("let {who} call accept() faster: most of these were never accepted")
        } else {
            format!(
                "let {who} close() a connection when it reads 0 bytes, on error paths too: the \
                 application never closes"
            )
        },
        then: Vec::new(),
        futile: vec![
            Futile::new(
                "net.ipv4.tcp_fin_timeout, tcp_tw_reuse",
                "they are about the end that closed first".to_owned(),
            ),
            Futile::new(
                "net.ipv4.tcp_keepalive_time",
                "the peer's kernel answers, as long as it remembers the connection".to_owned(),
            ),
        ],
        check: format!("`{}`: CLOSE_WAIT of {who} goes down", again(&facts.entry(row.netns))),
    }
}

/// Who holds them. The pipeline learns that now and then; what was seen at the end tells it, too.
fn holder(facts: &Facts, row: &CloseWait) -> (Option<u32>, Option<String>) {
    if row.pid.is_some() {
        return (row.pid, row.comm.clone());
    }
    let rows = facts.census.iter().flat_map(|census| &census.by_process);
    let here = rows.filter(|it| it.pid.is_some() && it.netns == row.netns);
    let most = here.max_by_key(|it| it.states[CLOSE_WAIT]);
    let holds_most = |it: &&Process| it.states[CLOSE_WAIT] * 2 >= row.count;
    most.filter(holds_most).map_or((None, row.comm.clone()), |it| (it.pid, it.comm.clone()))
}

fn what(row: &CloseWait, who: &str) -> String {
    let mut what = format!("{who} holds {} sockets in CLOSE_WAIT", count(row.count));
    if let Some(age) = row.oldest_s {
        what.push_str(&format!(", the oldest for {} s at least", number(age)));
    }
    if let Some(growth) = row.growth_per_min.filter(|growth| *growth >= 1.0) {
        what.push_str(&format!(", {} more a minute", number(growth)));
    }
    if row.unaccepted > 0 {
        what.push_str(&format!("; {} were not accepted yet", count(row.unaccepted)));
    }
    what
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{NETNS, healthy},
        *,
    };

    fn found(count: u64, oldest_s: f64, growth: Option<f64>, unaccepted: u64) -> Option<Finding> {
        let mut facts = healthy();
        facts.snapshot.close_wait = Some(vec![CloseWait {
            pid: Some(5),
            comm: Some("leaky".to_owned()),
            netns: Some(NETNS),
            count,
            unaccepted,
            oldest_s: Some(oldest_s),
            growth_per_min: growth,
            ..CloseWait::default()
        }]);
        find(&facts).pop()
    }

    #[test]
    fn many_that_are_old_or_grow_are_a_leak() {
        let finding = found(20, 31.0, None, 0).unwrap();
        assert!(finding.what.starts_with("leaky (pid 5) holds 20 sockets"), "{}", finding.what);
        assert!(finding.do_first.contains("never closes") && finding.then.is_empty());
        assert!(found(20, 1.0, Some(6.0), 0).is_some());
        assert_eq!(found(19, 31.0, Some(6.0), 0), None, "they are few");
        assert_eq!(found(500, 2.0, Some(0.0), 0), None, "it is about to close them");
        assert!(found(20, 31.0, None, 19).unwrap().do_first.contains("accept()"));
    }
}
