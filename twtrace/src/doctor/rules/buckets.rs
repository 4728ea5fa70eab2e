//! Namespaces whose TIME_WAITs are refused, or soon will be.

use super::super::{
    command::{again, sysctl},
    facts::{Facts, Namespace},
    finding::{Finding, Futile, Remedy, Severity},
    words::{bytes, count, percent},
};
use crate::stats::thresholds::NEARLY_FULL;

const LIMIT: &str = "net.ipv4.tcp_max_tw_buckets";

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    let namespaces = facts.namespaces.iter();
    namespaces.filter_map(|(netns, namespace)| finding(facts, *netns, namespace)).collect()
}

fn finding(facts: &Facts, netns: u32, namespace: &Namespace) -> Option<Finding> {
    let limit = facts.number(Some(netns), LIMIT);
    let refused = namespace.grown("TCPTimeWaitOverflow").unwrap_or(0);
    let ratio = limit.filter(|limit| *limit > 0).zip(namespace.minis());
    let ratio = ratio.map(|(limit, minis)| minis as f64 / limit as f64);
    let severity = match ratio {
        _ if refused > 0 => Severity::Warning,
        Some(ratio) if ratio >= NEARLY_FULL => Severity::Notice,
        _ => return None,
    };
    Some(Finding {
        id: "tw_buckets",
        severity,
        netns: Some(netns),
        pid: None,
        comm: None,
        what: what(namespace, limit, ratio, refused),
        why: "at tcp_max_tw_buckets the kernel closes without TIME_WAIT: what is still under way \
              of the old connection may reach a new one with the same ends, and a lost last ACK \
              is answered by RST"
            .to_owned(),
        do_first: "close less: keep connections open and use them again; see who closes first"
            .to_owned(),
        then: limit.map(|limit| raise(facts, namespace, limit)).into_iter().collect(),
        futile: vec![Futile::new(
            "a smaller tcp_max_tw_buckets",
            "it ends no TIME_WAIT, it refuses more of them".to_owned(),
        )],
        check: format!("`{}`: TCPTimeWaitOverflow stays as it is", again(&namespace.entry)),
    })
}

fn what(namespace: &Namespace, limit: Option<u64>, ratio: Option<f64>, refused: u64) -> String {
    let minis = namespace.minis().map_or("-".to_owned(), count);
    let limit = limit.map_or("-".to_owned(), count);
    let ratio = ratio.map_or(String::new(), |ratio| format!(" ({})", percent(ratio)));
    let refused = match refused {
        0 => String::new(),
        refused => format!("; {} were refused meanwhile", count(refused)),
    };
    format!("{minis} TIME_WAITs of {limit} that may be{ratio}{refused}")
}

/// Four times as many, in what that takes at most.
fn raise(facts: &Facts, namespace: &Namespace, limit: u64) -> Remedy {
    let raised = (limit * 4).max(4_096);
    let memory = facts.mini_bytes().map_or(String::new(), |size| {
        format!(": {} at most, at {size} bytes each", bytes(raised * size))
    });
    Remedy {
        command: sysctl(&namespace.entry, LIMIT, &raised.to_string()),
        side_effects: format!("more kernel memory{memory}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{NETNS, grow, healthy, set},
        *,
    };

    #[test]
    fn refused_births_are_a_warning_that_names_the_room() {
        let mut facts = healthy();
        set(&mut facts, LIMIT, "10");
        grow(&mut facts, "TCPTimeWaitOverflow", 15);
        let [finding] = &find(&facts)[..] else { panic!("one finding") };
        assert_eq!((finding.severity, finding.netns), (Severity::Warning, Some(NETNS)));
        assert!(finding.what.contains("15 were refused"), "{}", finding.what);
        assert!(finding.then[0].command.ends_with("tcp_max_tw_buckets=4096"));
        assert!(finding.then[0].side_effects.contains("256 bytes"), "{finding:#?}");
    }

    #[test]
    fn little_room_is_told_before_any_is_refused() {
        let mut facts = healthy();
        set(&mut facts, LIMIT, "12");
        assert_eq!(find(&facts)[0].severity, Severity::Notice);
        set(&mut facts, LIMIT, "13");
        assert_eq!(find(&facts), []);
    }
}
