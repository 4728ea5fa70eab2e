//! Frames to rows.

use std::io::Write;

use super::{
    Summary,
    clock::WallClock,
    connections::{self, Connections},
    error::ExportError,
    events,
    format::Table,
    people::People,
};
use crate::{
    decode,
    event::Event,
    frame::{Frame, Meta},
};

/// Connections that are over wait for what /proc says of their processes, which comes after
/// the records that introduced them; at most so many.
const MAX_DONE: usize = 8_192;

/// Fills a table.
pub(super) struct RowWriter<W: Write + Send> {
    people: People,
    /// `None` if each record is a row.
    connections: Option<Connections>,
    table: Table<W>,
    rows: u64,
}

impl<W: Write + Send> RowWriter<W> {
    /// An empty `table`, of `connections` or of records.
    pub(super) fn new(meta: &Meta, connections: Option<Connections>, table: Table<W>) -> Self {
        Self { people: People::new(meta), connections, table, rows: 0 }
    }

    pub(super) fn frame(&mut self, frame: &Frame, clock: &WallClock) -> Result<(), ExportError> {
        match frame {
            Frame::Records(batch) => {
                for event in decode::events(batch) {
                    self.event(&event?, clock)?;
                }
            }
            Frame::Processes(facts) => {
                self.people.place(facts);
                self.write_done(clock)?;
            }
            frame => {
                if let Some(connections) = &mut self.connections {
                    connections.frame(frame);
                    self.write_done(clock)?;
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, event: &Event, clock: &WallClock) -> Result<(), ExportError> {
        if let Event::Process(process) = event {
            self.people.name(process);
        }
        if let Some(connections) = &mut self.connections {
            connections.event(event);
            let is_much = connections.done_count() >= MAX_DONE;
            return if is_much { self.write_done(clock) } else { Ok(()) };
        }
        self.rows += 1;
        self.table.row(&events::row(event, &self.people, clock).values())
    }

    fn write_done(&mut self, clock: &WallClock) -> Result<(), ExportError> {
        let done = self.connections.iter_mut().flat_map(Connections::done);
        for (life, why) in done {
            self.rows += 1;
            let row = connections::row::row(&life, why, &self.people, clock);
            self.table.row(&row.values())?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self, clock: &WallClock) -> Result<Summary, ExportError> {
        let evicted = self.connections.as_ref().map_or(0, Connections::evicted);
        let rest = self.connections.take().into_iter().flat_map(Connections::into_rest);
        for (life, why) in rest {
            self.rows += 1;
            let row = connections::row::row(&life, why, &self.people, clock);
            self.table.row(&row.values())?;
        }
        self.table.finish()?;
        Ok(Summary { rows: self.rows, evicted })
    }
}
