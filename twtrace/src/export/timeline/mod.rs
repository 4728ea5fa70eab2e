//! A timeline for ui.perfetto.dev: connections and what became of their ports, searches for
//! ports, and how many mini-sockets there were.
//!
//! The format is the [Trace Event Format](https://perfetto.dev/docs/getting-started/other-formats#json-format),
//! whose entries may come in any order: a connection is written when it is over.

mod canvas;
mod entry;
mod phases;
mod tracks;

use std::io::Write;

use self::canvas::Canvas;
use super::{Summary, connections::Connections, error::ExportError};
use crate::{
    decode,
    event::Event,
    frame::{Frame, Meta},
    pipeline::Pipeline,
};

/// See the module's documentation.
pub(super) struct Timeline<W: Write> {
    connections: Connections,
    /// What the counters show is what the Snapshot does.
    pipeline: Pipeline,
    canvas: Canvas<W>,
}

impl<W: Write> Timeline<W> {
    /// A timeline that remembers at most `max` sockets, and as many mini-sockets.
    pub(super) fn new(meta: &Meta, max: usize, out: W) -> Result<Self, ExportError> {
        Ok(Self {
            connections: Connections::new(meta, max),
            pipeline: Pipeline::new(meta.clone(), max, 1),
            canvas: Canvas::new(meta, out)?,
        })
    }

    pub(super) fn frame(&mut self, frame: &Frame) -> Result<(), ExportError> {
        let snapshot = self.pipeline.apply(frame);
        match frame {
            // Damage is told by the pipeline.
            Frame::Records(batch) => {
                for event in decode::events(batch).flatten() {
                    self.event(&event)?;
                }
            }
            Frame::Processes(facts) => self.canvas.people.place(facts),
            Frame::Tick { time_ns, .. } => self.canvas.pass(*time_ns),
            _ => {}
        }
        self.connections.frame(frame);
        for (life, _) in self.connections.done() {
            self.canvas.connection(&life)?;
        }
        if let Some(snapshot) = snapshot? {
            self.canvas.counters(&snapshot)?;
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), ExportError> {
        if let Event::Process(process) = event {
            self.canvas.people.name(process);
        }
        let time_ns = time_of(event);
        self.canvas.pass(time_ns);
        match self.connections.event(event) {
            Some(search) => self.canvas.search(&search, time_ns),
            None => Ok(()),
        }
    }

    pub(super) fn finish(mut self) -> Result<Summary, ExportError> {
        let evicted = self.connections.evicted();
        for (life, _) in self.connections.into_rest() {
            self.canvas.connection(&life)?;
        }
        Ok(Summary { rows: self.canvas.finish()?, evicted })
    }
}

/// When it happened; 0 where the record has no time.
fn time_of(event: &Event) -> u64 {
    match event {
        Event::Transition(event) => event.time_ns,
        Event::Birth(event) | Event::Step(event) | Event::End(event, _) | Event::Refused(event) => {
            event.time_ns
        }
        Event::Connect(event) => event.time_ns,
        Event::Search(event) => event.time_ns,
        Event::Sample(event) => event.time_ns,
        Event::Process(_) => 0,
    }
}
