//! Rows that are collected, by column.

use arrow_array::{
    ArrayRef,
    builder::{
        ArrayBuilder, BooleanBuilder, Float64Builder, StringDictionaryBuilder,
        TimestampNanosecondBuilder, UInt16Builder, UInt32Builder, UInt64Builder,
    },
    types::Int32Type,
};

use super::text;
use crate::export::{
    columns::{Column, Kind, Value},
    error::ExportError,
};

/// A batch is full at so many rows, or at so many bytes of text before equal ones are put
/// together: cgroups may have long names.
const MAX_ROWS: usize = 32_768;
const MAX_TEXT_BYTES: usize = 16 << 20;

/// One batch of rows.
pub(super) struct Batch {
    columns: Vec<Builder>,
    rows: usize,
    text_bytes: usize,
    text: String,
}

enum Builder {
    Time(TimestampNanosecondBuilder),
    U64(UInt64Builder),
    U32(UInt32Builder),
    U16(UInt16Builder),
    F64(Float64Builder),
    Bool(BooleanBuilder),
    Text(StringDictionaryBuilder<Int32Type>),
}

impl Batch {
    pub(super) fn new(columns: &[Column]) -> Self {
        let columns = columns.iter().map(|column| Builder::new(column.kind)).collect();
        Self { columns, rows: 0, text_bytes: 0, text: String::new() }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows >= MAX_ROWS || self.text_bytes >= MAX_TEXT_BYTES
    }

    pub(super) fn append(&mut self, values: &[Value<'_>]) -> Result<(), ExportError> {
        for (builder, value) in self.columns.iter_mut().zip(values) {
            self.text.clear();
            builder.append(value, &mut self.text)?;
            self.text_bytes += self.text.len();
        }
        self.rows += 1;
        Ok(())
    }

    /// The columns; the batch is empty then.
    pub(super) fn take(&mut self) -> Vec<ArrayRef> {
        self.rows = 0;
        self.text_bytes = 0;
        self.columns.iter_mut().map(Builder::finish).collect()
    }
}

impl Builder {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Time => Self::Time(TimestampNanosecondBuilder::new().with_timezone("UTC")),
            Kind::U64 | Kind::Pointer => Self::U64(UInt64Builder::new()),
            Kind::U32 => Self::U32(UInt32Builder::new()),
            Kind::U16 => Self::U16(UInt16Builder::new()),
            Kind::F64 => Self::F64(Float64Builder::new()),
            Kind::Bool => Self::Bool(BooleanBuilder::new()),
            Kind::Text => Self::Text(StringDictionaryBuilder::new()),
        }
    }

    /// Appends `value`; a text is left in `text`, which is empty.
    fn append(&mut self, value: &Value<'_>, text: &mut String) -> Result<(), ExportError> {
        match (self, value) {
            (Self::Time(column), Value::Time(ns)) => column.append_value(*ns),
            (Self::U64(column), Value::U64(number) | Value::Pointer(number)) => {
                column.append_value(*number);
            }
            (Self::U32(column), Value::U32(number)) => column.append_value(*number),
            (Self::U16(column), Value::U16(number)) => column.append_value(*number),
            (Self::F64(column), Value::F64(number)) => column.append_value(*number),
            (Self::Bool(column), Value::Bool(truth)) => column.append_value(*truth),
            (Self::Text(column), Value::Null) => column.append_null(),
            (Self::Text(column), value) => {
                text::append(text, value);
                column.append(&*text)?;
            }
            (column, _) => column.append_null(),
        }
        Ok(())
    }

    fn append_null(&mut self) {
        match self {
            Self::Time(column) => column.append_null(),
            Self::U64(column) => column.append_null(),
            Self::U32(column) => column.append_null(),
            Self::U16(column) => column.append_null(),
            Self::F64(column) => column.append_null(),
            Self::Bool(column) => column.append_null(),
            Self::Text(column) => column.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        let column: &mut dyn ArrayBuilder = match self {
            Self::Time(column) => column,
            Self::U64(column) => column,
            Self::U32(column) => column,
            Self::U16(column) => column,
            Self::F64(column) => column,
            Self::Bool(column) => column,
            Self::Text(column) => column,
        };
        column.finish()
    }
}
