//! JSON Lines: one object for each row, with every key; null is `null`.

use std::io::Write;

use super::text;
use crate::export::{
    columns::{Column, Value},
    error::ExportError,
};

/// Such a table.
pub(in crate::export) struct Jsonl<W> {
    columns: &'static [Column],
    line: String,
    field: String,
    out: W,
}

impl<W: Write> Jsonl<W> {
    pub(super) fn new(columns: &'static [Column], out: W) -> Self {
        Self { columns, line: String::new(), field: String::new(), out }
    }

    pub(super) fn row(&mut self, values: &[Value<'_>]) -> Result<(), ExportError> {
        self.line.clear();
        for (at, (column, value)) in self.columns.iter().zip(values).enumerate() {
            self.line.push_str(if at == 0 { "{\"" } else { ",\"" });
            self.line.push_str(column.name);
            self.line.push_str("\":");
            self.value(value)?;
        }
        self.line.push_str("}\n");
        self.out.write_all(self.line.as_bytes())?;
        Ok(())
    }

    fn value(&mut self, value: &Value<'_>) -> Result<(), ExportError> {
        match value {
            Value::Null => self.line.push_str("null"),
            Value::U64(_) | Value::U32(_) | Value::U16(_) | Value::F64(_) | Value::Bool(_) => {
                text::append(&mut self.line, value);
            }
            Value::Time(_) | Value::Pointer(_) | Value::Text(_) | Value::Comm(_) | Value::Ip(_) => {
                self.field.clear();
                text::append(&mut self.field, value);
                self.line.push_str(&serde_json::to_string(&self.field)?);
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), ExportError> {
        Ok(self.out.flush()?)
    }
}
