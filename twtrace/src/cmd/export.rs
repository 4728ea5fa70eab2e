//! `twtrace export`.

use std::{
    io::{self, BufWriter, IsTerminal, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Result, anyhow, ensure};
use log::warn;

use super::output_file;
use crate::{
    config::Export,
    export::{ExportError, Exporter, Format, Settings},
    source::replay::{Recording, Told},
};

/// What stands for the standard output.
const STDOUT: &str = "-";

/// Writes a recording as other tools read it.
///
/// # Errors
/// The files cannot be read or are not of one recording, or the output cannot be written.
pub fn run(config: &Export) -> Result<ExitCode> {
    let mut recording = Recording::open(&config.files)?;
    let meta = recording.meta();
    let settings = Settings {
        format: config.format,
        rows: config.rows,
        max_connections: meta.max_connections,
    };
    let name = config.output.display().to_string();
    let out = output(&config.output, config.format)?;
    let mut exporter = Exporter::new(&meta.run, settings, out).map_err(|e| failed(&name, e))?;
    while let Some(told) = recording.next()? {
        match told {
            Told::Frame(frame) => exporter.frame(&frame).map_err(|e| failed(&name, e))?,
            Told::Unsound(what) => warn!("unsound, and left out: {what}"),
            Told::End(_) => {}
        }
    }
    exporter.finish().map_err(|e| failed(&name, e))?;
    Ok(ExitCode::SUCCESS)
}

fn output(path: &Path, format: Format) -> Result<Box<dyn Write + Send>> {
    if path.as_os_str() != STDOUT {
        return Ok(Box::new(BufWriter::new(output_file::open(path)?)));
    }
    let is_text = matches!(format, Format::Csv | Format::Jsonl | Format::Perfetto);
    ensure!(
        is_text || !io::stdout().is_terminal(),
        "this format is no text: let -o name a file, or put a pipe behind it"
    );
    Ok(Box::new(BufWriter::new(io::stdout())))
}

/// A pipe that nobody reads is no failure; anything else is, EIO too.
fn failed(name: &str, error: ExportError) -> anyhow::Error {
    match error {
        ExportError::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => error.into(),
        error => anyhow!("cannot write to {name}: {error}"),
    }
}
