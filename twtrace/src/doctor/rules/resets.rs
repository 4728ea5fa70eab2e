//! Processes that cut connections instead of closing them.

use super::super::{
    command::again,
    facts::{Facts, Namespace},
    finding::{Finding, Severity, process},
    words::{count, percent},
};
use crate::stats::snapshot::Closer;

/// Fewer are accidents.
const MANY: u64 = 20;
/// Part of its closes.
const MUCH: f64 = 0.1;

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    let rows = facts.snapshot.closers.iter().flatten().filter(|row| !row.other);
    rows.filter_map(|row| finding(facts, row)).collect()
}

fn finding(facts: &Facts, row: &Closer) -> Option<Finding> {
    let resets = row.resets.filter(|resets| *resets >= MANY)?;
    let ratio = resets as f64 / (resets + row.active_closes + row.peer_closes) as f64;
    let who = process(row.comm.as_deref(), row.pid).filter(|_| ratio >= MUCH)?;
    let counted = facts.namespace(row.netns).map(causes).unwrap_or_default();
    Some(Finding {
        id: "resets",
        severity: Severity::Notice,
        netns: row.netns,
        pid: row.pid,
        comm: row.comm.clone(),
        what: format!(
            "{who} cut {} established connections by RST, {} of its closes{counted}",
            count(resets),
            percent(ratio),
        ),
        why: "a socket with SO_LINGER 0, or with data that was not read, is closed by RST: what \
              the peer has not read yet is lost, and it sees ECONNRESET"
            .to_owned(),
        do_first: format!(
            "leave out SO_LINGER 0 in {who}, and read to the end before closing; if it is there \
             against TIME_WAIT, let the other end close first"
        ),
        then: Vec::new(),
        futile: Vec::new(),
        check: format!("`{}` no longer names {who}", again(&facts.entry(row.netns))),
    })
}

/// What the kernel counted in the namespace:
/// [`__tcp_close`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp.c) counts
/// TCPAbortOnData for SO_LINGER 0 and TCPAbortOnClose for unread data.
fn causes(namespace: &Namespace) -> String {
    let cause = |(name, words): (&str, &str)| {
        let grown = namespace.grown(name).filter(|grown| *grown > 0)?;
        Some(format!("{} {words} ({name})", count(grown)))
    };
    let causes = [("TCPAbortOnData", "with SO_LINGER 0"), ("TCPAbortOnClose", "with unread data")];
    let causes: Vec<String> = causes.into_iter().filter_map(cause).collect();
    if causes.is_empty() { String::new() } else { format!("; {}", causes.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{closer, grow, healthy},
        *,
    };

    #[test]
    fn who_cuts_is_named_with_the_kernels_cause() {
        let found = |resets, closes| {
            let mut facts = healthy();
            grow(&mut facts, "TCPAbortOnData", 30);
            let row = Closer { resets: Some(resets), ..closer("client", closes) };
            facts.snapshot.closers = Some(vec![row]);
            find(&facts).pop()
        };
        let finding = found(30, 70).unwrap();
        assert!(finding.what.contains("30 established"), "{}", finding.what);
        assert!(finding.what.ends_with("30 with SO_LINGER 0 (TCPAbortOnData)"), "{}", finding.what);
        assert_eq!(found(19, 0), None);
        assert_eq!(found(30, 300), None);
    }
}
