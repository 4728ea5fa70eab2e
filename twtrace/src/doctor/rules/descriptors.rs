//! Processes that have most of the files open that they may: EMFILE comes next.

use super::super::{
    facts::{Facts, OpenFiles},
    finding::{Finding, Futile, Remedy, Severity, process},
    words::{count, percent},
};
use crate::stats::thresholds::NEARLY_FULL;

/// From here on the next burst fails.
const FULL: f64 = 0.95;
/// More of one host say nothing new.
const SHOWN: usize = 5;
/// As many as a process may be given (fs.nr_open, unless that was raised).
const MOST: u64 = 1_048_576;

pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    let full = facts.machine.descriptors.iter().flat_map(|it| &it.full);
    full.filter_map(|it| finding(facts, it)).take(SHOWN).collect()
}

fn finding(facts: &Facts, it: &OpenFiles) -> Option<Finding> {
    let ratio = it.files.ratio().filter(|ratio| *ratio >= NEARLY_FULL)?;
    let who = process(it.comm.as_deref(), Some(it.pid))?;
    let held = Held::by(facts, it);
    Some(Finding {
        id: "descriptors",
        severity: if ratio >= FULL { Severity::Critical } else { Severity::Warning },
        netns: held.netns.or(it.netns),
        pid: Some(it.pid),
        comm: it.comm.clone(),
        what: format!(
            "{who} has {} of the {} files open that it may ({}){}",
            count(it.files.now),
            count(it.files.max),
            percent(ratio),
            held.words(),
        ),
        why:
            "at its own limit (RLIMIT_NOFILE, `ulimit -n`) accept(), socket() and open() fail with \
              EMFILE; what cannot be accepted waits until the listener's queue is full, too"
                .to_owned(),
        do_first: held.do_first(&who),
        then: (!held.leaks).then(|| raise(it)).flatten().into_iter().collect(),
        futile: held.futile(),
        check: format!("`ls /proc/{}/fd | wc -l` goes down", it.pid),
    })
}

/// What of its files are TCP sockets, as far as that is known.
struct Held {
    netns: Option<u32>,
    sockets: Option<u64>,
    close_wait: u64,
    /// Whether sockets that it does not close are what fills its limit.
    leaks: bool,
}

impl Held {
    fn by(facts: &Facts, it: &OpenFiles) -> Self {
        let rows = facts.census.iter().flat_map(|census| &census.by_process);
        let mut rows: Vec<_> = rows.filter(|row| row.pid == Some(it.pid)).collect();
        rows.sort_by_key(|row| row.sockets);
        let sockets = rows.iter().map(|row| row.sockets).sum();
        let close_wait = rows.iter().map(|row| row.states["CLOSE_WAIT"]).sum();
        Self {
            netns: rows.last().and_then(|row| row.netns),
            sockets: facts.census.is_ok().then_some(sockets),
            close_wait,
            leaks: close_wait * 2 >= it.files.now,
        }
    }

    fn words(&self) -> String {
        match self.sockets {
            _ if self.leaks => format!("; {} are sockets in CLOSE_WAIT", count(self.close_wait)),
            Some(sockets) => format!("; {} are TCP sockets", count(sockets)),
            None => String::new(),
        }
    }

    fn do_first(&self, who: &str) -> String {
        if self.leaks {
            return format!(
                "let {who} close() a connection when it reads 0 bytes: sockets whose peer has closed \
                 are what fills its limit"
            );
        }
        format!(
            "let {who} close what is idle, and take no more connections than it has files for; look \
             at what it has open (`ls -l /proc/PID/fd`)"
        )
    }

    fn futile(&self) -> Vec<Futile> {
        let minis = "TIME_WAIT holds no file: the process closed it".to_owned();
        let mut futile = vec![Futile::new("fewer TIME_WAITs", minis)];
        if self.leaks {
            let because = "sockets in CLOSE_WAIT fill a larger one as well, only later".to_owned();
            futile.push(Futile::new("a larger limit (`ulimit -n`)", because));
        }
        futile
    }
}

/// Up to the hard limit anybody may, beyond it root.
fn raise(it: &OpenFiles) -> Option<Remedy> {
    let wanted = it.files.max.saturating_mul(4).min(MOST);
    let hard = it.hard_limit.unwrap_or(MOST);
    let soft = if hard > it.files.max { wanted.min(hard) } else { wanted };
    (soft > it.files.max).then(|| Remedy {
        command: format!("prlimit --pid {} --nofile={soft}:{}", it.pid, soft.max(hard)),
        side_effects: "until the process ends: LimitNOFILE= of its unit, or `ulimit -n` before it \
                       starts, is what lasts; a program that calls select() breaks at its 1,025th file"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::facts::{Descriptors, Used},
            testing::{NETNS, healthy, held},
        },
        *,
    };

    fn facts(now: u64, max: u64, hard_limit: Option<u64>) -> Facts {
        let mut facts = healthy();
        let comm = Some("gateway".to_owned());
        let files = Used { now, max };
        let full = vec![OpenFiles { pid: 90, comm, netns: Some(1), files, hard_limit }];
        facts.machine.descriptors = Ok(Descriptors { full, unreadable: 0 });
        facts
    }

    #[test]
    fn how_bad_it_is_depends_on_how_full_it_is() {
        let severity = |now| find(&facts(now, 1_000, None)).first().map(|it| it.severity);
        assert_eq!(severity(799), None);
        assert_eq!(severity(800), Some(Severity::Warning));
        assert_eq!(severity(950), Some(Severity::Critical));
    }

    #[test]
    fn a_limit_is_raised_as_far_as_may_be() {
        let command = |max, hard| {
            let found = find(&facts(max, max, hard)).pop().expect("it is full");
            found.then.first().map(|it| it.command.clone())
        };
        let raised = |to: &str| Some(format!("prlimit --pid 90 --nofile={to}"));
        assert_eq!(command(1_024, Some(524_288)), raised("4096:524288"));
        assert_eq!(command(1_024, Some(2_048)), raised("2048:2048"));
        assert_eq!(command(1_024, Some(1_024)), raised("4096:4096"));
        assert_eq!(command(1_024, None), raised("4096:1048576"));
        assert_eq!(command(MOST, Some(MOST)), None, "the kernel gives no more");
    }

    #[test]
    fn what_fills_it_decides_what_helps() {
        let mut full = facts(1_000, 1_024, None);
        full.census = Ok(held(&full, 90, "ESTABLISHED", 700));
        let finding = find(&full).pop().expect("it is full");
        assert_eq!((finding.pid, finding.netns), (Some(90), Some(NETNS)));
        assert!(finding.what.ends_with("(98 %); 700 are TCP sockets"), "{}", finding.what);
        assert_eq!((finding.then.len(), finding.futile.len()), (1, 1));

        full.census = Ok(held(&full, 90, "CLOSE_WAIT", 700));
        let finding = find(&full).pop().expect("it is full");
        assert!(finding.what.ends_with("700 are sockets in CLOSE_WAIT"), "{}", finding.what);
        assert!(finding.do_first.contains("close()") && finding.then.is_empty());
        assert!(finding.futile[1].advice.contains("ulimit -n"), "{finding:#?}");

        full.census = Err("no".to_owned());
        let finding = find(&full).pop().expect("it is full");
        assert!(finding.what.ends_with("(98 %)"), "unknown is not 0: {}", finding.what);
    }
}
