//! Parquet and Arrow: batches of rows, by column.

use std::{collections::HashMap, io::Write, sync::Arc};

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, Encoding, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties},
    schema::types::ColumnPath,
};

use super::{Heading, batch::Batch};
use crate::export::{
    columns::{Column, Kind, Value},
    error::ExportError,
};

/// A row group is closed at so many rows, or at so many bytes as encoded.
const MAX_GROUP_ROWS: usize = 1 << 20;
const MAX_GROUP_BYTES: usize = 32 << 20;
/// zstd levels from here on cost more time than they save bytes.
const ZSTD_LEVEL: i32 = 3;

/// A table in one of both formats.
pub(in crate::export) struct Columnar<W: Write + Send> {
    schema: SchemaRef,
    batch: Batch,
    encoder: Encoder<W>,
}

enum Encoder<W: Write + Send> {
    Parquet(ArrowWriter<W>),
    Arrow(StreamWriter<W>),
}

impl<W: Write + Send> Columnar<W> {
    pub(super) fn parquet(heading: Heading<'_>, out: W) -> Result<Self, ExportError> {
        let schema = Arc::new(schema(heading));
        let properties = properties(heading.columns)?;
        let writer = ArrowWriter::try_new(out, schema.clone(), Some(properties))?;
        Ok(Self::new(schema, heading.columns, Encoder::Parquet(writer)))
    }

    pub(super) fn arrow(heading: Heading<'_>, out: W) -> Result<Self, ExportError> {
        let schema = Arc::new(schema(heading));
        let writer = StreamWriter::try_new(out, &schema)?;
        Ok(Self::new(schema, heading.columns, Encoder::Arrow(writer)))
    }

    fn new(schema: SchemaRef, columns: &'static [Column], encoder: Encoder<W>) -> Self {
        Self { schema, batch: Batch::new(columns), encoder }
    }

    pub(super) fn row(&mut self, values: &[Value<'_>]) -> Result<(), ExportError> {
        self.batch.append(values)?;
        if self.batch.is_full() {
            self.write_batch()?;
        }
        Ok(())
    }

    fn write_batch(&mut self) -> Result<(), ExportError> {
        let rows = RecordBatchOptions::new().with_row_count(Some(self.batch.rows()));
        let arrays = self.batch.take();
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &rows)?;
        match &mut self.encoder {
            Encoder::Parquet(writer) => {
                writer.write(&batch)?;
                if writer.in_progress_size() >= MAX_GROUP_BYTES {
                    writer.flush()?;
                }
            }
            Encoder::Arrow(writer) => writer.write(&batch)?,
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), ExportError> {
        if self.batch.rows() > 0 {
            self.write_batch()?;
        }
        match self.encoder {
            Encoder::Parquet(writer) => drop(writer.close()?),
            Encoder::Arrow(mut writer) => {
                writer.finish()?;
                writer.flush()?;
            }
        }
        Ok(())
    }
}

fn properties(columns: &[Column]) -> Result<WriterProperties, ExportError> {
    let all = WriterProperties::builder()
        .set_created_by(format!("twtrace {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_max_row_group_row_count(Some(MAX_GROUP_ROWS))
        // What is known of each page is kept until the file is closed: that of a row
        // group has to do.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true);
    // Moments and durations are nearly all different, and near to those before: by
    // differences a file takes half.
    let near = columns.iter().filter(|column| matches!(column.kind, Kind::Time | Kind::U64));
    let properties = near.fold(all, |properties, column| {
        let path = ColumnPath::from(column.name);
        properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED)
    });
    Ok(properties.build())
}

/// The schema, with units and meanings in it.
fn schema(heading: Heading<'_>) -> Schema {
    let fields: Vec<Field> = heading.columns.iter().map(field).collect();
    let meta = heading.meta;
    let about = [
        ("twtrace.schema", crate::export::SCHEMA),
        ("twtrace.rows", heading.rows),
        ("twtrace.version", env!("CARGO_PKG_VERSION")),
        ("twtrace.hostname", &meta.hostname),
        ("twtrace.kernel", &meta.kernel),
        ("twtrace.boot_id", &meta.boot_id),
    ];
    let about = about.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Schema::new(fields).with_metadata(HashMap::from(about))
}

fn field(column: &Column) -> Field {
    let data = match column.kind {
        Kind::Time => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        Kind::U64 | Kind::Pointer => DataType::UInt64,
        Kind::U32 => DataType::UInt32,
        Kind::U16 => DataType::UInt16,
        Kind::F64 => DataType::Float64,
        Kind::Bool => DataType::Boolean,
        Kind::Text => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
    };
    let about = [("unit", column.unit), ("description", column.meaning), ("null", column.null)];
    let about = about.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Field::new(column.name, data, true).with_metadata(HashMap::from(about))
}
