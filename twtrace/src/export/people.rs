//! Whose something was: processes by name and place, as far as they are known by then.

use twtrace_common::{COMM_LEN, ProcessKey};

use super::{clock::WallClock, columns::Time};
use crate::{
    event::{Comm, ProcessEvent},
    frame::{Meta, ProcessFacts},
    stats::processes::{Processes, UNKNOWN},
};

/// The processes that were introduced. See [`Processes`] for how many.
#[derive(Debug)]
pub(super) struct People {
    known: Processes,
    wall_at_boot_ns: u64,
}

/// What rows say about one process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Person<'a> {
    pub(super) pid: Option<u32>,
    pub(super) started: Option<Time>,
    pub(super) comm: Option<Comm>,
    pub(super) cgroup: Option<&'a str>,
    pub(super) container: Option<&'a str>,
    pub(super) kernel_thread: Option<bool>,
}

impl People {
    pub(super) fn new(meta: &Meta) -> Self {
        Self { known: Processes::default(), wall_at_boot_ns: meta.wall_at_boot_ns }
    }

    pub(super) fn name(&mut self, event: &ProcessEvent) {
        self.known.name(event);
    }

    pub(super) fn place(&mut self, facts: &[ProcessFacts]) {
        facts.iter().for_each(|facts| self.known.place(facts));
    }

    /// What is known of `key`.
    pub(super) fn person(&self, key: ProcessKey) -> Person<'_> {
        let known = self.known.get(&key);
        Person {
            pid: Some(key.tgid),
            started: (key.start_time_ns != 0).then(|| self.started(key)),
            comm: known.map(|known| known.comm),
            cgroup: known.and_then(|known| known.cgroup.as_deref()),
            container: known.and_then(|known| known.container.as_deref()),
            kernel_thread: known.map(|known| known.kernel_thread),
        }
    }

    /// A process's start is on a clock that went on while the host was suspended.
    fn started(&self, key: ProcessKey) -> Time {
        let since_boot = i128::from(key.start_time_ns);
        let ahead_ns = WallClock::ahead(0, self.wall_at_boot_ns);
        Time((since_boot + i128::from(ahead_ns)).clamp(0, i128::from(i64::MAX)) as i64)
    }

    /// Who closed, as the Snapshot's `closers` has it: all kernel threads are one, and so
    /// are all that nobody saw.
    pub(super) fn closer(&self, process: Option<ProcessKey>) -> Person<'_> {
        match process.map(|key| self.person(key)) {
            None => nobody(UNKNOWN),
            Some(Person { kernel_thread: Some(true), .. }) => nobody("kernel"),
            Some(person) => person,
        }
    }
}

fn nobody(name: &'static str) -> Person<'static> {
    let mut bytes = [0; COMM_LEN];
    let len = name.len().min(COMM_LEN);
    bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
    Person { comm: Some(Comm::new(bytes)), ..Person::default() }
}
