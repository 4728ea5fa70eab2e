//! The tracks of a timeline: one for each process, with lanes for what it does at one time.

use std::io::Write;

use foldhash::fast::FixedState;
use hashlink::LruCache;
use twtrace_common::ProcessKey;

use super::entry::{Entries, Entry};
use crate::{
    event::Comm,
    export::{error::ExportError, people::People},
};

/// Processes remembered; one that was quiet longer gets a new track.
const MAX_PROCESSES: usize = 65_536;
/// Threads of one process that search at one time; beyond it slices overlap.
const MAX_LANES: usize = 64;
/// Numbers from here on are no pid: the kernel's limit is 2²².
const FIRST_OWN: u32 = 1 << 24;
const HOST: u32 = FIRST_OWN;
const UNKNOWN: u32 = FIRST_OWN + 1;

/// See the module's documentation.
pub(super) struct Tracks {
    known: LruCache<Option<ProcessKey>, Track, FixedState>,
    /// Who has the track of its own number: numbers of processes are used again.
    pids: LruCache<u32, ProcessKey, FixedState>,
    next: u32,
    host_named: bool,
}

struct Track {
    number: u32,
    /// By which it was introduced.
    name: Option<Comm>,
    lanes: Vec<Lane>,
}

/// One slice at a time fits in.
struct Lane {
    tid: u32,
    busy_until_ns: u64,
}

impl Default for Tracks {
    fn default() -> Self {
        Self {
            known: LruCache::with_hasher(MAX_PROCESSES, FixedState::default()),
            pids: LruCache::with_hasher(MAX_PROCESSES, FixedState::default()),
            next: UNKNOWN + 1,
            host_named: false,
        }
    }
}

impl Tracks {
    /// The track of the host as a whole.
    pub(super) fn host<W: Write>(&mut self, entries: &mut Entries<W>) -> Result<u32, ExportError> {
        if !self.host_named {
            self.host_named = true;
            introduce(entries, "process_name", (HOST, HOST), "host")?;
        }
        Ok(HOST)
    }

    /// The track of `process`; `None` for those that nobody saw.
    pub(super) fn process<W: Write>(
        &mut self,
        process: Option<ProcessKey>,
        people: &People,
        entries: &mut Entries<W>,
    ) -> Result<u32, ExportError> {
        let name = process.and_then(|process| people.person(process).comm);
        if let Some(track) = self.known.get_mut(&process)
            && track.name == name
        {
            return Ok(track.number);
        }
        let number = match self.known.remove(&process) {
            Some(track) => track.number,
            None => self.number(process),
        };
        let shown = match (name, process) {
            (Some(name), _) => name.to_string(),
            (None, Some(_)) => "unnamed".to_owned(),
            (None, None) => "unknown".to_owned(),
        };
        introduce(entries, "process_name", (number, number), &shown)?;
        self.known.insert(process, Track { number, name, lanes: Vec::new() });
        Ok(number)
    }

    fn number(&mut self, process: Option<ProcessKey>) -> u32 {
        let Some(process) = process else { return UNKNOWN };
        let is_others = self.pids.get(&process.tgid).is_some_and(|other| *other != process);
        if is_others || process.tgid == 0 || process.tgid >= FIRST_OWN {
            return self.own();
        }
        self.pids.insert(process.tgid, process);
        process.tgid
    }

    fn own(&mut self) -> u32 {
        let number = self.next;
        self.next = self.next.checked_add(1).unwrap_or(UNKNOWN + 1);
        number
    }

    /// A lane of `process`, whose track there is, that is free from `start_ns` to `end_ns`.
    pub(super) fn lane<W: Write>(
        &mut self,
        process: Option<ProcessKey>,
        start_ns: u64,
        end_ns: u64,
        entries: &mut Entries<W>,
    ) -> Result<u32, ExportError> {
        let own = self.own();
        let Some(track) = self.known.get_mut(&process) else { return Ok(own) };
        let free = track.lanes.iter_mut().find(|lane| lane.busy_until_ns <= start_ns);
        if let Some(lane) = free {
            lane.busy_until_ns = end_ns;
            return Ok(lane.tid);
        }
        if track.lanes.len() < MAX_LANES {
            track.lanes.push(Lane { tid: own, busy_until_ns: end_ns });
            introduce(entries, "thread_name", (track.number, own), "port searches")?;
            return Ok(own);
        }
        let earliest = track.lanes.iter_mut().min_by_key(|lane| lane.busy_until_ns);
        Ok(earliest.map_or(own, |lane| {
            lane.busy_until_ns = end_ns;
            lane.tid
        }))
    }
}

/// Names a track, or a lane.
fn introduce<W: Write>(
    entries: &mut Entries<W>,
    what: &str,
    (pid, tid): (u32, u32),
    name: &str,
) -> Result<(), ExportError> {
    let args = serde_json::json!({ "name": name });
    entries.write(&Entry { name: what, ph: "M", pid, tid, args, ..Entry::default() })
}
