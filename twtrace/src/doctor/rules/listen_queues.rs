//! Listeners whose queues overflow: a process that accepts too slowly, or a flood of SYNs.

use super::super::{
    command::{again, sysctl},
    facts::{Facts, Namespace},
    finding::{Finding, Futile, Remedy, Severity, process},
    words::{count, endpoint},
};
use crate::census::report::ListenerRow;

const SOMAXCONN: &str = "net.core.somaxconn";
const COOKIES: &str = "net.ipv4.tcp_syncookies";
const SYN_BACKLOG: &str = "net.ipv4.tcp_max_syn_backlog";

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    let found = facts.namespaces.iter().flat_map(|(netns, namespace)| {
        [accept_queue(facts, *netns, namespace), flood(facts, *netns, namespace)]
    });
    found.flatten().collect()
}

/// The accept queue: connections that are complete, and that nobody accepts.
fn accept_queue(facts: &Facts, netns: u32, namespace: &Namespace) -> Option<Finding> {
    let overflows = namespace.grown("ListenOverflows").unwrap_or(0);
    let row = listeners(facts, netns).find(|row| is_full(row));
    if overflows == 0 && row.is_none() {
        return None;
    }
    let who = row.and_then(|row| process(row.comm.as_deref(), row.pid));
    let at = row.and_then(|row| Some(endpoint(row.laddr.as_deref()?, row.lport?)));
    let queue = row.zip(at.as_ref()).map_or(String::new(), |(row, at)| {
        let (queued, backlog) = (count(row.accept_queue), count(row.backlog));
        format!("; {at} has {queued} waiting for accept(), and room for {backlog}")
    });
    let named = who.clone().unwrap_or("the listening process".to_owned());
    Some(Finding {
        id: "accept_queue",
        severity: if overflows > 0 { Severity::Critical } else { Severity::Warning },
        netns: Some(netns),
        pid: row.and_then(|row| row.pid),
        comm: row.and_then(|row| row.comm.clone()),
        what: format!(
            "{} connections found the accept queue of their listener full{queue}{}",
            count(overflows),
            who.as_ref().map_or(String::new(), |who| format!("; it is {who}'s")),
        ),
        why: "a full accept queue drops the last ACK of the handshake and new SYNs: clients send \
              again after 1 s, 2 s, 4 s, and time out"
            .to_owned(),
        do_first: format!(
            "let {named} call accept() faster, with more threads or without work in between; then give listen() a longer backlog"
        ),
        then: row.and_then(|row| longer(facts, netns, namespace, row)).into_iter().collect(),
        futile: row.and_then(|row| not_limiting(facts, netns, row)).into_iter().collect(),
        check: format!("`{}`: ListenOverflows stays as it is", again(&namespace.entry)),
    })
}

fn listeners(facts: &Facts, netns: u32) -> impl Iterator<Item = &ListenerRow> {
    let rows = facts.census.as_ref().ok().map(|census| &census.by_listener);
    rows.into_iter().flatten().filter(move |row| !row.other && row.netns == Some(netns))
}

/// The kernel takes one more than the backlog
/// ([`sk_acceptq_is_full`](https://github.com/torvalds/linux/blob/v6.12/include/net/sock.h)).
fn is_full(row: &ListenerRow) -> bool {
    row.accept_queue > row.backlog
}

/// Where somaxconn is what keeps the backlog short.
fn limited_by_somaxconn(facts: &Facts, netns: u32, row: &ListenerRow) -> Option<u64> {
    facts.number(Some(netns), SOMAXCONN).filter(|limit| row.backlog >= *limit * row.sockets)
}

fn longer(facts: &Facts, netns: u32, namespace: &Namespace, row: &ListenerRow) -> Option<Remedy> {
    let limit = limited_by_somaxconn(facts, netns, row)?;
    let raised = (limit * 4).clamp(4_096, 65_535);
    (raised > limit).then(|| Remedy {
        command: sysctl(&namespace.entry, SOMAXCONN, &raised.to_string()),
        side_effects: "counts for listen() calls from then on: restart the process; longer queues \
                       mean longer waits where accept() stays slow"
            .to_owned(),
    })
}

fn not_limiting(facts: &Facts, netns: u32, row: &ListenerRow) -> Option<Futile> {
    let limit = facts.number(Some(netns), SOMAXCONN)?;
    limited_by_somaxconn(facts, netns, row).is_none().then(|| {
        let because = format!(
            "it is {} already; the process asked listen() for {}",
            count(limit),
            count(row.backlog / row.sockets.max(1)),
        );
        Futile::new("a larger net.core.somaxconn", because)
    })
}

/// The queue of half-open requests: SYNs that nobody completes.
fn flood(facts: &Facts, netns: u32, namespace: &Namespace) -> Option<Finding> {
    let grown = |name| namespace.grown(name).unwrap_or(0);
    let dropped = grown("TCPReqQFullDrop");
    let cookies = grown("TCPReqQFullDoCookies").max(grown("SyncookiesSent"));
    let row = listeners(facts, netns).max_by_key(|row| row.states["SYN_RECV"]);
    let row = row.filter(|row| row.states["SYN_RECV"] > 0);
    let kept_short = row.and_then(|row| kept_short(facts, netns, row));
    if dropped == 0 && cookies == 0 && kept_short.is_none() {
        return None;
    }
    let at = row.and_then(|row| {
        let at = endpoint(row.laddr.as_deref()?, row.lport?);
        let who =
            process(row.comm.as_deref(), row.pid).map_or(String::new(), |it| format!(" of {it}"));
        let requests = count(row.states["SYN_RECV"]);
        Some(format!(
            "; {at}{who} has {requests} half-open requests and a backlog of {}",
            count(row.backlog)
        ))
    });
    let enabled = facts.number(Some(netns), COOKIES).is_none_or(|it| it > 0);
    let short = kept_short.map_or(String::new(), |limit| {
        let drops = count(grown("ListenDrops"));
        format!(
            "; from three quarters of {limit} (tcp_max_syn_backlog) on SYNs are dropped while there are \
             no cookies: {drops} were dropped by listeners (ListenDrops)"
        )
    });
    let longer = kept_short.map(|limit| longer_syn_backlog(namespace, limit));
    let longer = longer.or_else(|| row.and_then(|row| longer_queue(facts, netns, namespace, row)));
    Some(Finding {
        id: "syn_flood",
        severity: if dropped > 0 || kept_short.is_some() {
            Severity::Critical
        } else {
            Severity::Warning
        },
        netns: Some(netns),
        pid: row.and_then(|row| row.pid),
        comm: row.and_then(|row| row.comm.clone()),
        what: format!(
            "{} SYNs met a full queue of half-open requests: {} were dropped, {} answered with a \
             cookie{}{short}",
            count(dropped + cookies),
            count(dropped),
            count(cookies),
            at.unwrap_or_default(),
        ),
        why: "as many half-open requests as the listener's backlog fill its queue; SYNs then get \
              cookies, or are dropped where tcp_syncookies is 0"
            .to_owned(),
        do_first: "see where the SYNs come from (`twtrace states`, CLIENTS): many addresses that \
                   never complete are a flood, to be filtered in front of this host; a burst of \
                   true clients needs a longer backlog in listen()"
            .to_owned(),
        then: (!enabled)
            .then(|| Remedy {
                command: sysctl(&namespace.entry, COOKIES, "1"),
                side_effects: "SYNs beyond the queue are answered instead of dropped; connections \
                               from cookies lose some TCP options unless timestamps are on"
                    .to_owned(),
            })
            .into_iter()
            .chain(longer)
            .collect(),
        futile: enabled.then(|| not_asked(facts, netns)).flatten().into_iter().collect(),
        check: format!(
            "`{}`: SyncookiesSent and TCPReqQFullDrop stay as they are",
            again(&namespace.entry)
        ),
    })
}

/// Where tcp_max_syn_backlog, and no backlog, is what keeps requests out: only without cookies does
/// the kernel ask for it, and lets peers that it knows have the last quarter
/// ([`tcp_conn_request`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_input.c)).
fn kept_short(facts: &Facts, netns: u32, row: &ListenerRow) -> Option<u64> {
    let without = facts.number(Some(netns), COOKIES)? == 0;
    let limit = facts.number(Some(netns), SYN_BACKLOG)?;
    let reached = row.states["SYN_RECV"] * 4 >= limit * 3 && row.backlog > limit - limit / 4;
    (without && reached && row.sockets == 1).then_some(limit)
}

fn longer_syn_backlog(namespace: &Namespace, limit: u64) -> Remedy {
    let raised = (limit * 4).max(4_096);
    Remedy {
        command: sysctl(&namespace.entry, SYN_BACKLOG, &raised.to_string()),
        side_effects:
            "some 300 bytes of kernel memory for each request more; the backlog of listen() \
                       is the next limit"
                .to_owned(),
    }
}

/// Where the backlog is what fills, and somaxconn what keeps that short.
fn longer_queue(
    facts: &Facts,
    netns: u32,
    namespace: &Namespace,
    row: &ListenerRow,
) -> Option<Remedy> {
    let is_full = row.states["SYN_RECV"] >= row.backlog;
    is_full.then(|| longer(facts, netns, namespace, row)).flatten()
}

fn not_asked(facts: &Facts, netns: u32) -> Option<Futile> {
    let (cookies, limit) =
        (facts.number(Some(netns), COOKIES)?, facts.number(Some(netns), SYN_BACKLOG)?);
    let because = format!(
        "it is {}, and not asked for while tcp_syncookies is {cookies}: the queue is as long as the \
         listener's backlog",
        count(limit)
    );
    Some(Futile::new("a larger net.ipv4.tcp_max_syn_backlog", because))
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{NETNS, grow, healthy, set},
        *,
    };
    use crate::census::{Census, Holders, ListeningSocket, Place, Socket};
    use crate::event::Tuple;
    use twtrace_common::TcpState;

    const LISTENER: Tuple = Tuple { laddr: [0; 16], raddr: [0; 16], lport: 80, rport: 0 };

    /// A listener with so many that wait, and so many requests.
    fn listener(facts: &mut Facts, accept_queue: u32, backlog: u32, requests: u16) {
        let mut place = Place::new(NETNS);
        place.listener(&ListeningSocket { tuple: LISTENER, inode: 7, accept_queue, backlog });
        for rport in 1..=requests {
            let tuple = Tuple { rport, ..LISTENER };
            let (state, mini, keepalive) = (TcpState::SynRecv, false, false);
            place.socket(&Socket { state, mini, keepalive, tuple, inode: 0 });
        }
        let mut census = Census::new(10);
        census.add(place);
        let mut holders = Holders::default();
        holders.by_inode.insert(7, 77);
        holders.names.insert(77, "slow".to_owned());
        let host = facts.snapshot.host.clone();
        facts.census = Ok(census.report(&holders, host, String::new()));
    }

    #[test]
    fn a_queue_that_overflows_names_its_process_and_what_limits_it() {
        let mut facts = healthy();
        grow(&mut facts, "ListenOverflows", 12);
        listener(&mut facts, 6, 5, 0);
        let [finding] = &find(&facts)[..] else { panic!("one finding") };
        assert_eq!((finding.severity, finding.pid), (Severity::Critical, Some(77)));
        assert!(finding.what.contains("[::]:80 has 6 waiting"), "{}", finding.what);
        assert_eq!(finding.then, [], "the process asked for 5");
        assert!(finding.futile[0].because.contains("asked listen() for 5"), "{finding:#?}");

        set(&mut facts, SOMAXCONN, "5");
        let [finding] = &find(&facts)[..] else { panic!("one finding") };
        assert!(finding.then[0].command.ends_with("net.core.somaxconn=4096"), "{finding:#?}");
        assert_eq!(finding.futile, []);
    }

    #[test]
    fn a_full_queue_is_seen_without_counters_and_an_unknown_one_by_counters() {
        let mut facts = healthy();
        listener(&mut facts, 5, 5, 0);
        assert_eq!(find(&facts), [], "there is room for one more");
        listener(&mut facts, 6, 5, 0);
        assert_eq!(find(&facts)[0].severity, Severity::Warning);
        let mut facts = healthy();
        grow(&mut facts, "ListenOverflows", 1);
        assert_eq!(find(&facts)[0].pid, None);
    }

    #[test]
    fn a_flood_is_told_from_a_slow_process() {
        let mut facts = healthy();
        grow(&mut facts, "SyncookiesSent", 100);
        listener(&mut facts, 0, 8, 8);
        let [finding] = &find(&facts)[..] else { panic!("one finding") };
        assert_eq!((finding.id, finding.severity), ("syn_flood", Severity::Warning));
        assert!(finding.what.contains("slow (pid 77) has 8 half-open"), "{}", finding.what);
        assert_eq!(finding.then, [], "cookies are on");
        assert_eq!(finding.futile, [], "how long it may be is not known");
        set(&mut facts, SYN_BACKLOG, "512");
        let advice = find(&facts)[0].futile[0].clone();
        assert!(advice.because.starts_with("it is 512, and not asked for"), "{advice:?}");
        grow(&mut facts, "TCPReqQFullDrop", 3);
        set(&mut facts, COOKIES, "0");
        let [finding] = &find(&facts)[..] else { panic!("one finding") };
        assert_eq!(finding.severity, Severity::Critical);
        assert!(finding.then[0].command.ends_with("net.ipv4.tcp_syncookies=1"));
    }

    #[test]
    fn without_cookies_another_setting_keeps_the_queue_short() {
        let mut facts = healthy();
        set(&mut facts, COOKIES, "0");
        set(&mut facts, SYN_BACKLOG, "16");
        listener(&mut facts, 0, 128, 11);
        assert_eq!(find(&facts), [], "there is room");
        listener(&mut facts, 0, 128, 12);
        grow(&mut facts, "ListenDrops", 9);
        let [finding] = &find(&facts)[..] else { panic!("one finding") };
        assert_eq!((finding.severity, finding.pid), (Severity::Critical, Some(77)));
        assert!(
            finding.what.ends_with("9 were dropped by listeners (ListenDrops)"),
            "{finding:#?}"
        );
        let commands: Vec<_> = finding.then.iter().map(|it| it.command.as_str()).collect();
        assert!(commands[0].ends_with("tcp_syncookies=1"), "{commands:?}");
        assert!(commands[1].ends_with("tcp_max_syn_backlog=4096"), "{commands:?}");
        listener(&mut facts, 0, 12, 12);
        assert_eq!(find(&facts), [], "its own backlog is as short");
    }
}
