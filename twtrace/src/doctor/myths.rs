//! Claims about TIME_WAIT, beside what was measured here.

use schemars::JsonSchema;
use serde::Serialize;
use twtrace_common::TcpState;

use super::{
    facts::Facts,
    words::{bytes, count, number, percent},
};

/// A claim, the number that decides it, and what is true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Myth {
    /// What is said.
    pub claim: &'static str,
    /// What was measured here; `null` if nothing was that decides it.
    pub measured: Option<String>,
    /// What is true.
    pub verdict: &'static str,
}

/// A claim, how to measure it, and what is true by the kernel's source.
type Row = (&'static str, fn(&Facts) -> Option<String>, &'static str);

/// <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_minisocks.c> is what most verdicts are by.
const ROWS: [Row; 11] = [
    (
        "tcp_fin_timeout shortens TIME_WAIT",
        fin_timeout,
        "false: it bounds FIN_WAIT2 of closed sockets; TIME_WAIT is 60 s, compiled in \
         (TCP_TIMEWAIT_LEN)",
    ),
    (
        "TIME_WAIT holds file descriptors",
        descriptors,
        "false: the descriptor is gone with close(); what stays is a mini-socket that no process holds",
    ),
    (
        "so many TIME_WAITs are an incident",
        incident,
        "false: what fails is a destination whose ports run out; the number by itself says nothing",
    ),
    (
        "TIME_WAIT costs much memory",
        memory,
        "false: a mini-socket is a tenth of a socket, and has no buffers",
    ),
    (
        "tcp_tw_reuse helps a server",
        reuse_on_server,
        "false: connect() alone takes ports in TIME_WAIT; what was accepted keeps no local port, and \
         a new SYN replaces its TIME_WAIT anyway",
    ),
    (
        "tcp_tw_reuse=1 would help here",
        reuse_here,
        "only where the setting is what keeps connects from ports, and these run out",
    ),
    (
        "tcp_tw_recycle helps",
        recycle,
        "false: Linux 4.12 removed it, since it dropped clients behind NAT",
    ),
    (
        "a smaller tcp_max_tw_buckets helps",
        buckets,
        "false: it ends no TIME_WAIT and refuses more, which is what TIME_WAIT protects from",
    ),
    (
        "the server has the TIME_WAITs when clients close first",
        who_has_them,
        "false: the end that closes first has them",
    ),
    ("SO_LINGER 0 is a cure", linger, "false: RST instead of FIN loses what the peer has not read"),
    (
        "a server takes 64k connections at most",
        server_limit,
        "false: 64k is for each client address and listening port; each address has as many again",
    ),
];

/// Every claim, with this host's numbers.
pub(super) fn myths(facts: &Facts) -> Vec<Myth> {
    let myth = |(claim, measure, verdict): Row| Myth { claim, measured: measure(facts), verdict };
    ROWS.map(myth).into()
}

/// The setting in the namespaces, each value once.
fn settings(facts: &Facts, name: &str) -> Option<String> {
    let mut values: Vec<&str> = facts
        .namespaces
        .values()
        .filter_map(|it| it.sysctls.get(name))
        .map(String::as_str)
        .collect();
    values.sort_unstable();
    values.dedup();
    (!values.is_empty()).then(|| values.join(", "))
}

pub(super) fn fin_timeout(facts: &Facts) -> Option<String> {
    let set = settings(facts, "net.ipv4.tcp_fin_timeout")?;
    let by_end = facts.snapshot.time_wait.as_ref()?.lifetime_by_end.as_ref();
    let expired = by_end.and_then(|it| it.get("expired")).filter(|it| it.count > 0);
    let lived = expired.and_then(|it| Some((it.count, it.min?, it.max?)));
    Some(lived.map_or_else(
        || format!("tcp_fin_timeout is {set}; no TIME_WAIT was born and expired meanwhile"),
        |(expired, min, max)| {
            format!(
                "tcp_fin_timeout is {set}; {} TIME_WAITs expired, after {} to {} s",
                count(expired),
                number(min),
                number(max)
            )
        },
    ))
}

fn descriptors(facts: &Facts) -> Option<String> {
    let census = facts.census.as_ref().ok()?;
    let minis = census.states.as_ref()?[TcpState::TimeWait.name()];
    let held = census.by_process.iter().filter(|row| row.pid.is_some());
    let held: u64 = held.map(|row| row.states[TcpState::TimeWait.name()]).sum();
    let files = facts.machine.files.as_ref().ok();
    let files = files.map_or(String::new(), |it| format!("; {} files are open", count(it.now)));
    Some(format!("{} TIME_WAITs, {} of them held by a process{files}", count(minis), count(held)))
}

fn incident(facts: &Facts) -> Option<String> {
    let minis = facts.snapshot.time_wait.as_ref()?.now?;
    let fullest = facts.destinations().filter_map(|row| row.used_ratio).fold(0.0, f64::max);
    Some(format!(
        "{} TIME_WAITs; the fullest destination has {} of its ports taken",
        count(minis),
        percent(fullest)
    ))
}

fn memory(facts: &Facts) -> Option<String> {
    let (minis, size) = (facts.snapshot.time_wait.as_ref()?.now?, facts.mini_bytes()?);
    let buckets = ["tcp_bind_bucket", "tcp_bind2_bucket"];
    let buckets: u64 = buckets.iter().filter_map(|name| facts.slab_bytes(name)).sum();
    // An outgoing one may share its port's buckets with others.
    let outbound = (buckets > 0).then(|| format!("; {buckets} more at most for a port of its own"));
    let socket = facts.slab_bytes("TCP");
    let socket = socket.map(|socket| format!("; a whole socket takes {socket}"));
    Some(format!(
        "{} TIME_WAITs × {size} bytes = {}{}{}",
        count(minis),
        bytes(minis * size),
        outbound.unwrap_or_default(),
        socket.unwrap_or_default(),
    ))
}

/// Mini-sockets of what was connected, and of what was accepted.
fn by_role(facts: &Facts, role: &str) -> Option<u64> {
    let rows = facts.snapshot.closers.as_ref()?.iter().filter(|row| row.role == Some(role));
    Some(rows.filter_map(|row| row.time_wait_now).sum())
}

fn reuse_on_server(facts: &Facts) -> Option<String> {
    let (inbound, outbound) = (by_role(facts, "server")?, by_role(facts, "client")?);
    let ended = &facts.snapshot.time_wait.as_ref()?.ended;
    let [reused, replaced] =
        [ended.reused, ended.replaced].map(|it| it.map_or("-".to_owned(), count));
    Some(format!(
        "{} TIME_WAITs of accepted connections, {} of opened ones; connects reused {reused}, new SYNs \
         replaced {replaced}",
        count(inbound),
        count(outbound),
    ))
}

fn reuse_here(facts: &Facts) -> Option<String> {
    let rows = facts.snapshot.tw_reuse.as_ref()?;
    let setting: Option<u64> = rows.iter().map(|row| row.refused.setting).sum();
    let reusable: Option<u64> = rows.iter().map(|row| row.reusable).sum();
    let (setting, reusable) = (setting?, reusable?);
    let set = settings(facts, "net.ipv4.tcp_tw_reuse").unwrap_or("-".to_owned());
    Some(match setting {
        0 => format!("it is {set}: it would change nothing, no port is kept by the setting"),
        kept => format!(
            "it is {set}: {} ports are kept by it, {} can be taken now",
            count(kept),
            count(reusable)
        ),
    })
}

fn recycle(facts: &Facts) -> Option<String> {
    let release = &facts.snapshot.host.kernel;
    let has =
        if facts.kernel_version()? < (4, 12) { "still has it" } else { "has no such setting" };
    let configured = facts.machine.configured.iter().flatten();
    let mut in_files = configured.filter(|it| it.name == "net.ipv4.tcp_tw_recycle");
    let set = in_files.next().map(|it| format!(", and {} sets it", it.place));
    Some(format!("Linux {release} {has}{}", set.unwrap_or_default()))
}

fn buckets(facts: &Facts) -> Option<String> {
    let set = settings(facts, "net.ipv4.tcp_max_tw_buckets")?;
    let refused: Vec<u64> =
        facts.namespaces.values().filter_map(|it| it.grown("TCPTimeWaitOverflow")).collect();
    let refused: Option<u64> = (!refused.is_empty()).then(|| refused.iter().sum());
    Some(format!(
        "it is {set}; {} births were refused meanwhile",
        refused.map_or("-".to_owned(), count)
    ))
}

fn who_has_them(facts: &Facts) -> Option<String> {
    let closes = |role| {
        let rows = facts.snapshot.closers.as_ref()?.iter().filter(|row| row.role == Some(role));
        Some(rows.map(|row| row.active_closes).sum::<u64>())
    };
    Some(format!(
        "clients closed first {} times and have {} TIME_WAITs, servers {} times and have {}",
        count(closes("client")?),
        count(by_role(facts, "client")?),
        count(closes("server")?),
        count(by_role(facts, "server")?),
    ))
}

fn linger(facts: &Facts) -> Option<String> {
    let local = facts.snapshot.closes.as_ref()?.reset_local?;
    Some(format!("{} established connections were cut by a process here", count(local)))
}

fn server_limit(facts: &Facts) -> Option<String> {
    let rows = facts.snapshot.clients.as_ref()?.iter().filter(|row| !row.other);
    let most = rows.map(|row| row.quadruplets_used).max()?;
    Some(format!("the client address with most of them has {} at one port", count(most)))
}

#[cfg(test)]
mod tests {
    use super::{
        super::rules::testing::{closer, healthy, tw_reuse},
        *,
    };

    fn measured(facts: &Facts, claim: &str) -> Option<String> {
        let found = myths(facts).into_iter().find(|myth| myth.claim.starts_with(claim));
        found.unwrap_or_else(|| panic!("no claim {claim}")).measured
    }

    #[test]
    fn what_was_not_measured_is_unknown() {
        let facts = healthy();
        assert_eq!(measured(&facts, "TIME_WAIT holds file"), None, "nobody looked");
        assert_eq!(measured(&facts, "SO_LINGER 0"), None, "nothing is traced");
        assert_eq!(measured(&facts, "tcp_tw_reuse helps"), None);
    }

    #[test]
    fn numbers_are_those_of_this_host() {
        let mut facts = healthy();
        facts.snapshot.closers = Some(vec![closer("client", 30), closer("server", 4)]);
        facts.snapshot.tw_reuse = Some(vec![tw_reuse(12)]);
        assert_eq!(
            measured(&facts, "the server has the TIME_WAITs").as_deref(),
            Some(
                "clients closed first 30 times and have 30 TIME_WAITs, servers 4 times and have 4"
            )
        );
        assert_eq!(
            measured(&facts, "tcp_tw_reuse=1 would help").as_deref(),
            Some("it is 2: 12 ports are kept by it, 0 can be taken now")
        );
        facts.snapshot.tw_reuse = Some(vec![tw_reuse(0)]);
        let nothing = measured(&facts, "tcp_tw_reuse=1 would help").unwrap();
        assert!(nothing.contains("would change nothing"), "{nothing}");
    }
}
