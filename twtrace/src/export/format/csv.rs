//! CSV by RFC 4180, with a header, harmless in a spreadsheet.

use std::io::Write;

use super::text;
use crate::export::{
    columns::{Column, Kind, Value},
    error::ExportError,
};

/// A CSV table. Null is an empty field; empty text is `""`.
pub(in crate::export) struct Csv<W> {
    columns: &'static [Column],
    line: String,
    field: String,
    out: W,
}

impl<W: Write> Csv<W> {
    pub(super) fn new(columns: &'static [Column], mut out: W) -> Result<Self, ExportError> {
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        writeln!(out, "{}", names.join(","))?;
        Ok(Self { columns, line: String::new(), field: String::new(), out })
    }

    pub(super) fn row(&mut self, values: &[Value<'_>]) -> Result<(), ExportError> {
        self.line.clear();
        for (at, (column, value)) in self.columns.iter().zip(values).enumerate() {
            if at > 0 {
                self.line.push(',');
            }
            match value {
                Value::Null => {}
                value if column.kind == Kind::Text => self.text(value),
                value => text::append(&mut self.line, value),
            }
        }
        self.line.push('\n');
        self.out.write_all(self.line.as_bytes())?;
        Ok(())
    }

    /// A process chooses its own name, and what begins like a formula a spreadsheet
    /// would compute.
    fn text(&mut self, value: &Value<'_>) {
        self.field.clear();
        text::append(&mut self.field, value);
        let is_formula = self.field.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
        let is_plain = !self.field.is_empty() && !self.field.contains(['"', ',', '\r', '\n']);
        if is_plain {
            self.line.push_str(if is_formula { "'" } else { "" });
            self.line.push_str(&self.field);
            return;
        }
        self.line.push('"');
        self.line.push_str(if is_formula { "'" } else { "" });
        for character in self.field.chars() {
            if character == '"' {
                self.line.push('"');
            }
            self.line.push(character);
        }
        self.line.push('"');
    }

    pub(super) fn finish(mut self) -> Result<(), ExportError> {
        Ok(self.out.flush()?)
    }
}
