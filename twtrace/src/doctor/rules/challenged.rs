//! Connects that met a socket of the connection before: the other end still had it, in LAST_ACK as a
//! rule, when a port was used again.

use super::super::{
    command::again,
    facts::{Facts, Namespace},
    finding::{Finding, Futile, Severity},
    words::{count, of},
};

/// Fewer are accidents.
const MANY: u64 = 10;
/// From then on a client sends its SYN again at once
/// ([9603d47bad46](https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/commit/?id=9603d47bad46)).
const AT_ONCE: (u32, u32) = (5, 6);

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    let namespaces = facts.namespaces.iter();
    namespaces.filter_map(|(netns, namespace)| finding(facts, *netns, namespace)).collect()
}

/// [`tcp_validate_incoming`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_input.c)
/// counts TCPSYNChallenge for a SYN that meets a connection, whatever its state;
/// `tcp_send_challenge_ack` TCPACKSkippedChallenge where it keeps the answer back.
fn finding(facts: &Facts, netns: u32, namespace: &Namespace) -> Option<Finding> {
    let challenged = namespace.grown("TCPSYNChallenge").filter(|it| *it >= MANY)?;
    let kept_back = namespace.grown("TCPACKSkippedChallenge").unwrap_or(0);
    let waits = kept_back > 0 || facts.kernel_version().is_some_and(|it| it < AT_ONCE);
    Some(Finding {
        id: "challenged",
        severity: if waits { Severity::Warning } else { Severity::Notice },
        netns: Some(netns),
        pid: None,
        comm: None,
        what: what(facts, netns, namespace, challenged, kept_back),
        why: "where the socket of the connection before is still there (in LAST_ACK, when the last \
              ACK got lost or the client's TIME_WAIT gave its port away early), a SYN with the same \
              ends gets an ACK of that one; the client answers with RST and sends its SYN again: \
              since Linux 5.6 at once, before that, or if the ACK was kept back, after 1 s"
            .to_owned(),
        do_first: "let clients keep connections open instead of taking ports again, and servers close \
                   as soon as they read the end. The counter tells neither which connections these were, nor \
                   of which process, nor that they were in LAST_ACK: a peer that crashed and came back, \
                   and one that guesses ports, count as well; `ss -tn state last-ack` shows those there now"
            .to_owned(),
        then: Vec::new(),
        futile: vec![Futile::new(
            "net.ipv4.tcp_fin_timeout, tcp_max_tw_buckets",
            "LAST_ACK is neither FIN_WAIT2 nor TIME_WAIT: what ends it is the peer's ACK or RST, or \
             retransmissions that run out (tcp_orphan_retries)"
                .to_owned(),
        )],
        check: format!("`{}`: TCPSYNChallenge stays as it is", again(&namespace.entry)),
    })
}

fn what(
    facts: &Facts,
    netns: u32,
    namespace: &Namespace,
    challenged: u64,
    kept_back: u64,
) -> String {
    let mut what = format!(
        "{} met a connection with the same ends (TCPSYNChallenge)",
        of(challenged, "SYN", "SYNs")
    );
    if kept_back > 0 {
        let kept_back = of(kept_back, "answer was", "answers were");
        what.push_str(&format!("; {kept_back} kept back (TCPACKSkippedChallenge)"));
    }
    if let Some(again) = namespace.grown("TCPSynRetrans") {
        what.push_str(&format!(
            "; {} sent again by sockets here",
            of(again, "SYN was", "SYNs were")
        ));
    }
    if let Some(waiting) = last_ack(facts, netns) {
        what.push_str(&format!("; {} in LAST_ACK now", of(waiting, "socket is", "sockets are")));
    }
    if let Some(reused) = namespace.grown("TWRecycled").filter(|it| *it > 0) {
        let reused = count(reused);
        what.push_str(&format!("; connects here took {reused} ports from TIME_WAIT (TWRecycled)"));
    }
    what
}

fn last_ack(facts: &Facts, netns: u32) -> Option<u64> {
    Some(facts.listed(netns)?.states.as_ref()?["LAST_ACK"])
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{NETNS, grow, healthy, held},
        *,
    };

    #[test]
    fn syns_that_meet_the_connection_before_are_told() {
        let mut facts = healthy();
        grow(&mut facts, "TCPSYNChallenge", 9);
        assert_eq!(find(&facts), []);
        grow(&mut facts, "TCPSYNChallenge", 1);
        let [finding] = &find(&facts)[..] else { panic!("one finding") };
        assert_eq!((finding.severity, finding.netns), (Severity::Notice, Some(NETNS)));
        assert!(
            finding.what.ends_with("0 SYNs were sent again by sockets here"),
            "{}",
            finding.what
        );
        assert!(finding.then.is_empty(), "no setting ends LAST_ACK");

        grow(&mut facts, "TCPACKSkippedChallenge", 1);
        grow(&mut facts, "TWRecycled", 12);
        facts.census = Ok(held(&facts, 7, "LAST_ACK", 3));
        let finding = find(&facts).pop().expect("it still is");
        assert_eq!(finding.severity, Severity::Warning, "they wait for a second");
        for words in ["1 answer was kept back", "3 sockets are in LAST_ACK", "took 12 ports"] {
            assert!(finding.what.contains(words), "{}", finding.what);
        }
    }

    #[test]
    fn an_old_kernel_waits_for_a_second_each_time() {
        let mut facts = healthy();
        grow(&mut facts, "TCPSYNChallenge", 10);
        facts.snapshot.host.kernel = "5.4.0-generic".to_owned();
        assert_eq!(find(&facts)[0].severity, Severity::Warning);
        facts.snapshot.host.kernel = "5.10.223".to_owned();
        assert_eq!(find(&facts)[0].severity, Severity::Notice);
    }
}
