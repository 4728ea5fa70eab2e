//! Where the processes run that records introduce: asked as soon as a process
//! is introduced, since it may be gone a moment later.

use twtrace_common::{ProcessRecord, RecordKind};
use zerocopy::FromBytes;

use crate::{
    decode,
    event::ProcessEvent,
    frame::ProcessFacts,
    host::{self, Cgroups},
};

/// Finds cgroups. See the module's documentation.
#[derive(Debug)]
pub(super) struct ProcessFinder {
    cgroups: Cgroups,
    /// Not found at once; asked for once more at the next tick.
    unplaced: Vec<ProcessEvent>,
}

impl ProcessFinder {
    pub(super) fn new() -> Self {
        Self { cgroups: Cgroups::new(), unplaced: Vec::new() }
    }

    /// Facts about the processes that `batch` introduces.
    pub(super) fn introduced(&mut self, batch: &[u8], now_ns: u64) -> Vec<ProcessFacts> {
        let mut facts = Vec::new();
        for process in introductions(batch) {
            match self.place(&process, now_ns) {
                Some(placed) => facts.push(placed),
                None => self.unplaced.push(process),
            }
        }
        facts
    }

    /// Facts about processes whose cgroup was not known at first.
    pub(super) fn second_look(&mut self, now_ns: u64) -> Vec<ProcessFacts> {
        let unplaced = std::mem::take(&mut self.unplaced);
        unplaced.iter().filter_map(|process| self.place(process, now_ns)).collect()
    }

    fn place(&mut self, process: &ProcessEvent, now_ns: u64) -> Option<ProcessFacts> {
        let cgroup = match self.cgroups.path(process.cgroup_id, now_ns) {
            Some(path) if path != "/" => path.to_owned(),
            // The root of v2 on a hybrid host, where v1 may know better; or no v2.
            path => v1_path(process).or(path.map(str::to_owned))?,
        };
        let container = host::container_id(&cgroup).map(str::to_owned);
        Some(ProcessFacts { key: process.key, cgroup: Some(cgroup), container })
    }
}

/// The cgroup by /proc, if the number still names the same process.
fn v1_path(process: &ProcessEvent) -> Option<String> {
    let key = process.key;
    let path = host::cgroup(key.tgid)?;
    let is_same = key.start_time_ns == 0
        || host::start_time_ns(key.tgid)
            .is_some_and(|start| host::same_start(start, key.start_time_ns));
    is_same.then_some(path)
}

/// The processes introduced in a batch. Skips over everything else by its length.
fn introductions(batch: &[u8]) -> impl Iterator<Item = ProcessEvent> {
    let mut rest = batch;
    std::iter::from_fn(move || {
        while let Some(&kind) = rest.first() {
            let record = rest;
            rest = decode::record_len(kind).and_then(|len| rest.get(len..)).unwrap_or_default();
            if kind == RecordKind::Process as u8
                && let Ok((process, _)) = ProcessRecord::read_from_prefix(record)
            {
                return Some(decode::process(&process));
            }
        }
        None
    })
    .filter(|process| !process.kernel_thread)
}
