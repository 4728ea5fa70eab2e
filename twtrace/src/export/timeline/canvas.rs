//! Draws what happened.

use std::io::Write;

use super::{
    entry::{Entries, Entry, micros},
    phases::{self, Span},
    tracks::Tracks,
};
use crate::{
    event::Tuple,
    export::{connections::life::Life, error::ExportError, people::People, words},
    frame::Meta,
    stats::snapshot::Snapshot,
    tracker::{Destination, PortSearch},
};

/// Where a timeline is drawn.
pub(super) struct Canvas<W: Write> {
    pub(super) people: People,
    tracks: Tracks,
    entries: Entries<W>,
    /// From the beginning of the recording to the last moment that was seen.
    recording: Span,
    /// The number of the last connection.
    last_id: u64,
}

impl<W: Write> Canvas<W> {
    pub(super) fn new(meta: &Meta, out: W) -> Result<Self, ExportError> {
        Ok(Self {
            people: People::new(meta),
            tracks: Tracks::default(),
            entries: Entries::new(meta, out)?,
            recording: Span { from_ns: meta.started_ns, to_ns: meta.started_ns },
            last_id: 0,
        })
    }

    /// It is `time_ns` at least.
    pub(super) fn pass(&mut self, time_ns: u64) {
        self.recording.to_ns = self.recording.to_ns.max(time_ns);
    }

    /// A search that was over at `end_ns`, as a slice of its process.
    pub(super) fn search(&mut self, search: &PortSearch, end_ns: u64) -> Result<(), ExportError> {
        let Some(latency_ns) = search.latency_ns else { return Ok(()) };
        let start_ns = end_ns.saturating_sub(latency_ns);
        let pid = self.tracks.process(search.process, &self.people, &mut self.entries)?;
        let tid = self.tracks.lane(search.process, start_ns, end_ns, &mut self.entries)?;
        let destination = search
            .destination
            .map(|Destination { raddr, rport, .. }| format!("{} {rport}", Tuple::shown(raddr)));
        let args = serde_json::json!({
            "destination": destination,
            "netns": search.netns,
            "error": words::errno(search.error),
            "tried": search.tried,
        });
        let name = format!("port search by {}", words::search(search.search));
        self.entries.write(&Entry {
            name: &name,
            cat: "port_search",
            ph: "X",
            ts: self.at(start_ns),
            dur: Some(micros(latency_ns)),
            pid,
            tid,
            cname: (search.error != 0).then_some("terrible"),
            args,
            ..Entry::default()
        })
    }

    /// A connection that is over, or lives at the end: its phases within one slice.
    pub(super) fn connection(&mut self, life: &Life) -> Result<(), ExportError> {
        let process = life.owner.or(life.closer.flatten());
        let pid = self.tracks.process(process, &self.people, &mut self.entries)?;
        self.last_id += 1;
        let id = format!("{:#x}", self.last_id);
        let whole = phases::whole(life, self.recording);
        let name = format!("{} {}", Tuple::shown(life.tuple.raddr), life.tuple.rport);
        let slice = Entry {
            name: &name,
            cat: "connection",
            ph: "b",
            ts: self.at(whole.from_ns),
            pid,
            tid: pid,
            id: Some(&id),
            args: self.facts(life),
            ..Entry::default()
        };
        self.entries.write(&slice)?;
        for phase in phases::phases(life, whole) {
            let part = Entry {
                name: &phase.name,
                ts: self.at(phase.span.from_ns),
                cname: phase.colour,
                args: serde_json::Value::Null,
                ..slice
            };
            self.entries.write(&part)?;
            self.entries.write(&Entry { ph: "e", ts: self.at(phase.span.to_ns), ..part })?;
        }
        let end =
            Entry { ph: "e", ts: self.at(whole.to_ns), args: serde_json::Value::Null, ..slice };
        self.entries.write(&end)
    }

    fn facts(&self, life: &Life) -> serde_json::Value {
        let closer = life.closer.map(|closer| self.people.closer(closer));
        serde_json::json!({
            "local": format!("{} {}", Tuple::shown(life.tuple.laddr), life.tuple.lport),
            "netns": life.netns,
            "role": life.role.name(),
            "seeded": life.seeded,
            "connect": life.connect.and_then(words::connect),
            "first_fin": life.close.and_then(words::close),
            "closer": closer.and_then(|closer| closer.comm).map(|comm| comm.to_string()),
            "closer_pid": closer.and_then(|closer| closer.pid),
            "time_wait_refused": life.mini.refused,
        })
    }

    /// What the Snapshot of a tick says of the whole host.
    pub(super) fn counters(&mut self, snapshot: &Snapshot) -> Result<(), ExportError> {
        let time_wait = snapshot.time_wait.as_ref().and_then(|time_wait| time_wait.now);
        if let Some(now) = time_wait {
            self.counter("time_wait", serde_json::json!({ "now": now }))?;
        }
        if let Some(loss) = &snapshot.loss {
            let mut args = serde_json::json!({
                "ring_full": loss.ring_full,
                "unmatched": loss.unmatched,
                "evicted": loss.evicted,
            });
            if let Some(missed) = loss.missed {
                args["missed"] = missed.into();
            }
            self.counter("loss", args)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, args: serde_json::Value) -> Result<(), ExportError> {
        let pid = self.tracks.host(&mut self.entries)?;
        let ts = self.at(self.recording.to_ns);
        self.entries.write(&Entry { name, ph: "C", ts, pid, tid: pid, args, ..Entry::default() })
    }

    fn at(&self, time_ns: u64) -> f64 {
        micros(time_ns.saturating_sub(self.recording.from_ns))
    }

    /// Completes the file; returns how many entries it has.
    pub(super) fn finish(self) -> Result<u64, ExportError> {
        self.entries.finish()
    }
}
