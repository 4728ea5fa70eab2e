//! Settings of a namespace that do harm by themselves.

use super::super::{
    command::{again, sysctl},
    facts::{Facts, Namespace, PORT_RANGE as RANGE},
    finding::{Finding, Remedy, Severity},
    words::count,
};

/// A range that has fewer ports is narrow for anything that connects.
const NARROW: u64 = 1_024;

/// Fewer TIME_WAITs that an RST ends are accidents.
const MANY: u64 = 20;

/// A setting that does harm.
struct Harm {
    name: &'static str,
    /// What is set, and what that does here.
    what: String,
    why: &'static str,
    do_first: &'static str,
    value: &'static str,
    side_effects: &'static str,
}

/// Looks at the settings of one namespace.
type Look = fn(&Settings<'_>) -> Option<Harm>;

const LOOKS: [Look; 9] = [
    no_time_wait,
    no_timestamps,
    parity,
    narrow,
    reserved,
    abort_on_overflow,
    no_cookies,
    long_fin_wait,
    assassinated,
];

/// The settings of one namespace.
struct Settings<'a> {
    facts: &'a Facts,
    netns: u32,
}

impl Settings<'_> {
    fn number(&self, name: &str) -> Option<u64> {
        self.facts.number(Some(self.netns), name)
    }

    fn range(&self) -> Option<(u16, u16)> {
        self.facts.port_range(Some(self.netns))
    }
}

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    let found = facts.namespaces.iter().flat_map(|(netns, namespace)| {
        let settings = Settings { facts, netns: *netns };
        LOOKS.map(|look| look(&settings)).map(|harm| Some(finding(*netns, namespace, harm?)))
    });
    found.flatten().collect()
}

fn finding(netns: u32, namespace: &Namespace, harm: Harm) -> Finding {
    Finding {
        id: "sysctl",
        severity: Severity::Notice,
        netns: Some(netns),
        pid: None,
        comm: None,
        what: harm.what,
        why: harm.why.to_owned(),
        do_first: harm.do_first.to_owned(),
        then: vec![Remedy {
            command: sysctl(&namespace.entry, harm.name, harm.value),
            side_effects: harm.side_effects.to_owned(),
        }],
        futile: Vec::new(),
        check: format!("`{}` no longer names {}", again(&namespace.entry), harm.name),
    }
}

fn no_time_wait(settings: &Settings<'_>) -> Option<Harm> {
    let name = "net.ipv4.tcp_max_tw_buckets";
    (settings.number(name)? == 0).then(|| Harm {
        name,
        what: "net.ipv4.tcp_max_tw_buckets is 0: there is no TIME_WAIT at all".to_owned(),
        why: "TIME_WAIT keeps old segments from new connections, and answers a peer whose last ACK \
              got lost; without it such a peer gets RST",
        do_first: "nothing: no application can make up for it",
        value: "65536",
        side_effects: "some 300 bytes of kernel memory for each that there is",
    })
}

fn no_timestamps(settings: &Settings<'_>) -> Option<Harm> {
    let name = "net.ipv4.tcp_timestamps";
    (settings.number(name)? == 0).then(|| Harm {
        name,
        what: "net.ipv4.tcp_timestamps is 0: no port in TIME_WAIT can be taken again early"
            .to_owned(),
        why: "tcp_tw_reuse tells old segments from new ones by timestamps, and so does the check \
              against wrapped sequence numbers (PAWS)",
        do_first: "nothing: connections from now on use them when both ends do",
        value: "1",
        side_effects: "12 bytes more in each segment",
    })
}

/// The kernel wants this, too
/// ([`set_local_port_range`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/sysctl_net_ipv4.c)).
fn parity(settings: &Settings<'_>) -> Option<Harm> {
    let (low, high) = settings.range()?;
    (low % 2 == high % 2 && u64::from(high - low) >= NARROW).then(|| Harm {
        name: RANGE,
        what: format!("net.ipv4.ip_local_port_range is {low} {high}: both ends have the same parity"),
        why: "connect takes ports of the first one's parity first and bind the others: with ends of \
              one parity the last port belongs to neither half, and the kernel warns of it",
        do_first: "nothing: it is about the kernel's search alone",
        value: "32768 60999",
        side_effects: "another range: one that begins at an even port and ends at an odd one",
    })
}

fn narrow(settings: &Settings<'_>) -> Option<Harm> {
    let (low, high) = settings.range()?;
    let ports = u64::from(high - low) + 1;
    let is_used = settings.facts.destinations().any(|row| {
        row.netns == Some(settings.netns) && row.used_ratio.is_some_and(|ratio| ratio >= 0.25)
    });
    (ports < NARROW && is_used).then(|| Harm {
        name: RANGE,
        what: format!(
            "net.ipv4.ip_local_port_range is {low} {high}: {} ports towards each remote end",
            count(ports)
        ),
        why: "each connection takes one towards its remote end, and TIME_WAIT keeps it for 60 s: \
              the range by 60 is how many a second can be opened in the long run",
        do_first: "keep connections open and use them again",
        value: "32768 60999",
        side_effects: "more ports that servers which start later may find taken",
    })
}

fn reserved(settings: &Settings<'_>) -> Option<Harm> {
    let name = "net.ipv4.ip_local_reserved_ports";
    let (low, high) = settings.range()?;
    let written = settings.facts.sysctl(Some(settings.netns), name)?;
    let reserved: u64 = written.split(',').filter_map(|it| overlap(it, low, high)).sum();
    let ports = u64::from(high - low) + 1;
    (reserved * 2 > ports).then(|| Harm {
        name,
        what: format!(
            "net.ipv4.ip_local_reserved_ports keeps {} of the {} ports of the range from connects",
            count(reserved),
            count(ports)
        ),
        why: "connects pass over reserved ports: each search walks them, and there are that many \
              fewer towards each remote end",
        do_first: "reserve the ports that servers here listen on, and no more",
        value: "\"\"",
        side_effects: "connects may take the ports of servers that start later",
    })
}

/// How many ports of `8080` or `9148-9150` are within the range.
fn overlap(written: &str, low: u16, high: u16) -> Option<u64> {
    let (first, last) = written.trim().split_once('-').unwrap_or((written, written));
    let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let (first, last) = (first.max(low), last.min(high));
    (first <= last).then(|| u64::from(last - first) + 1)
}

fn abort_on_overflow(settings: &Settings<'_>) -> Option<Harm> {
    let name = "net.ipv4.tcp_abort_on_overflow";
    (settings.number(name)? == 1).then(|| Harm {
        name,
        what: "net.ipv4.tcp_abort_on_overflow is 1: a full accept queue is answered by RST".to_owned(),
        why: "with 0 the client's ACK is dropped and sent again, so that a burst of a second passes \
              unnoticed; with 1 it is an error at once",
        do_first: "accept faster, or give listen() a longer backlog",
        value: "0",
        side_effects: "clients of a queue that stays full wait, instead of failing at once",
    })
}

fn no_cookies(settings: &Settings<'_>) -> Option<Harm> {
    let name = "net.ipv4.tcp_syncookies";
    (settings.number(name)? == 0).then(|| Harm {
        name,
        what: "net.ipv4.tcp_syncookies is 0: a flood of SYNs keeps clients out".to_owned(),
        why: "where the queue of half-open requests is full, SYNs are dropped instead of answered \
              with a cookie",
        do_first: "nothing: no application can make up for it",
        value: "1",
        side_effects: "only where a queue overflows: some TCP options are lost unless timestamps are on",
    })
}

/// Longer than a minute it is not a mini-socket that waits, but the whole socket
/// ([`tcp_rcv_state_process`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_input.c)).
fn long_fin_wait(settings: &Settings<'_>) -> Option<Harm> {
    let name = "net.ipv4.tcp_fin_timeout";
    let seconds = settings.number(name).filter(|seconds| *seconds > 60)?;
    Some(Harm {
        name,
        what: format!("net.ipv4.tcp_fin_timeout is {seconds}: FIN_WAIT2 keeps whole sockets"),
        why: "up to 60 s a mini-socket waits for the peer's FIN; what is beyond that is waited for \
              with the whole socket, some ten times as large",
        do_first: "let peers close when they read the end of the stream",
        value: "60",
        side_effects: "peers that close later are answered by RST; TIME_WAIT stays at 60 s",
    })
}

/// The hazard of RFC 1337: with 0 an RST ends a TIME_WAIT
/// ([`tcp_timewait_state_process`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_minisocks.c)).
fn assassinated(settings: &Settings<'_>) -> Option<Harm> {
    let name = "net.ipv4.tcp_rfc1337";
    let is_off = settings.number(name)? == 0;
    // What ended them is known of the host, not of each namespace.
    let is_here = settings.facts.only_netns() == Some(settings.netns);
    let ended = settings.facts.snapshot.time_wait.as_ref()?.ended.reset?;
    (is_off && is_here && ended >= MANY).then(|| Harm {
        name,
        what: format!(
            "net.ipv4.tcp_rfc1337 is 0, and {} TIME_WAITs were ended by an RST before their time; those \
             whose peer had not closed yet (FIN_WAIT2) would have been with 1, too",
            count(ended)
        ),
        why: "TIME_WAIT that ends early protects no more from what is still under way of the old \
              connection (RFC 1337)",
        do_first: "see who sends RST after the end: a peer that closes with unread data, a load \
                   balancer that forgets, SO_LINGER 0",
        value: "1",
        side_effects: "these ports stay taken for the rest of their 60 s",
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{destination, healthy, set},
        *,
    };

    #[test]
    fn an_rst_that_ends_time_waits_is_told_where_a_setting_would_prevent_it() {
        let found = |setting, reset| {
            let mut facts = healthy();
            set(&mut facts, "net.ipv4.tcp_rfc1337", setting);
            facts.snapshot.time_wait.as_mut().expect("it is known").ended.reset = reset;
            find(&facts)
        };
        let [finding] = &found("0", Some(20))[..] else { panic!("one finding") };
        assert!(finding.then[0].command.ends_with("tcp_rfc1337=1"), "{finding:#?}");
        for (setting, reset) in [("0", Some(19)), ("1", Some(20)), ("0", None)] {
            assert_eq!(found(setting, reset), [], "{setting} {reset:?}");
        }
    }

    #[test]
    fn each_harmful_setting_is_found_with_what_undoes_it() {
        let cases = [
            ("net.ipv4.tcp_max_tw_buckets", "0", "=65536"),
            ("net.ipv4.tcp_timestamps", "0", "=1"),
            (RANGE, "32768\t61000", "=\"32768 60999\""),
            ("net.ipv4.ip_local_reserved_ports", "1,32768-50000", "=\"\""),
            ("net.ipv4.tcp_abort_on_overflow", "1", "=0"),
            ("net.ipv4.tcp_syncookies", "0", "=1"),
            ("net.ipv4.tcp_fin_timeout", "61", "=60"),
        ];
        for (name, value, undone) in cases {
            let mut facts = healthy();
            set(&mut facts, name, value);
            let [finding] = &find(&facts)[..] else { panic!("{name}: {:?}", find(&facts)) };
            assert!(finding.what.starts_with(name), "{}", finding.what);
            assert!(finding.then[0].command.ends_with(&format!("{name}{undone}")), "{finding:#?}");
        }
    }

    #[test]
    fn reserved_ports_count_where_they_are_in_the_range() {
        let counts = ["8080", "40000", "39990-40009", "1-65535", "50-40", "x", ""]
            .map(|written| overlap(written, 40_000, 40_099));
        assert_eq!(counts, [None, Some(1), Some(10), Some(100), None, None, None]);
    }

    #[test]
    fn a_narrow_range_matters_where_it_is_used() {
        let mut facts = healthy();
        set(&mut facts, RANGE, "40000\t40099");
        assert_eq!(find(&facts), []);
        facts.snapshot.destinations = Some(vec![destination(250)]);
        assert_eq!(find(&facts).len(), 1);
        set(&mut facts, RANGE, "nonsense");
        assert_eq!(find(&facts), []);
    }
}
