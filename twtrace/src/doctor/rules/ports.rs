//! Destinations that run out of local ports.

use super::super::{
    command::{again, sysctl},
    facts::{Facts, PORT_RANGE as RANGE},
    finding::{Finding, Futile, Remedy, Severity, process},
    words::{count, endpoint, number, of, percent},
};
use crate::stats::{
    snapshot::Destination,
    thresholds::{KNEE, NEARLY_FULL, SOON_S},
};

/// More of one namespace say nothing new.
const SHOWN: usize = 5;

/// Ports below are for servers, and a range that has the others is as wide as it sensibly gets.
const WIDEST: (u16, u16) = (1_024, 65_535);
const REUSE: &str = "net.ipv4.tcp_tw_reuse";
const REUSE_DELAY: &str = "net.ipv4.tcp_tw_reuse_delay";
/// The kernel's own.
const DELAY_MS: u64 = 1_000;
const TIMESTAMPS: &str = "net.ipv4.tcp_timestamps";

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    let found = facts.destinations().filter_map(|row| finding(facts, row));
    found.take(SHOWN).collect()
}

fn finding(facts: &Facts, row: &Destination) -> Option<Finding> {
    let severity = severity(row)?;
    let remote = endpoint(row.raddr.as_deref()?, row.rport?);
    let who = process(row.comm.as_deref(), row.pid);
    let entry = facts.entry(row.netns);
    Some(Finding {
        id: "ports",
        severity,
        netns: row.netns,
        pid: row.pid,
        comm: row.comm.clone(),
        what: what(row, &remote, who.as_deref()),
        why: why(row),
        do_first: do_first(row, who.as_deref()),
        then: [reuse(facts, row), sooner(facts, row), range(facts, row)]
            .into_iter()
            .flatten()
            .collect(),
        futile: futile(facts, row),
        check: format!("`{}` no longer names {remote}", again(&entry)),
    })
}

fn severity(row: &Destination) -> Option<Severity> {
    let ratio = blocked(row).unwrap_or(0.0);
    let has_knee = row.range.is_some_and(|range| range.step == Some(2));
    if failed(row) > 0 || row.exhausted_in_s == Some(0.0) || ratio >= 1.0 {
        Some(Severity::Critical)
    } else if ratio >= NEARLY_FULL || row.exhausted_in_s.is_some_and(|left| left < SOON_S) {
        Some(Severity::Warning)
    } else if ratio >= KNEE && has_knee {
        Some(Severity::Notice)
    } else {
        None
    }
}

/// The part of the ports that a connect cannot have: those taken, without those in TIME_WAIT that
/// tcp_tw_reuse gives up.
fn blocked(row: &Destination) -> Option<f64> {
    let (ratio, ports) = (row.used_ratio?, row.ports_available.filter(|ports| *ports > 0)?);
    Some(ratio - row.ports_reusable.unwrap_or(0) as f64 / ports as f64)
}

/// Connects that found no port.
fn failed(row: &Destination) -> u64 {
    row.connect_errors.get("EADDRNOTAVAIL").copied().unwrap_or_default()
}

fn what(row: &Destination, remote: &str, who: Option<&str>) -> String {
    let laddr = row.laddr.as_deref().unwrap_or("any address");
    let mut what = format!("{laddr} → {remote}: {} local ports taken", count(row.ports_used));
    if let (Some(ports), Some(ratio)) = (row.ports_available, row.used_ratio) {
        what.push_str(&format!(" of {} ({})", count(ports), percent(ratio)));
    }
    what.push_str(&format!(", {} of them by TIME_WAIT", count(row.ports_time_wait)));
    if failed(row) > 0 {
        let failed = of(failed(row), "connect", "connects");
        what.push_str(&format!("; {failed} failed with EADDRNOTAVAIL"));
    }
    if let Some(left) = row.exhausted_in_s.filter(|left| *left > 0.0) {
        what.push_str(&format!("; none is left in {left:.0} s if it goes on so"));
    }
    who.map_or(what.clone(), |who| format!("{what}; the last was taken by {who}"))
}

fn why(row: &Destination) -> String {
    let knee = "from half on each connect first searches the half that is full";
    let rule = "a local port serves once per local address, remote address and remote port, and \
                TIME_WAIT keeps it for 60 s after the close of the end that closed first";
    match row.range {
        Some(range) if range.step == Some(2) => format!("{rule}; {knee}"),
        _ => rule.to_owned(),
    }
}

fn mostly_waiting(row: &Destination) -> bool {
    row.ports_time_wait * 2 >= row.ports_used
}

fn do_first(row: &Destination, who: Option<&str>) -> String {
    let who = who.map_or(String::new(), |who| format!(" in {who}"));
    if mostly_waiting(row) {
        format!(
            "keep connections open and use them again{who}: keep-alive, a pool that keeps as many \
             as are used at once; or let the other end close first"
        )
    } else {
        format!(
            "most ports are held by open connections{who}: close idle ones, or share them; more \
             remote addresses or ports give as many ports again each"
        )
    }
}

/// Whether the setting is what keeps connects from ports in TIME_WAIT, and nothing else does.
fn setting_forbids(facts: &Facts, row: &Destination) -> bool {
    let forbids = |it: &crate::stats::snapshot::TwReuse| {
        it.setting.is_some_and(|setting| setting != 1) && it.refused.setting.unwrap_or(0) > 0
    };
    row.ports_time_wait > 0
        && row.ports_reusable == Some(0)
        && facts.sysctl(row.netns, TIMESTAMPS).is_none_or(|it| it.trim() != "0")
        && facts.reuse(row.netns).is_some_and(forbids)
}

fn reuse(facts: &Facts, row: &Destination) -> Option<Remedy> {
    setting_forbids(facts, row).then(|| Remedy {
        command: sysctl(&facts.entry(row.netns), REUSE, "1"),
        side_effects: format!(
            "connects take any of the {} ports in TIME_WAIT after 1 s instead of 60 s, where the peer \
             sends timestamps, which alone tell old segments then",
            count(row.ports_time_wait)
        ),
    })
}

/// Where the setting lets connects take ports, and a longer delay than the kernel's keeps them from it.
fn sooner(facts: &Facts, row: &Destination) -> Option<Remedy> {
    let delay_ms = facts.number(row.netns, REUSE_DELAY).filter(|delay| *delay > DELAY_MS)?;
    let too_young = facts.reuse(row.netns)?.refused.too_young.filter(|it| *it > 0)?;
    (row.ports_time_wait > 0).then(|| Remedy {
        command: sysctl(&facts.entry(row.netns), REUSE_DELAY, &DELAY_MS.to_string()),
        side_effects: format!(
            "connects take ports in TIME_WAIT after 1 s instead of {} s, {} now are too young for that",
            number(delay_ms as f64 / 1e3),
            count(too_young)
        ),
    })
}

/// The range that the search walks, if that is the namespace's.
fn current_range(facts: &Facts, row: &Destination) -> Option<(u16, u16)> {
    if row.range.is_some_and(|range| range.own) {
        return None;
    }
    let told = row.range.map(|range| (range.low, range.high));
    facts.port_range(row.netns).or(told)
}

fn can_grow(facts: &Facts, row: &Destination) -> bool {
    current_range(facts, row).is_some_and(|(low, high)| low > WIDEST.0 || high < WIDEST.1)
}

fn range(facts: &Facts, row: &Destination) -> Option<Remedy> {
    if !can_grow(facts, row) {
        return None;
    }
    let (low, high) = WIDEST;
    let ports = u64::from(high - low) + 1;
    Some(Remedy {
        command: sysctl(&facts.entry(row.netns), RANGE, &format!("{low} {high}")),
        side_effects: format!(
            "{} ports instead of {}, each search may look at as many more; connects may take ports \
             of servers that start later{}",
            count(ports),
            row.ports_available.map_or("fewer".to_owned(), count),
            reserve(facts, row.netns),
        ),
    })
}

/// Ports in the wider range that servers here have, which are to be reserved.
fn reserve(facts: &Facts, netns: Option<u32>) -> String {
    let Ok(census) = &facts.census else { return String::new() };
    let here = census.by_listener.iter().filter(|row| !row.other && row.netns == netns);
    let mut ports: Vec<u16> =
        here.filter_map(|row| row.lport).filter(|port| *port >= WIDEST.0).collect();
    ports.sort_unstable();
    ports.dedup();
    if ports.is_empty() {
        return String::new();
    }
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    format!(": reserve those in net.ipv4.ip_local_reserved_ports ({} here)", ports.join(","))
}

fn futile(facts: &Facts, row: &Destination) -> Vec<Futile> {
    let mut futile = Vec::new();
    if row.ports_time_wait > 0 {
        let minis = count(row.ports_time_wait);
        futile.push(Futile::new(
            "net.ipv4.tcp_fin_timeout",
            format!(
                "it bounds FIN_WAIT2; the 60 s of the {minis} ports in TIME_WAIT are compiled in"
            ),
        ));
    }
    if !setting_forbids(facts, row) {
        futile.extend(reuse_is_futile(facts, row).map(|why| Futile::new(REUSE, why)));
    }
    if !can_grow(facts, row) {
        let why = match row.range {
            Some(range) if range.own => "the sockets ask for a range of their own",
            _ => "it is as wide as it gets",
        };
        futile.push(Futile::new("a wider ip_local_port_range", why.to_owned()));
    }
    futile
}

/// Why tcp_tw_reuse=1 would give connects no port; `None` if that is not known.
fn reuse_is_futile(facts: &Facts, row: &Destination) -> Option<String> {
    if row.ports_time_wait == 0 {
        return Some("no port is in TIME_WAIT: open connections hold them".to_owned());
    }
    if facts.sysctl(row.netns, TIMESTAMPS).is_some_and(|it| it.trim() == "0") {
        return Some("it needs timestamps, and net.ipv4.tcp_timestamps is 0 here".to_owned());
    }
    let here = facts.reuse(row.netns)?;
    if here.setting == Some(1) {
        return Some(format!("it is 1 already: {} ports can be taken now", here.reusable?));
    }
    let refused = here.refused;
    (row.ports_reusable? > 0 || refused.setting == Some(0)).then(|| {
        format!(
            "it lets connects take ports here already, and {} are too young, {} without timestamps, \
             {} bound by a process",
            refused.too_young.map_or("-".to_owned(), count),
            refused.no_timestamps.map_or("-".to_owned(), count),
            refused.bound.map_or("-".to_owned(), count),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{HOLDER, destination, healthy, set, tw_reuse},
        *,
    };

    fn found(row: Destination, change: impl FnOnce(&mut Facts)) -> Option<Finding> {
        let mut facts = healthy();
        let waiting = row.ports_time_wait;
        facts.snapshot.destinations = Some(vec![row]);
        facts.snapshot.tw_reuse = Some(vec![tw_reuse(waiting)]);
        change(&mut facts);
        find(&facts).pop()
    }

    fn commands(finding: &Finding) -> Vec<&str> {
        finding.then.iter().map(|it| it.command.as_str()).collect()
    }

    fn advice(finding: &Finding) -> Vec<&str> {
        finding.futile.iter().map(|it| it.advice.as_str()).collect()
    }

    #[test]
    fn how_bad_it_is_depends_on_how_full_it_is() {
        let severity = |used| found(destination(used), |_| {}).map(|it| it.severity);
        assert_eq!(severity(499), None);
        assert_eq!(severity(500), Some(Severity::Notice));
        assert_eq!(severity(800), Some(Severity::Warning));
        assert_eq!(severity(1_000), Some(Severity::Critical));
        let with = |row: Destination| found(row, |_| {}).map(|it| it.severity);
        let failed = [("EADDRNOTAVAIL", 3)].into();
        assert_eq!(
            with(Destination { connect_errors: failed, ..destination(10) }),
            Some(Severity::Critical),
            "the table may lag behind what connects met"
        );
        let soon = Destination { exhausted_in_s: Some(30.0), ..destination(10) };
        assert_eq!(with(soon), Some(Severity::Warning));
        let mut no_knee = destination(600);
        no_knee.range =
            no_knee.range.map(|it| crate::stats::snapshot::SearchRange { step: Some(1), ..it });
        assert_eq!(with(no_knee), None);
        let reusable = Destination { ports_reusable: Some(600), ..destination(1_000) };
        assert_eq!(with(reusable), None, "connects take them");
        let unknown = Destination { used_ratio: None, ..destination(900) };
        assert_eq!(with(unknown), None);
    }

    #[test]
    fn what_helps_is_the_exact_command() {
        let finding = found(destination(1_000), |_| {}).unwrap();
        let enter = format!("nsenter --target {HOLDER} --net sysctl -w net.ipv4");
        let wanted = [
            format!("{enter}.tcp_tw_reuse=1"),
            format!("{enter}.ip_local_port_range=\"1024 65535\""),
        ];
        assert_eq!(commands(&finding), wanted);
        assert_eq!(advice(&finding), ["net.ipv4.tcp_fin_timeout"]);
        assert!(finding.do_first.contains("keep-alive"), "{}", finding.do_first);
        assert!(
            finding.what.contains("1,000 of 1,000")
                || finding.what.contains("1,000 local ports taken of 1,000")
        );
        assert!(finding.what.ends_with("by client (pid 90)"), "{}", finding.what);
    }

    #[test]
    fn a_delay_is_shortened_where_it_is_what_keeps_ports() {
        let young = |delay: &'static str, too_young| {
            let finding = found(destination(900), |facts| {
                set(facts, REUSE_DELAY, delay);
                let mut row = tw_reuse(0);
                (row.setting, row.refused.too_young) = (Some(1), Some(too_young));
                facts.snapshot.tw_reuse = Some(vec![row]);
            });
            let finding = finding.expect("it is nearly full");
            commands(&finding).iter().any(|it| it.ends_with("tcp_tw_reuse_delay=1000"))
        };
        assert!(young("30000", 700));
        assert!(!young("1000", 700), "it is the kernel's own");
        assert!(!young("30000", 0), "none waits for it");
    }

    #[test]
    fn what_would_change_nothing_is_refused() {
        let live = Destination { ports_time_wait: 0, ..destination(900) };
        let finding = found(live, |_| {}).unwrap();
        assert!(advice(&finding).contains(&REUSE), "open connections hold the ports");
        assert!(finding.do_first.contains("close idle ones"));

        let finding = found(destination(900), |facts| set(facts, TIMESTAMPS, "0")).unwrap();
        assert!(!commands(&finding).iter().any(|it| it.contains("tcp_tw_reuse")));
        assert!(advice(&finding).contains(&REUSE), "{finding:#?}");

        let on = |facts: &mut Facts| {
            let row = tw_reuse(0);
            facts.snapshot.tw_reuse =
                Some(vec![crate::stats::snapshot::TwReuse { setting: Some(1), ..row }]);
        };
        let finding = found(destination(900), on).unwrap();
        assert!(advice(&finding).contains(&REUSE), "it is on already");

        let finding = found(destination(900), |facts| set(facts, RANGE, "1024\t65535")).unwrap();
        assert!(advice(&finding).contains(&"a wider ip_local_port_range"));
        assert!(!commands(&finding).iter().any(|it| it.contains("port_range")));
    }
}
