//! Lines of files that run as they are written, and do not do what such lines are written for.

use super::super::{
    command::Entry,
    facts::{Configured, Facts, Namespace},
    finding::{Finding, Severity},
    myths,
    words::count,
};

/// TCP_TIMEWAIT_LEN, and what tcp_fin_timeout is unless it is set
/// ([`tcp.h`](https://github.com/torvalds/linux/blob/v6.12/include/net/tcp.h)).
const MINUTE_S: u64 = 60;
/// [`nf_conntrack_proto_tcp.c`](https://github.com/torvalds/linux/blob/v6.12/net/netfilter/nf_conntrack_proto_tcp.c).
const CONNTRACK_TIME_WAIT_S: u64 = 120;

/// A line that is there for nothing.
struct Vain {
    /// What it is written for.
    hope: &'static str,
    /// What was measured here.
    measured: Option<String>,
    /// What it does.
    truth: &'static str,
}

/// Looks at a setting of this value.
type Look = fn(&Facts, u64) -> Option<Vain>;

const LOOKS: [(&str, Look); 5] = [
    ("net.ipv4.tcp_fin_timeout", fin_timeout),
    ("net.ipv4.tcp_max_tw_buckets", buckets),
    ("net.ipv4.tcp_tw_reuse", reuse),
    ("net.ipv4.tcp_max_syn_backlog", syn_backlog),
    ("net.netfilter.nf_conntrack_tcp_timeout_time_wait", conntrack),
];

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    let settings = facts.machine.configured.iter().flatten();
    settings.filter(|it| it.counts).filter_map(|it| finding(facts, it)).collect()
}

/// Where another value runs it is another rule's.
fn finding(facts: &Facts, setting: &Configured) -> Option<Finding> {
    let Configured { place, name, value, running, .. } = setting;
    let number = value.parse().ok().filter(|_| running.as_ref() == Some(value))?;
    let (_, look) = LOOKS.iter().find(|(looked_at, _)| looked_at == name)?;
    let Vain { hope, measured, truth } = look(facts, number)?;
    Some(Finding {
        id: "config_myth",
        severity: Severity::Info,
        netns: None,
        pid: None,
        comm: None,
        what: format!(
            "{place} sets {name} to {value}, which does not {hope}{}",
            measured.map_or(String::new(), |it| format!("; {it}")),
        ),
        why: truth.to_owned(),
        do_first: format!("if it is there to {hope}, remove the line from {place}"),
        then: Vec::new(),
        futile: Vec::new(),
        check: format!("`sysctl {name}` after the next boot is the kernel's own"),
    })
}

fn fin_timeout(facts: &Facts, seconds: u64) -> Option<Vain> {
    (seconds < MINUTE_S).then(|| Vain {
        hope: "shorten TIME_WAIT",
        measured: myths::fin_timeout(facts),
        truth: "it bounds FIN_WAIT2 of closed sockets, whose peer does not close; TIME_WAIT is 60 s, \
                compiled in (TCP_TIMEWAIT_LEN)",
    })
}

/// Half of the table of connections is what it is unless set
/// ([`tcp_set_hashinfo`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_ipv4.c)).
fn buckets(facts: &Facts, limit: u64) -> Option<Vain> {
    let home = home(facts)?;
    let table: i64 = home.sysctls.get("net.ipv4.tcp_ehash_entries")?.trim().parse().ok()?;
    let kernels = table.unsigned_abs() / 2;
    (limit > 0 && limit < kernels).then(|| Vain {
        hope: "end any TIME_WAIT sooner",
        measured: home.minis().map(|minis| {
            format!(
                "there are {} TIME_WAITs, and the kernel's own limit is {}",
                count(minis),
                count(kernels)
            )
        }),
        truth: "above it closes leave no TIME_WAIT at all, and so nothing protects what comes next \
                from late segments; those that there are stay for their 60 s",
    })
}

/// Of a server, whose own connects have never taken one.
fn reuse(facts: &Facts, setting: u64) -> Option<Vain> {
    let counters = &home(facts)?.counters.as_ref().ok()?.after.counters;
    let [reused, opened, accepted] =
        ["TWRecycled", "ActiveOpens", "PassiveOpens"].map(|name| counters.get(name).copied());
    let (opened, accepted) = (opened?, accepted?);
    (setting == 1 && reused? == 0 && accepted > opened).then(|| Vain {
        hope: "help a server",
        measured: Some(format!(
            "{} connections were accepted and {} opened since boot, and none took a port from TIME_WAIT",
            count(accepted),
            count(opened)
        )),
        truth: "connect() alone takes ports in TIME_WAIT; a new SYN of a client replaces the TIME_WAIT \
                of an accepted connection whatever the setting",
    })
}

fn syn_backlog(facts: &Facts, limit: u64) -> Option<Vain> {
    let home = home(facts)?;
    let number = |name: &str| home.sysctls.get(name)?.trim().parse::<u64>().ok();
    let (cookies, longest) = (number("net.ipv4.tcp_syncookies")?, number("net.core.somaxconn")?);
    (cookies > 0 && limit > longest).then(|| Vain {
        hope: "make the queue of half-open requests longer",
        measured: Some(format!(
            "tcp_syncookies is {cookies}, and net.core.somaxconn, the longest backlog, {}",
            count(longest)
        )),
        truth: "with cookies the kernel does not ask for it: the queue is as long as the listener's \
                backlog, which somaxconn bounds",
    })
}

fn conntrack(_: &Facts, seconds: u64) -> Option<Vain> {
    (seconds < CONNTRACK_TIME_WAIT_S).then_some(Vain {
        hope: "shorten TIME_WAIT of sockets",
        measured: None,
        truth: "it is about entries of connection tracking, which live beside sockets; it helps where \
                that table is full, and nowhere else",
    })
}

/// The namespace that files are applied to, which is ours where they are looked at.
fn home(facts: &Facts) -> Option<&Namespace> {
    facts.namespaces.values().find(|it| it.entry == Entry::Own)
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{NETNS, grow, healthy, set},
        *,
    };

    fn facts(name: &str, value: &str) -> Facts {
        let mut facts = healthy();
        facts.namespaces.get_mut(&NETNS).expect("it is there").entry = Entry::Own;
        set(&mut facts, "net.ipv4.tcp_ehash_entries", "262144");
        facts.machine.configured = Ok(vec![Configured {
            place: "/etc/sysctl.d/9.conf:3".to_owned(),
            name: name.to_owned(),
            value: value.to_owned(),
            counts: true,
            running: Some(value.to_owned()),
        }]);
        facts
    }

    #[test]
    fn a_line_is_vain_where_its_value_is() {
        let cases = [
            ("net.ipv4.tcp_fin_timeout", "15", "60", "shorten TIME_WAIT; tcp_fin_timeout is 60"),
            ("net.ipv4.tcp_max_tw_buckets", "5000", "131072", "there are 10 TIME_WAITs"),
            ("net.ipv4.tcp_max_syn_backlog", "8192", "4096", "the longest backlog, 4,096"),
            ("net.netfilter.nf_conntrack_tcp_timeout_time_wait", "30", "120", "of sockets"),
        ];
        for (name, vain, sound, measured) in cases {
            let [finding] = &find(&facts(name, vain))[..] else { panic!("{name}") };
            assert_eq!(finding.severity, Severity::Info);
            assert!(finding.what.contains(measured), "{}", finding.what);
            assert!(finding.then.is_empty() && finding.do_first.contains("9.conf:3"));
            assert_eq!(find(&facts(name, sound)), [], "{name}");
        }
    }

    #[test]
    fn tcp_tw_reuse_is_vain_where_nothing_was_reused() {
        let mut facts = facts("net.ipv4.tcp_tw_reuse", "1");
        for counter in ["TWRecycled", "ActiveOpens", "PassiveOpens"] {
            let namespace = facts.namespaces.get_mut(&NETNS).expect("it is there");
            let window = namespace.counters.as_mut().expect("they are known");
            *window.after.counters.get_mut(counter).expect("it is there") = 0;
        }
        assert_eq!(find(&facts), [], "nobody is served here");
        grow(&mut facts, "PassiveOpens", 500);
        assert!(find(&facts)[0].what.contains("500 connections were accepted"));
        grow(&mut facts, "TWRecycled", 1);
        assert_eq!(find(&facts), [], "it was of use");
    }

    #[test]
    fn another_value_that_runs_is_another_rules() {
        let mut facts = facts("net.ipv4.tcp_fin_timeout", "15");
        facts.machine.configured.as_mut().expect("it is known")[0].running = Some("60".to_owned());
        assert_eq!(find(&facts), []);
    }
}
