//! `twtrace repair`.

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result, ensure};
use log::warn;

use crate::{
    frame::Frame,
    pipeline::Pipeline,
    recorder::Output,
    source::replay,
    stats::snapshot::Snapshot,
    trace::{End, FileMeta, Found},
};

/// Writes what is sound of a file. Where records are known to be lost, the new file says so,
/// and its last Snapshot is that of what is left.
///
/// # Errors
/// It is no trace or holds nothing sound, or the other file cannot be written.
pub fn run(file: &Path, output: &Path, force: bool) -> Result<ExitCode> {
    let same = output.canonicalize().ok().zip(file.canonicalize().ok());
    ensure!(
        same.is_none_or(|(output, file)| output != file),
        "a file cannot be repaired in its place: let -o name another"
    );
    let (mut reader, name) = replay::open(file)?;
    let mut rest: Option<Rest> = None;
    while let Some(found) = replay::read(&mut reader, &name)? {
        match (found, &mut rest) {
            (Found::File(meta), None) => rest = Some(Rest::new(output, force, &meta)?),
            (Found::File(meta), Some(rest)) => rest.another(&meta)?,
            (Found::Frame(frame), Some(rest)) => rest.frame(&frame)?,
            (Found::Unknown(frame), Some(rest)) => rest.out.unknown(&frame)?,
            (Found::End(end), Some(rest)) => rest.goes_on = end.goes_on,
            (Found::Damage(damage), rest) => {
                warn!("left out: {name}: {damage}");
                if let Some(rest) = rest.as_mut().filter(|_| damage.records() > 0) {
                    rest.frame(&Frame::Lost { records: damage.records() })?;
                }
            }
            // Nothing says what it is of.
            (Found::Frame(_) | Found::Unknown(_) | Found::End(_), None) => {}
        }
    }
    let rest = rest.with_context(|| format!("{name}: {}", replay::NOTHING_TELLS));
    rest?.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// What is left.
struct Rest {
    out: Output,
    pipeline: Pipeline,
    last: Option<Snapshot>,
    goes_on: bool,
}

impl Rest {
    fn new(output: &Path, force: bool, meta: &FileMeta) -> Result<Self> {
        let out = Output::create(output, force, meta)?;
        Ok(Self { out, pipeline: pipeline(meta), last: None, goes_on: false })
    }

    fn frame(&mut self, frame: &Frame) -> Result<()> {
        self.out.frame(frame)?;
        // What does not decode is as sound as it was written.
        if let Ok(Some(snapshot)) = self.pipeline.apply(frame) {
            self.last = Some(snapshot);
        }
        Ok(())
    }

    /// Another recording follows in the same file.
    fn another(&mut self, meta: &FileMeta) -> Result<()> {
        let end = self.end()?;
        self.out.another(&end, meta)?;
        (self.pipeline, self.goes_on) = (pipeline(meta), false);
        Ok(())
    }

    fn finish(mut self) -> Result<u64> {
        let end = self.end()?;
        self.out.end(&end)
    }

    fn end(&mut self) -> Result<End> {
        End::new(self.last.take().as_ref(), self.goes_on)
    }
}

fn pipeline(meta: &FileMeta) -> Pipeline {
    Pipeline::new(meta.run.clone(), meta.max_connections, meta.rows)
}
