//! Why rows could not be written.

use std::io;

use arrow_schema::ArrowError;
use parquet::errors::ParquetError;
use thiserror::Error;

use crate::decode::DecodeError;

/// Why a frame could not be exported.
#[derive(Debug, Error)]
pub enum ExportError {
    /// A batch of records that does not decode; what came before the damage is a row,
    /// and further frames may follow.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The output could not be written: a full disk, a reader that is gone.
    #[error(transparent)]
    Write(#[from] io::Error),
    /// The format cannot hold this.
    #[error("cannot encode: {0}")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The libraries wrap what the output said.
impl From<ArrowError> for ExportError {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, error) => Self::Write(error),
            ArrowError::ExternalError(error) => unwrapped(error),
            error => Self::Encode(error.into()),
        }
    }
}

impl From<ParquetError> for ExportError {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(error) => unwrapped(error),
            error => Self::Encode(error.into()),
        }
    }
}

impl From<serde_json::Error> for ExportError {
    fn from(error: serde_json::Error) -> Self {
        Self::Write(error.into())
    }
}

fn unwrapped(error: Box<dyn std::error::Error + Send + Sync>) -> ExportError {
    match error.downcast::<io::Error>() {
        Ok(error) => ExportError::Write(*error),
        Err(error) => ExportError::Encode(error),
    }
}
