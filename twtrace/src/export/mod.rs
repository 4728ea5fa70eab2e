//! Recordings as tables that other tools read, and as a timeline.
//!
//! Frames go in, in their order, and bytes come out as they go: what is kept is a batch of
//! rows, and the connections that live. Pure as the tracker is: no clock, no file.

mod beginning;
mod clock;
mod columns;
mod connections;
mod error;
mod events;
mod format;
mod people;
mod rows;
mod timeline;
mod words;

use std::io::Write;

use self::{
    beginning::Beginning,
    clock::WallClock,
    connections::Connections,
    format::{Heading, Table},
    rows::RowWriter,
    timeline::Timeline,
};
pub use self::{
    columns::{Column, Kind},
    error::ExportError,
};
use crate::frame::{Frame, Meta};

/// The version of names, types and meanings of columns; columns may be added within one.
pub const SCHEMA: &str = "1";

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How.
    pub format: Format,
    /// What a row is.
    pub rows: Rows,
    /// How many sockets are remembered, and as many mini-sockets; beyond it, what was
    /// quiet longest is written as it is.
    pub max_connections: usize,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet, with zstd.
    Parquet,
    /// The stream format of Apache Arrow.
    Arrow,
    /// CSV with a header.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// Trace events in JSON, for ui.perfetto.dev: a timeline of connections and port
    /// searches, whatever rows are asked for.
    Perfetto,
}

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// One record.
    Events,
    /// One socket and the mini-socket that it left.
    Connections,
}

impl Rows {
    /// The columns of such rows, in order.
    pub const fn columns(self) -> &'static [Column] {
        match self {
            Self::Events => events::EventRow::COLUMNS,
            Self::Connections => connections::row::ConnectionRow::COLUMNS,
        }
    }

    /// The name in a file's metadata.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Connections => "connections",
        }
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows; of a timeline its entries.
    pub rows: u64,
    /// Connections that were written before they were over, for want of room.
    pub evicted: u64,
}

/// Writes one recording. See the module's documentation.
pub struct Exporter<W: Write + Send> {
    /// `None` when it has begun to write.
    beginning: Option<Beginning>,
    clock: WallClock,
    body: Body<W>,
}

enum Body<W: Write + Send> {
    Rows(Box<RowWriter<W>>),
    Timeline(Box<Timeline<W>>),
}

impl<W: Write + Send> Exporter<W> {
    /// Begins with the recording `meta`; `out` should be buffered, since text formats write
    /// row by row.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn new(meta: &Meta, settings: Settings, out: W) -> Result<Self, ExportError> {
        Ok(Self {
            beginning: Some(Beginning::default()),
            clock: WallClock::new(WallClock::ahead(0, meta.wall_at_boot_ns)),
            body: Body::new(meta, settings, out)?,
        })
    }

    /// Takes in the next frame.
    ///
    /// # Errors
    /// `out` cannot be written; or a batch of records does not decode: what came before
    /// the damage is written, and the next frame may follow.
    pub fn frame(&mut self, frame: &Frame) -> Result<(), ExportError> {
        let Some(beginning) = &mut self.beginning else {
            return self.write(frame);
        };
        if let Frame::Tick { time_ns, wall_ns } = frame {
            self.clock = WallClock::new(WallClock::ahead(*time_ns, *wall_ns));
        } else if beginning.has_room_for(frame) {
            beginning.hold(frame.clone());
            return Ok(());
        }
        let damage = survived(self.begin())?;
        damage.and(self.write(frame))
    }

    /// Writes what was held back.
    fn begin(&mut self) -> Result<(), ExportError> {
        let mut damage = Ok(());
        for frame in self.beginning.take().unwrap_or_default().into_frames() {
            damage = damage.and(survived(self.write(&frame))?);
        }
        damage
    }

    fn write(&mut self, frame: &Frame) -> Result<(), ExportError> {
        if let Frame::Tick { time_ns, wall_ns } = frame {
            self.clock.tick(*time_ns, *wall_ns);
        }
        match &mut self.body {
            Body::Rows(rows) => rows.frame(frame, &self.clock),
            Body::Timeline(timeline) => timeline.frame(frame),
        }
    }

    /// The recording is over: writes what lives, and completes the file.
    ///
    /// # Errors
    /// As for [`Self::frame`]; after damage the file is complete all the same.
    pub fn finish(mut self) -> Result<Summary, ExportError> {
        let damage = survived(self.begin())?;
        let summary = match self.body {
            Body::Rows(rows) => rows.finish(&self.clock)?,
            Body::Timeline(timeline) => timeline.finish()?,
        };
        damage.map(|()| summary)
    }
}

/// What went wrong, if more can be written all the same; otherwise that is the error.
fn survived(written: Result<(), ExportError>) -> Result<Result<(), ExportError>, ExportError> {
    match written {
        Ok(()) | Err(ExportError::Decode(_)) => Ok(written),
        Err(error) => Err(error),
    }
}

impl<W: Write + Send> Body<W> {
    fn new(meta: &Meta, settings: Settings, out: W) -> Result<Self, ExportError> {
        let heading =
            Heading { rows: settings.rows.name(), columns: settings.rows.columns(), meta };
        let max_connections = settings.max_connections;
        let table = match settings.format {
            Format::Parquet => Table::parquet(heading, out)?,
            Format::Arrow => Table::arrow(heading, out)?,
            Format::Csv => Table::csv(heading, out)?,
            Format::Jsonl => Table::jsonl(heading, out),
            Format::Perfetto => {
                let timeline = Timeline::new(meta, max_connections, out)?;
                return Ok(Self::Timeline(Box::new(timeline)));
            }
        };
        let connections =
            (settings.rows == Rows::Connections).then(|| Connections::new(meta, max_connections));
        Ok(Self::Rows(Box::new(RowWriter::new(meta, connections, table))))
    }
}
