//! Limits of the whole machine that are nearly reached: open files, memory of TCP, orphans, and
//! the time that network interrupts get.

use super::super::{
    facts::{Facts, Softirq, Used},
    finding::{Finding, Futile, Remedy, Severity},
    words::{count, percent},
};
use crate::stats::thresholds::NEARLY_FULL;

/// Fewer happen on any host that is busy for a moment.
const MANY_SQUEEZED: u64 = 100;

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    let machine = &facts.machine;
    let full = |used: &Result<Used, String>| {
        let used = *used.as_ref().ok()?;
        Some((used, used.ratio().filter(|ratio| *ratio >= NEARLY_FULL)?))
    };
    [
        full(&machine.files).map(|(used, ratio)| files(used, ratio)),
        full(&machine.memory).map(|(used, ratio)| memory(used, ratio)),
        full(&machine.orphans).map(|(used, ratio)| orphans(used, ratio)),
        machine.softirq.as_ref().ok().and_then(softirq),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A finding about the machine, in none of its namespaces.
fn of_machine(id: &'static str, what: String, why: &str, do_first: &str, check: &str) -> Finding {
    Finding {
        id,
        severity: Severity::Warning,
        netns: None,
        pid: None,
        comm: None,
        what,
        why: why.to_owned(),
        do_first: do_first.to_owned(),
        then: Vec::new(),
        futile: Vec::new(),
        check: check.to_owned(),
    }
}

fn so_full(used: Used, ratio: f64) -> String {
    format!("{} of {} ({})", count(used.now), count(used.max), percent(ratio))
}

fn files(used: Used, ratio: f64) -> Finding {
    let finding = of_machine(
        "open_files",
        format!("{} files of the machine are open", so_full(used, ratio)),
        "at fs.file-max every open(), socket() and accept() fails with ENFILE; a process meets its \
         own limit (EMFILE, `ulimit -n`) before",
        "find who holds them (`twtrace states`): sockets in CLOSE_WAIT are closed by nobody else",
        "/proc/sys/fs/file-nr goes down",
    );
    let because = "TIME_WAIT holds no file: the process closed it".to_owned();
    let command = format!("sysctl -w fs.file-max={}", used.max.saturating_mul(2));
    let side_effects = "more kernel memory for files".to_owned();
    Finding {
        then: vec![Remedy { command, side_effects }],
        futile: vec![Futile::new("fewer TIME_WAITs", because)],
        ..finding
    }
}

fn memory(used: Used, ratio: f64) -> Finding {
    of_machine(
        "tcp_memory",
        format!("TCP holds {} pages of its limit (tcp_mem)", so_full(used, ratio)),
        "above the second number of tcp_mem buffers shrink, above the third sockets are cut and \
         packets dropped (TCPAbortOnMemory)",
        "read and send what is queued: full queues (`ss -tm`) hold it, TIME_WAIT holds none of it",
        "`mem` of TCP in /proc/net/sockstat goes down",
    )
}

fn orphans(used: Used, ratio: f64) -> Finding {
    let finding = of_machine(
        "orphans",
        format!("{} sockets are closed and still have to send or to wait", so_full(used, ratio)),
        "at tcp_max_orphans the kernel cuts them by RST; each holds its queue, unlike TIME_WAIT",
        "find peers that take no data or do not close; let the process wait for them (shutdown, \
         read to the end) before it closes",
        "`orphan` of TCP in /proc/net/sockstat goes down",
    );
    let command = "sysctl -w net.ipv4.tcp_orphan_retries=3".to_owned();
    let side_effects = "the kernel gives up on silent peers sooner".to_owned();
    Finding { then: vec![Remedy { command, side_effects }], ..finding }
}

fn softirq(seen: &Softirq) -> Option<Finding> {
    if seen.dropped == 0 && seen.squeezed < MANY_SQUEEZED {
        return None;
    }
    let what = format!(
        "network interrupts dropped {} packets and ran out of time {} times",
        count(seen.dropped),
        count(seen.squeezed),
    );
    let finding = of_machine(
        "softirq",
        what,
        "packets that no processor has time for wait or are dropped: handshakes and closes take \
         longer, and look like slow peers",
        "spread interrupts over processors (RSS, RPS), and keep busy processes off those that serve them",
        "the second and third column of /proc/net/softnet_stat stay as they are",
    );
    let command = "sysctl -w net.core.netdev_max_backlog=4096".to_owned();
    let side_effects = "longer queues: fewer drops, more delay".to_owned();
    let then = (seen.dropped > 0).then_some(Remedy { command, side_effects });
    Some(Finding { then: then.into_iter().collect(), ..finding })
}

#[cfg(test)]
mod tests {
    use super::{super::testing::healthy, *};

    #[test]
    fn each_limit_is_told_by_its_own_name() {
        let nearly = Ok(Used { now: 80, max: 100 });
        let ids = |change: &dyn Fn(&mut crate::doctor::facts::Machine)| {
            let mut facts = healthy();
            change(&mut facts.machine);
            find(&facts).iter().map(|it| it.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(&|machine| machine.files = nearly.clone()), ["open_files"]);
        assert_eq!(ids(&|machine| machine.memory = nearly.clone()), ["tcp_memory"]);
        assert_eq!(ids(&|machine| machine.orphans = nearly.clone()), ["orphans"]);
        assert_eq!(ids(&|machine| machine.files = Ok(Used { now: 79, max: 100 })), [""; 0]);
        assert_eq!(ids(&|machine| machine.files = Ok(Used { now: 79, max: 0 })), [""; 0]);
        assert_eq!(ids(&|machine| machine.files = Err("no".to_owned())), [""; 0]);
        let softirq = |dropped, squeezed| Ok(Softirq { dropped, squeezed });
        assert_eq!(ids(&|machine| machine.softirq = softirq(1, 0)), ["softirq"]);
        assert_eq!(ids(&|machine| machine.softirq = softirq(0, 100)), ["softirq"]);
        assert_eq!(ids(&|machine| machine.softirq = softirq(0, 99)), [""; 0]);
    }
}
