//! Which processes are wanted.

use foldhash::fast::FixedState;
use hashlink::LruCache;
use twtrace_common::{COMM_LEN, ProcessKey};

use super::Filter;
use crate::{
    event::{Comm, ProcessEvent},
    frame::ProcessFacts,
};

/// Processes remembered, as many as statistics know by name.
const MAX_PROCESSES: usize = 131_072;

/// What is known of one process, as far as it is asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    comm: Option<bool>,
    place: Option<bool>,
}

/// The processes that were introduced. See the module's documentation.
#[derive(Debug)]
pub(super) struct Processes {
    comm: Option<Comm>,
    known: LruCache<ProcessKey, Known, FixedState>,
    /// Those that did something before it was known whether they are wanted.
    awaited: LruCache<ProcessKey, (), FixedState>,
}

impl Processes {
    pub(super) fn new(filter: &Filter) -> Self {
        Self {
            comm: filter.comm.as_deref().map(kept),
            known: LruCache::with_hasher(MAX_PROCESSES, FixedState::default()),
            awaited: LruCache::with_hasher(MAX_PROCESSES, FixedState::default()),
        }
    }

    /// Learns a name; returns whether somebody waits for it.
    pub(super) fn name(&mut self, event: &ProcessEvent) -> bool {
        let Some(wanted) = self.comm else { return false };
        let known = self.known.entry(event.key).or_insert_with(Known::default);
        known.comm = Some(event.comm == wanted);
        self.awaited.remove(&event.key).is_some()
    }

    /// Learns where a process runs; returns whether somebody waits for it.
    pub(super) fn place(&mut self, filter: &Filter, facts: &ProcessFacts) -> bool {
        let Some(wanted) = &filter.cgroup else { return false };
        let known = self.known.entry(facts.key).or_insert_with(Known::default);
        known.place = Some(facts.cgroup.as_ref().is_some_and(|path| wanted.holds(path)));
        self.awaited.remove(&facts.key).is_some()
    }

    /// Whether `process` is wanted; `None` if that is not known yet.
    pub(super) fn wants(&mut self, filter: &Filter, process: ProcessKey) -> Option<bool> {
        if !has_number(filter, process) {
            return Some(false);
        }
        let known = self.known.get(&process).copied().unwrap_or_default();
        let asked = [
            filter.comm.is_some().then_some(known.comm),
            filter.cgroup.is_some().then_some(known.place),
        ];
        let mut answers = asked.into_iter().flatten();
        if answers.clone().any(|answer| answer == Some(false)) {
            return Some(false);
        }
        let wanted = answers.all(|answer| answer.is_some()).then_some(true);
        if wanted.is_none() {
            self.awaited.insert(process, ());
        }
        wanted
    }
}

fn has_number(filter: &Filter, process: ProcessKey) -> bool {
    filter.pid.as_ref().is_none_or(|wanted| {
        // A hook that cannot read the task tells no start.
        let started = wanted.started_ns.as_ref().filter(|_| process.start_time_ns != 0);
        wanted.tgid == process.tgid
            && started.is_none_or(|started| started.contains(&process.start_time_ns))
    })
}

/// What the kernel keeps of a name.
fn kept(name: &str) -> Comm {
    let mut bytes = [0; COMM_LEN];
    for (byte, of_name) in bytes[..COMM_LEN - 1].iter_mut().zip(name.bytes()) {
        *byte = of_name;
    }
    Comm::new(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Pid;

    fn key(tgid: u32, start_time_ns: u64) -> ProcessKey {
        ProcessKey { start_time_ns, tgid, padding: 0 }
    }

    fn event(tgid: u32, name: &str) -> ProcessEvent {
        ProcessEvent { key: key(tgid, 1), comm: kept(name), cgroup_id: 1, kernel_thread: false }
    }

    #[test]
    fn a_number_given_again_is_another_process() {
        let pid = Pid { tgid: 7, started_ns: Some(10..20) };
        let filter = Filter { pid: Some(pid), ..Filter::default() };
        let mut processes = Processes::new(&filter);
        for (process, wanted) in [(key(7, 15), true), (key(7, 20), false), (key(8, 15), false)] {
            assert_eq!(processes.wants(&filter, process), Some(wanted), "{process:?}");
        }
        assert_eq!(processes.wants(&filter, key(7, 0)), Some(true), "its start is not told");
    }

    #[test]
    fn names_are_compared_as_far_as_the_kernel_keeps_them() {
        let filter = Filter { comm: Some("a-very-long-name".to_owned()), ..Filter::default() };
        let mut processes = Processes::new(&filter);
        assert_eq!(processes.wants(&filter, key(1, 1)), None, "not introduced yet");
        assert!(processes.name(&event(1, "a-very-long-nam")), "it is awaited");
        assert_eq!(processes.wants(&filter, key(1, 1)), Some(true));
        processes.name(&event(2, "a-very-long-na"));
        assert_eq!(processes.wants(&filter, key(2, 1)), Some(false));
    }

    #[test]
    fn a_place_may_be_told_later() {
        let cgroup = Some("/a".parse().unwrap());
        let filter = Filter { cgroup, ..Filter::default() };
        let mut processes = Processes::new(&filter);
        assert_eq!(processes.wants(&filter, key(1, 1)), None);
        let facts = |path: &str| ProcessFacts {
            key: key(1, 1),
            cgroup: Some(path.to_owned()),
            container: None,
        };
        assert!(processes.place(&filter, &facts("/a/b")));
        assert_eq!(processes.wants(&filter, key(1, 1)), Some(true));
    }
}
