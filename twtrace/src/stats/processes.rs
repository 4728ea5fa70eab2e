//! Names and places of processes.

use bytes::{Bytes, BytesMut};
use foldhash::fast::FixedState;
use hashlink::LruCache;
use twtrace_common::{ProcessKey, ProcessRecord, RecordKind, process_flags};
use zerocopy::IntoBytes;

use crate::{
    event::{Comm, ProcessEvent, printable},
    frame::ProcessFacts,
};

/// Processes remembered: twice as many as rows about them.
const MAX_PROCESSES: usize = 131_072;
/// How a process is called that nobody saw.
pub(crate) const UNKNOWN: &str = "unknown";

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) comm: Comm,
    pub(crate) kernel_thread: bool,
    /// Of its first introduction.
    cgroup_id: u64,
    pub(crate) cgroup: Option<String>,
    pub(crate) container: Option<String>,
}

impl Process {
    fn record(&self, key: &ProcessKey) -> ProcessRecord {
        ProcessRecord {
            kind: RecordKind::Process as u8,
            flags: if self.kernel_thread { process_flags::KERNEL_THREAD } else { 0 },
            padding: [0; 2],
            tgid: key.tgid,
            start_time_ns: key.start_time_ns,
            cgroup_id: self.cgroup_id,
            comm: self.comm.bytes(),
        }
    }
}

/// The processes that were introduced; those quiet longest are forgotten.
#[derive(Debug)]
pub(crate) struct Processes {
    known: LruCache<ProcessKey, Process, FixedState>,
}

impl Default for Processes {
    fn default() -> Self {
        Self { known: LruCache::with_hasher(MAX_PROCESSES, FixedState::default()) }
    }
}

impl Processes {
    pub(crate) fn name(&mut self, event: &ProcessEvent) {
        // Introduced again: its place is known already, its name may be new.
        if let Some(known) = self.known.get_mut(&event.key) {
            known.comm = event.comm;
            return;
        }
        self.known.insert(
            event.key,
            Process {
                comm: event.comm,
                kernel_thread: event.kernel_thread,
                cgroup_id: event.cgroup_id,
                cgroup: None,
                container: None,
            },
        );
    }

    /// All of them, introduced again: as raw records, and where they run.
    pub(crate) fn introductions(&self) -> (Bytes, Vec<ProcessFacts>) {
        let mut records = BytesMut::new();
        let mut places = Vec::new();
        for (key, process) in &self.known {
            records.extend_from_slice(process.record(key).as_bytes());
            if process.cgroup.is_some() || process.container.is_some() {
                places.push(ProcessFacts {
                    key: *key,
                    cgroup: process.cgroup.clone(),
                    container: process.container.clone(),
                });
            }
        }
        (records.freeze(), places)
    }

    pub(crate) fn place(&mut self, facts: &ProcessFacts) {
        if let Some(process) = self.known.get_mut(&facts.key) {
            // Whoever may make one chooses its name, as a process does its own.
            process.cgroup = facts.cgroup.as_deref().map(printable);
            process.container = facts.container.as_deref().map(printable);
        }
    }

    /// Whether it is a kernel thread; remembers that it was asked for.
    pub(crate) fn is_kernel_thread(&mut self, key: &ProcessKey) -> bool {
        self.known.get(key).is_some_and(|process| process.kernel_thread)
    }

    /// Remembers that a process is still of interest.
    pub(crate) fn touch(&mut self, key: &ProcessKey) {
        let _ = self.known.get(key);
    }

    /// Whether it was in cgroup `id` when it was introduced.
    pub(crate) fn was_in(&self, id: u64, key: &ProcessKey) -> bool {
        self.known.peek(key).is_some_and(|process| process.cgroup_id == id)
    }

    pub(crate) fn get(&self, key: &ProcessKey) -> Option<&Process> {
        self.known.peek(key)
    }

    /// What to call it: `unknown` where nobody saw who it was, `None` if its
    /// name got lost.
    pub(crate) fn comm(&self, process: Option<ProcessKey>) -> Option<String> {
        match process {
            Some(key) => self.get(&key).map(|known| known.comm.to_string()),
            None => Some(UNKNOWN.to_owned()),
        }
    }
}
