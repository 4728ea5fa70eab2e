//! Settings of the host that a namespace does not have, although it needs them: nothing is inherited.

use super::super::{
    command::{Entry, again, sysctl},
    facts::{Facts, Namespace},
    finding::{Finding, Remedy, Severity},
    words::percent,
};

/// What makes room for ports and TIME_WAITs.
const ROOM: [&str; 4] = [
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_max_tw_buckets",
    "net.core.somaxconn",
];
/// A destination that takes less of the ports needs no room.
const NEEDS_ROOM: f64 = 0.25;

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    let own = facts.namespaces.values().find(|it| it.entry == Entry::Own);
    let others = facts.namespaces.iter().filter(|(_, it)| it.entry != Entry::Own);
    let found = own.map(|own| others.filter_map(|(netns, it)| finding(facts, own, *netns, it)));
    found.into_iter().flatten().collect()
}

fn finding(facts: &Facts, own: &Namespace, netns: u32, namespace: &Namespace) -> Option<Finding> {
    let rows = facts.destinations().filter(|row| row.netns == Some(netns));
    let fullest = rows.filter_map(|row| row.used_ratio).fold(0.0, f64::max);
    let differs = |name: &&&str| {
        let [ours, theirs] = [own, namespace].map(|it| it.sysctls.get(**name));
        ours.is_some() && theirs.is_some() && ours != theirs
    };
    let differing: Vec<&str> = ROOM.iter().filter(differs).copied().collect();
    if fullest < NEEDS_ROOM || differing.is_empty() {
        return None;
    }
    let value = |it: &Namespace, name: &str| {
        let written = it.sysctls.get(name).map_or("-", String::as_str);
        written.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
    };
    let words = differing.iter().map(|name| {
        format!("{name} is {} there and {} here", value(namespace, name), value(own, name))
    });
    Some(Finding {
        id: "not_inherited",
        severity: Severity::Notice,
        netns: Some(netns),
        pid: None,
        comm: None,
        what: format!(
            "a destination there has {} of its ports taken, and {}",
            percent(fullest),
            words.collect::<Vec<_>>().join("; "),
        ),
        why: "a new network namespace begins with the kernel's defaults: what is set on the host, \
              or in its sysctl.d, is not set in a container"
            .to_owned(),
        do_first: "set it where the container is made (Docker: --sysctl, Kubernetes: \
                   securityContext.sysctls), so that the next one has it too"
            .to_owned(),
        then: differing
            .iter()
            .map(|name| Remedy {
                command: sysctl(&namespace.entry, name, &value(own, name)),
                side_effects: "until the container ends".to_owned(),
            })
            .collect(),
        futile: Vec::new(),
        check: format!("`{}` no longer names it", again(&namespace.entry)),
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{HOLDER, destination, healthy, set},
        *,
    };

    #[test]
    fn a_container_that_needs_what_the_host_has_is_told() {
        let mut facts = healthy();
        let mut own = facts.namespaces.values().next().expect("there is one").clone();
        own.entry = Entry::Own;
        own.sysctls.insert(ROOM[0].to_owned(), "1".to_owned());
        facts.namespaces.insert(1, own);
        assert_eq!(find(&facts), [], "it needs no room");
        facts.snapshot.destinations = Some(vec![destination(300)]);
        let [finding] = &find(&facts)[..] else { panic!("one finding") };
        assert!(finding.what.contains("tcp_tw_reuse is 2 there and 1 here"), "{}", finding.what);
        let wanted = format!("nsenter --target {HOLDER} --net sysctl -w net.ipv4.tcp_tw_reuse=1");
        assert_eq!(finding.then[0].command, wanted);
        set(&mut facts, ROOM[0], "1");
        assert_eq!(find(&facts), []);
    }
}
