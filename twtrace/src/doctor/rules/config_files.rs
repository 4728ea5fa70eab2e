//! Settings in files that say another thing than what runs, or nothing at all.

use super::super::{
    command::quoted,
    facts::{Configured, Facts},
    finding::{Finding, Remedy, Severity},
};

/// Removed from the kernel in 4.12: it broke clients behind NAT
/// ([4396e46187ca](https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/commit/?id=4396e46187ca)).
const RECYCLE: &str = "net.ipv4.tcp_tw_recycle";

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    let settings = facts.machine.configured.iter().flatten();
    settings.filter(|it| it.counts).filter_map(finding).collect()
}

fn finding(setting: &Configured) -> Option<Finding> {
    let Configured { place, name, value, running, .. } = setting;
    let (what, why, do_first, then) = match running {
        None if name == RECYCLE => (
            format!("{place} sets {name}, which this kernel does not have"),
            "it was removed in Linux 4.12: by timestamps it took clients behind one NAT for each \
             other's past, and dropped their SYNs",
            format!("remove the line from {place}"),
            None,
        ),
        Some(running) if !same(running, value) => (
            format!("{place} sets {name} to {value}, and it is {running}"),
            "the file is applied at boot: either somebody has changed the setting since, or the \
             next boot will",
            format!("decide for one of them: change {place}, or the setting"),
            Some(Remedy {
                command: format!("sysctl -p {}", quoted(file(place))),
                side_effects:
                    "applies every line of that file now, in this network namespace alone"
                        .to_owned(),
            }),
        ),
        _ => return None,
    };
    Some(Finding {
        id: "config_file",
        severity: Severity::Notice,
        netns: None,
        pid: None,
        comm: None,
        what,
        why: why.to_owned(),
        do_first,
        then: then.into_iter().collect(),
        futile: Vec::new(),
        check: format!("`sysctl {name}` says what the file says"),
    })
}

/// Without the number of the line.
fn file(place: &str) -> &str {
    place.rsplit_once(':').map_or(place, |(file, _)| file)
}

/// Several numbers are written with spaces or tabs between them.
fn same(running: &str, written: &str) -> bool {
    running.split_ascii_whitespace().eq(written.split_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::{super::testing::healthy, *};

    fn found(name: &str, value: &str, running: Option<&str>, counts: bool) -> Option<Finding> {
        let mut facts = healthy();
        facts.machine.configured = Ok(vec![Configured {
            place: "/etc/sysctl.d/9.conf:3".to_owned(),
            name: name.to_owned(),
            value: value.to_owned(),
            counts,
            running: running.map(str::to_owned),
        }]);
        find(&facts).pop()
    }

    #[test]
    fn a_file_that_says_another_thing_is_found() {
        let range = "net.ipv4.ip_local_port_range";
        assert_eq!(found(range, "1024 65535", Some("1024\t65535"), true), None);
        let finding = found(range, "1024 65535", Some("32768\t60999"), true).unwrap();
        assert_eq!(finding.then[0].command, "sysctl -p /etc/sysctl.d/9.conf");
        assert_eq!(found(range, "1 2", Some("3 4"), false), None, "another line sets it again");
    }

    #[test]
    fn what_the_kernel_dropped_is_to_be_removed() {
        let finding = found(RECYCLE, "1", None, true).unwrap();
        assert!(finding.why.contains("4.12") && finding.then.is_empty());
        assert_eq!(found("net.ipv4.tcp_new", "1", None, true), None, "a later kernel may have it");
    }
}
