//! Connections that we have closed and the peer has not.

use super::super::{
    command::{again, sysctl},
    facts::Facts,
    finding::{Finding, Remedy, Severity},
    words::{count, percent},
};

/// Fewer hurt nobody.
const MANY: u64 = 1_000;
/// Part of all mini-sockets.
const MOST: f64 = 0.5;
const TIMEOUT: &str = "net.ipv4.tcp_fin_timeout";
const DEFAULT_TIMEOUT: u64 = 60;

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    finding(facts).into_iter().collect()
}

fn finding(facts: &Facts) -> Option<Finding> {
    let waiting = facts.snapshot.fin_wait2.as_ref()?.now.filter(|now| *now >= MANY)?;
    let minis = facts.snapshot.time_wait.as_ref()?.now.filter(|minis| *minis > 0)?;
    let ratio = waiting as f64 / minis as f64;
    if ratio < MOST {
        return None;
    }
    let netns = single_netns(facts);
    let entry = facts.entry(netns);
    let timeout = facts.number(netns, TIMEOUT).unwrap_or(DEFAULT_TIMEOUT);
    let shorter = timeout > 15;
    Some(Finding {
        id: "fin_wait2",
        severity: Severity::Notice,
        netns,
        pid: None,
        comm: None,
        what: format!(
            "{} of {} mini-sockets ({}) are in FIN_WAIT2: we have closed, the peer has not",
            count(waiting),
            count(minis),
            percent(ratio),
        ),
        why: format!(
            "the kernel waits {timeout} s (tcp_fin_timeout) for the FIN of a peer whose connection \
             our process has closed, and only then gives up"
        ),
        do_first:
            "let the peer close when it reads the end of the stream: it has a CLOSE_WAIT for \
                   each of these"
                .to_owned(),
        then: shorter
            .then(|| Remedy {
                command: sysctl(&entry, TIMEOUT, "15"),
                side_effects: "here it does help: FIN_WAIT2 of closed sockets ends after 15 s; \
                               peers that close later than that are answered by RST; TIME_WAIT \
                               stays at 60 s"
                    .to_owned(),
            })
            .into_iter()
            .collect(),
        futile: Vec::new(),
        check: format!("`{}`: fewer in FIN_WAIT2", again(&entry)),
    })
}

/// The namespace, if there is only one that it can be about.
fn single_netns(facts: &Facts) -> Option<u32> {
    let mut with = facts.namespaces.iter().filter(|(_, it)| it.minis().is_none_or(|it| it > 0));
    let only = with.next().map(|(netns, _)| *netns);
    only.filter(|_| with.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{healthy, set},
        *,
    };

    fn facts(waiting: u64, minis: u64) -> Facts {
        let mut facts = healthy();
        let snapshot = &mut facts.snapshot;
        snapshot.fin_wait2 = Some(crate::stats::snapshot::FinWait2 {
            now: Some(waiting),
            ..crate::stats::snapshot::FinWait2::default()
        });
        snapshot.time_wait.as_mut().expect("it is known").now = Some(minis);
        facts
    }

    #[test]
    fn peers_that_do_not_close_are_where_tcp_fin_timeout_helps() {
        let mut pending = facts(1_500, 2_000);
        let finding = find(&pending).pop().expect("many wait");
        assert!(finding.then[0].command.ends_with("net.ipv4.tcp_fin_timeout=15"), "{finding:#?}");
        set(&mut pending, TIMEOUT, "10");
        assert_eq!(find(&pending)[0].then, [], "it is shorter already");
        assert_eq!(find(&facts(999, 999)), []);
        assert_eq!(find(&facts(1_000, 2_001)), []);
    }
}
