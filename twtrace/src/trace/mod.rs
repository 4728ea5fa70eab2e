//! Trace files (`.twt`): what a recording is on disk, written and read.
//!
//! `docs/trace-format.md` says it byte by byte. A file is a [header](layout::FileHeader) and
//! frames, each with checksums of its own, so that whatever is damaged, the rest can be
//! read. Nothing in a file is trusted: lengths and counts are limited before any memory is
//! asked for.

mod columns;
mod content;
mod documents;
mod events;
pub mod layout;
mod reader;
mod rows;
mod writer;

use thiserror::Error;

pub use self::{
    content::{End, FileMeta, Recording},
    reader::{Damage, DamagedFrame, FileError, Found, Reader, UnknownFrame},
    writer::Writer,
};

/// Why the payload of a frame could not be read though its checksum is right: another tool
/// wrote it, or a version of this one that had a bug.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// It ends too early.
    #[error("the payload is cut short")]
    Short,
    /// It goes on after its end.
    #[error("the payload is longer than what it holds")]
    Long,
    /// A reference to what is not there.
    #[error("the payload refers to an entry that it does not have")]
    Reference,
    /// A number that has no meaning there.
    #[error("the payload has {0} where there is no such thing")]
    Unknown(&'static str),
    /// More than its header says, or less.
    #[error("the payload does not hold as much as its header says")]
    Count,
    /// JSON of another form.
    #[error("the payload is no JSON of its form: {0}")]
    Document(String),
    /// The compressed payload cannot be expanded, or not to the length in its header.
    #[error("the payload cannot be decompressed")]
    Compression,
}
