//! Connections that are opened and never closed.

use super::super::{
    command::{again, sysctl},
    facts::Facts,
    finding::{Finding, Futile, Remedy, Severity, process},
    words::{count, number},
};
use crate::census::report::Process;

/// Fewer are a process that starts.
const MANY: u64 = 200;
/// Part of those opened that were closed.
const FEW: f64 = 0.1;
const ESTABLISHED: &str = "ESTABLISHED";
const KEEPALIVE: [&str; 3] = [
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
];
/// A load balancer forgets what is idle for longer.
const TEN_MINUTES_S: u64 = 600;

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
        then: netns.and_then(|netns| sooner(facts, netns)).into_iter().collect(),
        futile: netns.and_then(|netns| nobody_asks(facts, netns)).into_iter().collect(),
        check: format!("`{}`: as many leave ESTABLISHED as enter it", again(&facts.entry(netns))),
    })
}

/// Established connections there, and those that ask whether their peer still lives.
fn asking(facts: &Facts, netns: u32) -> Option<(u64, u64)> {
    let row = facts.listed(netns)?;
    Some((row.states.as_ref()?[ESTABLISHED], row.keepalive?))
}

/// Keepalive finds peers that are gone, where it is on.
fn sooner(facts: &Facts, netns: u32) -> Option<Remedy> {
    let (all, asking) = asking(facts, netns)?;
    let [time, interval, probes] = KEEPALIVE.map(|name| facts.number(Some(netns), name));
    let time = time.filter(|time| *time > TEN_MINUTES_S && asking * 2 >= all)?;
    let gone = interval.zip(probes).map(|(interval, probes)| time + interval * probes);
    let gone = gone.map_or("-".to_owned(), count);
    Some(Remedy {
        command: sysctl(&facts.entry(Some(netns)), KEEPALIVE[0], &TEN_MINUTES_S.to_string()),
        side_effects: format!(
            "{} of {} connections there have SO_KEEPALIVE, and a peer that is gone is found after \
             {gone} s now; one segment more each ten minutes of each that is idle, of those whose timer \
             starts anew; peers that live keep their connections",
            count(asking),
            count(all),
        ),
    })
}

fn nobody_asks(facts: &Facts, netns: u32) -> Option<Futile> {
    let (all, asking) = asking(facts, netns)?;
    (asking * 2 < all).then(|| {
        let because = format!(
            "it counts for sockets with SO_KEEPALIVE: that is {} of {} connections there",
            count(asking),
            count(all)
        );
        Futile::new(KEEPALIVE[0], because)
    })
}

fn most(facts: &Facts) -> Option<&Process> {
    let rows = facts.census.iter().flat_map(|census| &census.by_process);
    rows.filter(|it| it.pid.is_some()).max_by_key(|it| it.states[ESTABLISHED])
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{healthy, held, set},
        *,
    };
    use crate::stats::snapshot::Transitions;

    fn facts(opened: u64, closed: u64) -> Facts {
        let mut facts = healthy();
        let pairs = [("SYN_RECV>ESTABLISHED", opened), ("ESTABLISHED>CLOSE_WAIT", closed)];
        let by_pair = pairs.map(|(pair, count)| (pair.to_owned(), count)).into();
        facts.snapshot.transitions = Some(Transitions { total: opened + closed, by_pair });
        facts
    }

    #[test]
    fn keepalive_is_advised_where_sockets_have_it() {
        let mut facts = facts(300, 0);
        for (name, value) in KEEPALIVE.into_iter().zip(["7200", "75", "9"]) {
            set(&mut facts, name, value);
        }
        facts.census = Ok(held(&facts, 90, ESTABLISHED, 300));
        let finding = find(&facts).pop().expect("they grow");
        assert_eq!((finding.pid, finding.then.len()), (Some(90), 0));
        assert!(finding.futile[0].because.ends_with("0 of 300 connections there"), "{finding:#?}");

        let census = facts.census.as_mut().expect("it is known");
        census.by_netns[0].keepalive = Some(300);
        let finding = find(&facts).pop().expect("they grow");
        assert!(finding.then[0].command.ends_with("tcp_keepalive_time=600"), "{finding:#?}");
        assert!(finding.then[0].side_effects.contains("after 7,875 s now"), "{finding:#?}");
        assert_eq!(finding.futile, []);
        set(&mut facts, KEEPALIVE[0], "600");
        assert_eq!(find(&facts)[0].then, [], "it is soon already");
    }

    #[test]
    fn what_opens_and_does_not_close_is_found() {
        let found = |opened, closed| find(&facts(opened, closed)).pop();
        let finding = found(200, 20).unwrap();
        assert!(finding.what.contains("18.0 more a second"), "{}", finding.what);
        assert_eq!((found(200, 21), found(199, 0)), (None, None));
    }
}
