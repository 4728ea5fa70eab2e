//! Exports, read back: each format as the rows that it holds.

use std::{io, sync::Arc};

use arrow_array::{
    Array, BooleanArray, DictionaryArray, Float64Array, RecordBatch, StringArray,
    TimestampNanosecondArray, UInt16Array, UInt32Array, UInt64Array, types::Int32Type,
};
use arrow_ipc::reader::StreamReader;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value, json};
use twtrace::{
    export::{Column, ExportError, Exporter, Format, Kind, Rows, Settings, Summary},
    frame::{Frame, Meta},
};

/// The formats that hold rows.
pub(crate) const TABLES: [Format; 4] = [Format::Parquet, Format::Arrow, Format::Csv, Format::Jsonl];

/// A row by the names of its columns, values as in JSON Lines.
pub(crate) type Row = Map<String, Value>;

/// `frames` in one format.
pub(crate) fn export(meta: &Meta, frames: &[Frame], settings: Settings) -> (Vec<u8>, Summary) {
    let mut bytes = Vec::new();
    let summary = export_to(meta, frames, settings, &mut bytes).expect("memory takes everything");
    (bytes, summary)
}

/// `frames` in one format, to `out`.
pub(crate) fn export_to(
    meta: &Meta,
    frames: &[Frame],
    settings: Settings,
    out: impl io::Write + Send,
) -> Result<Summary, ExportError> {
    let mut exporter = Exporter::new(meta, settings, out)?;
    for frame in frames {
        exporter.frame(frame)?;
    }
    exporter.finish()
}

/// What would be typed.
pub(crate) fn settings(format: Format, rows: Rows) -> Settings {
    Settings { format, rows, max_connections: 100_000 }
}

/// The file's extension.
pub(crate) fn extension(format: Format) -> &'static str {
    match format {
        Format::Parquet => "parquet",
        Format::Arrow => "arrow",
        Format::Csv => "csv",
        Format::Jsonl => "jsonl",
        Format::Perfetto => "json",
    }
}

/// The rows in `bytes`, with every column.
pub(crate) fn read(format: Format, rows: Rows, bytes: &[u8]) -> Vec<Row> {
    let columns = rows.columns();
    match format {
        Format::Parquet => {
            let (schema, batches) = parquet(bytes);
            assert_schema(&schema, rows);
            batches.iter().flat_map(|batch| batch_rows(columns, batch)).collect()
        }
        Format::Arrow => {
            let (schema, batches) = arrow(bytes);
            assert_schema(&schema, rows);
            batches.iter().flat_map(|batch| batch_rows(columns, batch)).collect()
        }
        Format::Csv => csv_rows(columns, text(bytes)),
        Format::Jsonl => text(bytes)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect(),
        Format::Perfetto => panic!("a timeline has no rows"),
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it is text")
}

pub(crate) fn parquet(bytes: &[u8]) -> (SchemaRef, Vec<RecordBatch>) {
    let bytes = Bytes::copy_from_slice(bytes);
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("it is Parquet");
    let schema = reader.schema().clone();
    let batches = reader.build().expect("it can be read").map(|batch| batch.expect("a batch"));
    (schema, batches.collect())
}

fn arrow(bytes: &[u8]) -> (SchemaRef, Vec<RecordBatch>) {
    let reader = StreamReader::try_new(bytes, None).expect("it is an Arrow stream");
    let schema = reader.schema();
    (schema, reader.map(|batch| batch.expect("a batch")).collect())
}

/// Names, units and meanings are in the file.
fn assert_schema(schema: &SchemaRef, rows: Rows) {
    assert_eq!(schema.metadata()["twtrace.schema"], twtrace::export::SCHEMA);
    assert_eq!(schema.metadata()["twtrace.rows"], rows.name());
    assert_eq!(schema.metadata()["twtrace.hostname"], "web1");
    assert_eq!(schema.fields().len(), rows.columns().len());
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        assert_eq!(field.name(), column.name);
        assert_eq!(field.metadata()["unit"], column.unit);
        assert_eq!(field.metadata()["description"], column.meaning);
        assert!(field.is_nullable());
    }
}

fn batch_rows(columns: &[Column], batch: &RecordBatch) -> Vec<Row> {
    let row = |at| {
        let value = |(column, array): (&Column, &Arc<dyn Array>)| {
            let value = if array.is_null(at) { Value::Null } else { cell(column, array, at) };
            (column.name.to_owned(), value)
        };
        columns.iter().zip(batch.columns()).map(value).collect()
    };
    (0..batch.num_rows()).map(row).collect()
}

fn cell(column: &Column, array: &Arc<dyn Array>, at: usize) -> Value {
    match column.kind {
        Kind::Time => json!(time(typed::<TimestampNanosecondArray>(array).value(at))),
        Kind::U64 => json!(typed::<UInt64Array>(array).value(at)),
        Kind::Pointer => json!(format!("{:#018x}", typed::<UInt64Array>(array).value(at))),
        Kind::U32 => json!(typed::<UInt32Array>(array).value(at)),
        Kind::U16 => json!(typed::<UInt16Array>(array).value(at)),
        Kind::F64 => json!(typed::<Float64Array>(array).value(at)),
        Kind::Bool => json!(typed::<BooleanArray>(array).value(at)),
        Kind::Text => {
            let array = typed::<DictionaryArray<Int32Type>>(array);
            let texts = typed::<StringArray>(array.values());
            json!(texts.value(array.key(at).expect("it is not null")))
        }
    }
}

fn typed<A: 'static>(array: &Arc<dyn Array>) -> &A {
    let found = array.as_any().downcast_ref();
    found.unwrap_or_else(|| panic!("the type is {}", array.data_type()))
}

/// A moment as the text formats write it.
pub(crate) fn time(ns: i64) -> String {
    let since = std::time::Duration::from_nanos(ns.unsigned_abs());
    humantime::format_rfc3339_nanos(std::time::UNIX_EPOCH + since).to_string()
}

fn csv_rows(columns: &[Column], text: &str) -> Vec<Row> {
    let mut records = csv(text).into_iter();
    let header = records.next().expect("there is a header");
    let names: Vec<Option<String>> =
        columns.iter().map(|column| Some(column.name.to_owned())).collect();
    assert_eq!(header, names);
    records.map(|fields| csv_row(columns, fields)).collect()
}

fn csv_row(columns: &[Column], fields: Vec<Option<String>>) -> Row {
    assert_eq!(fields.len(), columns.len());
    let value = |(column, field): (&Column, Option<String>)| {
        let value = match (field, column.kind) {
            (None, _) => Value::Null,
            (Some(text), Kind::Text) => {
                let unescaped =
                    text.strip_prefix('\'').filter(|rest| rest.starts_with(['=', '+', '-', '@']));
                json!(unescaped.unwrap_or(&text))
            }
            (Some(text), Kind::Time | Kind::Pointer) => json!(text),
            (Some(text), _) => serde_json::from_str(&text).expect("a number"),
        };
        (column.name.to_owned(), value)
    };
    columns.iter().zip(fields).map(value).collect()
}

/// The records of a CSV file by RFC 4180; an empty field without quotes is `None`.
pub(crate) fn csv(text: &str) -> Vec<Vec<Option<String>>> {
    let (mut records, mut record) = (Vec::new(), Vec::new());
    let (mut field, mut quoted) = (String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                assert!(!quoted && field.is_empty(), "a quote in the middle: {text}");
                quoted = true;
                while let Some(character) = characters.next() {
                    if character == '"' && characters.next_if_eq(&'"').is_none() {
                        break;
                    }
                    field.push(character);
                }
            }
            ',' | '\n' => {
                let is_null = field.is_empty() && !quoted;
                let value = std::mem::take(&mut field);
                record.push((!is_null).then_some(value));
                quoted = false;
                if character == '\n' {
                    records.push(std::mem::take(&mut record));
                }
            }
            character => field.push(character),
        }
    }
    assert!(record.is_empty() && field.is_empty(), "it ends within a record");
    records
}
