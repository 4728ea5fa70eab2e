//! Every setting that decides anything here, in every namespace, as it runs.
//!
//! A setting is a finding only where the facts show that another value would change something;
//! what is left is here, for whoever compares hosts or namespaces.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Unknown,
    facts::{Facts, Namespace},
};

/// A setting of one network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Setting {
    /// The namespace.
    pub netns: u32,
    /// As `sysctl` takes it.
    pub name: &'static str,
    /// As the kernel writes it; `null` if that is not known.
    pub value: Option<String>,
    /// Why it is not known; `null` where it is.
    pub why: Option<String>,
    /// What it decides.
    pub decides: &'static str,
}

/// What is looked at, and what each decides, by the kernel's source:
/// [`ip-sysctl.rst`](https://github.com/torvalds/linux/blob/v6.12/Documentation/networking/ip-sysctl.rst).
const SETTINGS: [(&str, &str); 16] = [
    (
        "net.ipv4.tcp_tw_reuse",
        "whether connect() takes ports in TIME_WAIT: 0 never, 1 always, 2 on loopback",
    ),
    (REUSE_DELAY, "how many milliseconds old a TIME_WAIT must be for that"),
    ("net.ipv4.tcp_timestamps", "0: nothing in TIME_WAIT can be taken again early"),
    ("net.ipv4.ip_local_port_range", "which ports connect() and bind() to port 0 may take"),
    ("net.ipv4.ip_local_reserved_ports", "which of these they pass over"),
    ("net.ipv4.tcp_max_tw_buckets", "how many TIME_WAITs there may be; closes beyond leave none"),
    (
        "net.ipv4.tcp_fin_timeout",
        "how long FIN_WAIT2 of closed sockets waits for the peer; not TIME_WAIT",
    ),
    ("net.ipv4.tcp_rfc1337", "1: an RST does not end TIME_WAIT"),
    ("net.core.somaxconn", "the longest backlog that listen() gives"),
    (SYN_BACKLOG, "how many half-open requests a listener may have, where tcp_syncookies is 0"),
    ("net.ipv4.tcp_syncookies", "1: SYNs that meet a full queue are answered with a cookie"),
    ("net.ipv4.tcp_abort_on_overflow", "1: a full accept queue is answered by RST"),
    (
        "net.ipv4.tcp_keepalive_time",
        "after how many idle seconds a socket with SO_KEEPALIVE asks its peer",
    ),
    ("net.ipv4.tcp_keepalive_intvl", "how many seconds it waits for an answer"),
    ("net.ipv4.tcp_keepalive_probes", "how often it asks before it gives up"),
    ("net.ipv4.tcp_orphan_retries", "how often a closed socket sends again before it gives up"),
];
const REUSE_DELAY: &str = "net.ipv4.tcp_tw_reuse_delay";
const SYN_BACKLOG: &str = "net.ipv4.tcp_max_syn_backlog";

/// All settings of all namespaces.
pub(super) fn audit(facts: &Facts) -> Vec<Setting> {
    let settings = facts.namespaces.iter().flat_map(|(netns, namespace)| {
        SETTINGS.map(|(name, decides)| {
            let value = namespace.sysctls.get(name).map(|it| plain(it));
            let why = value.is_none().then(|| unknown(namespace, name).to_owned());
            Setting { netns: *netns, name, value, why, decides }
        })
    });
    settings.collect()
}

/// The settings that are not known, each once.
pub(super) fn unknown_settings(facts: &Facts) -> Vec<Unknown> {
    let is_unread = |namespace: &Namespace| namespace.sysctls.is_empty();
    let unread = facts.namespaces.iter().find(|(_, it)| is_unread(it)).map(|(netns, it)| Unknown {
        what: "settings",
        why: format!("netns {netns}: {}", unknown(it, "")),
    });
    let read: Vec<&Namespace> = facts.namespaces.values().filter(|it| !is_unread(it)).collect();
    let absent = SETTINGS.iter().filter_map(|(name, _)| {
        let without = read.iter().find(|it| !it.sysctls.contains_key(*name))?;
        Some(Unknown { what: name, why: unknown(without, name).to_owned() })
    });
    unread.into_iter().chain(absent).collect()
}

fn unknown(namespace: &Namespace, name: &str) -> &'static str {
    match name {
        _ if namespace.sysctls.is_empty() => {
            "they could not be read: it takes CAP_SYS_ADMIN to enter the network namespace"
        }
        REUSE_DELAY => {
            "this kernel has no such setting, which came with about Linux 6.14: a TIME_WAIT may be \
             taken from the next second on"
        }
        _ => "this kernel does not have it, or does not show it in this network namespace",
    }
}

/// Several numbers have tabs between them.
fn plain(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{super::rules::testing::healthy, *};

    #[test]
    fn every_setting_is_there_or_the_reason_why_not() {
        let mut facts = healthy();
        let all = audit(&facts);
        assert_eq!(all.len(), SETTINGS.len());
        assert!(all.iter().all(|it| it.value.is_some() != it.why.is_some()));
        let of = |name| all.iter().find(|it| it.name == name).expect("it is looked at");
        assert_eq!(of("net.ipv4.ip_local_port_range").value.as_deref(), Some("32768 60999"));
        assert!(of(REUSE_DELAY).why.as_deref().is_some_and(|why| why.contains("6.14")));
        let unknown: Vec<_> = unknown_settings(&facts).iter().map(|it| it.what).collect();
        assert!(unknown.contains(&REUSE_DELAY) && !unknown.contains(&"settings"), "{unknown:?}");

        let namespace = facts.namespaces.values_mut().next().expect("there is one");
        namespace.sysctls.clear();
        let [only] = &unknown_settings(&facts)[..] else { panic!("one reason for all") };
        assert!(only.what == "settings" && only.why.contains("CAP_SYS_ADMIN"), "{only:?}");
    }
}
