//! The formats that hold rows.

mod batch;
mod columnar;
mod csv;
mod jsonl;
mod text;

use std::io::Write;

use self::{columnar::Columnar, csv::Csv, jsonl::Jsonl};
use super::{
    columns::{Column, Value},
    error::ExportError,
};
use crate::frame::Meta;

/// What a table is: it goes into every format that has a place for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heading<'a> {
    /// `events` or `connections`.
    pub(super) rows: &'static str,
    pub(super) columns: &'static [Column],
    pub(super) meta: &'a Meta,
}

/// A table that is being written. All columns of all rows are in it, in order.
pub(super) enum Table<W: Write + Send> {
    Columnar(Box<Columnar<W>>),
    Csv(Csv<W>),
    Jsonl(Jsonl<W>),
}

impl<W: Write + Send> Table<W> {
    pub(super) fn parquet(heading: Heading<'_>, out: W) -> Result<Self, ExportError> {
        Ok(Self::Columnar(Box::new(Columnar::parquet(heading, out)?)))
    }

    pub(super) fn arrow(heading: Heading<'_>, out: W) -> Result<Self, ExportError> {
        Ok(Self::Columnar(Box::new(Columnar::arrow(heading, out)?)))
    }

    pub(super) fn csv(heading: Heading<'_>, out: W) -> Result<Self, ExportError> {
        Ok(Self::Csv(Csv::new(heading.columns, out)?))
    }

    pub(super) fn jsonl(heading: Heading<'_>, out: W) -> Self {
        Self::Jsonl(Jsonl::new(heading.columns, out))
    }

    /// One more row.
    pub(super) fn row(&mut self, values: &[Value<'_>]) -> Result<(), ExportError> {
        match self {
            Self::Columnar(table) => table.row(values),
            Self::Csv(table) => table.row(values),
            Self::Jsonl(table) => table.row(values),
        }
    }

    /// The table is complete.
    pub(super) fn finish(self) -> Result<(), ExportError> {
        match self {
            Self::Columnar(table) => table.finish(),
            Self::Csv(table) => table.finish(),
            Self::Jsonl(table) => table.finish(),
        }
    }
}
