//! The entries of a timeline, as JSON.

use std::io::Write;

use serde::Serialize;
use serde_json::Value;

use crate::{export::error::ExportError, frame::Meta};

/// One entry. See the format for what its short names stand for.
#[derive(Debug, Default, Serialize)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    /// Its category.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) cat: &'a str,
    /// Which kind of entry: `X` a slice, `b` and `e` begin and end of an asynchronous one,
    /// `C` a counter, `M` a name.
    pub(super) ph: &'a str,
    /// Microseconds since the recording began.
    pub(super) ts: f64,
    /// Microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dur: Option<f64>,
    pub(super) pid: u32,
    pub(super) tid: u32,
    /// Which slices belong together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    /// A colour, by its reserved name; ui.perfetto.dev colours by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cname: Option<&'a str>,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub(super) args: Value,
}

/// Nanoseconds as microseconds: exact for a hundred days.
pub(super) fn micros(ns: u64) -> f64 {
    ns as f64 / 1_000.0
}

/// The entries of a file.
pub(super) struct Entries<W> {
    out: W,
    written: u64,
}

impl<W: Write> Entries<W> {
    pub(super) fn new(meta: &Meta, mut out: W) -> Result<Self, ExportError> {
        let about = serde_json::json!({
            "twtrace": env!("CARGO_PKG_VERSION"),
            "hostname": meta.hostname,
            "kernel": meta.kernel,
            "boot_id": meta.boot_id,
        });
        // No displayTimeUnit: some versions of Perfetto take `ns` for the unit of the file.
        write!(out, "{{\"otherData\":{about},\"traceEvents\":[")?;
        Ok(Self { out, written: 0 })
    }

    pub(super) fn write(&mut self, entry: &Entry<'_>) -> Result<(), ExportError> {
        self.out.write_all(if self.written == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut self.out, entry)?;
        self.written += 1;
        Ok(())
    }

    /// Completes the file; returns how many there are.
    pub(super) fn finish(mut self) -> Result<u64, ExportError> {
        self.out.write_all(b"\n]}\n")?;
        self.out.flush()?;
        Ok(self.written)
    }
}
