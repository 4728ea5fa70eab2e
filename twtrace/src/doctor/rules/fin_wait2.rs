//! Connections that we have closed and the peer has not.

use super::super::{
    command::{again, sysctl},
    facts::Facts,
    finding::{Finding, Remedy, Severity, process},
    words::{count, percent},
};
use crate::stats::snapshot::Closer;

/// Fewer hurt nobody.
const MANY: u64 = 1_000;
/// Part of all that were closed and are not over.
const MOST: f64 = 0.5;
const TIMEOUT: &str = "net.ipv4.tcp_fin_timeout";
const DEFAULT_TIMEOUT: u64 = 60;

/// How many wait in one namespace, of how many.
struct Waiting {
    netns: Option<u32>,
    now: u64,
    of: u64,
}

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    waiting(facts).iter().filter_map(|it| finding(facts, it)).collect()
}

/// As sock_diag lists them, else as the pipeline knows them, which is not everywhere: the step to
/// TIME_WAIT is silent.
fn waiting(facts: &Facts) -> Vec<Waiting> {
    let Ok(census) = &facts.census else { return told(facts).into_iter().collect() };
    let row = |it: &crate::census::report::Netns| {
        let now = it.fin_wait2_closed?;
        let of = now + it.states.as_ref()?["TIME_WAIT"];
        Some(Waiting { netns: Some(it.netns), now, of })
    };
    census.by_netns.iter().filter_map(row).collect()
}

fn told(facts: &Facts) -> Option<Waiting> {
    let now = facts.snapshot.fin_wait2.as_ref()?.now?;
    Some(Waiting { netns: facts.only_netns(), now, of: facts.snapshot.time_wait.as_ref()?.now? })
}

fn finding(facts: &Facts, waiting: &Waiting) -> Option<Finding> {
    let Waiting { netns, now, of } = *waiting;
    let ratio = now as f64 / of.max(1) as f64;
    if now < MANY || ratio < MOST {
        return None;
    }
    let entry = facts.entry(netns);
    let timeout = facts.number(netns, TIMEOUT).unwrap_or(DEFAULT_TIMEOUT);
    let shorter = timeout > 15;
    let closer = closer(facts, netns);
    let who = closer.and_then(|it| process(it.comm.as_deref(), it.pid));
    let most = who.map_or(String::new(), |who| format!("; {who} closed first most often"));
    Some(Finding {
        id: "fin_wait2",
        severity: Severity::Notice,
        netns,
        pid: closer.and_then(|it| it.pid),
        comm: closer.and_then(|it| it.comm.clone()),
        what: format!(
            "{} of {} connections that are closed here ({}) are in FIN_WAIT2: the peer has not \
             closed{most}",
            count(now),
            count(of),
            percent(ratio),
        ),
        why: format!(
            "the kernel waits {timeout} s (tcp_fin_timeout) for the FIN of a peer whose connection \
             our process has closed, and only then gives up"
        ),
        do_first: "let the peer close when it reads the end of the stream: it has a CLOSE_WAIT for \
                   each of these"
            .to_owned(),
        then: shorter
            .then(|| Remedy {
                command: sysctl(&entry, TIMEOUT, "15"),
                side_effects: "here it does help: FIN_WAIT2 of sockets closed from then on ends after \
                               15 s; peers that close later than that are answered by RST; TIME_WAIT \
                               stays at 60 s"
                    .to_owned(),
            })
            .into_iter()
            .collect(),
        futile: Vec::new(),
        check: format!("`{}`: fewer in FIN_WAIT2", again(&entry)),
    })
}

/// Who closes first there, most often; `None` if nobody was seen to.
fn closer(facts: &Facts, netns: Option<u32>) -> Option<&Closer> {
    let rows = facts.snapshot.closers.iter().flatten();
    let here = rows.filter(|row| !row.other && row.netns == netns && row.active_closes > 0);
    here.max_by_key(|row| row.active_closes)
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{NETNS, closed, closer, healthy, set},
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

    #[test]
    fn where_the_step_is_silent_sock_diag_tells() {
        let mut facts = healthy();
        facts.census = Ok(closed(&facts, 1_000, 1_000));
        facts.snapshot.closers = Some(vec![closer("client", 1_000)]);
        let finding = find(&facts).pop().expect("many wait");
        assert_eq!((finding.netns, finding.pid), (Some(NETNS), Some(90)));
        assert!(finding.what.starts_with("1,000 of 2,000 connections"), "{}", finding.what);
        facts.census = Ok(closed(&facts, 1_000, 1_001));
        assert_eq!(find(&facts), []);
    }
}
