//! A flight recorder: the last minutes are kept, and written out when something happens.
//!
//! They are kept in files without a name, so that nothing is left of them when we are gone,
//! each of which begins with all that was there: the oldest can be given up at any time.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread,
};

use anyhow::{Context, Result, anyhow};
use log::error;

use super::{
    Next, Progress, Settings,
    files::{self, Names, create},
    output::{Output, is_terminal},
};
use crate::{
    frame::{Carried, Frame},
    pipeline::Pipeline,
    trace::{End, FileMeta, Found, Reader, Recording, Writer},
};

/// What is kept, and what was written out. See the module's documentation.
pub(super) struct Flight {
    names: Names,
    flight_ns: u64,
    max_bytes: u64,
    folder: PathBuf,
    meta: FileMeta,
    /// Those that were ended, the oldest first.
    parts: VecDeque<Part>,
    under_way: Writer<File>,
    /// How many were written out.
    dumps: u64,
    progress: Arc<Progress>,
    /// Each says whether it was.
    dumping: Vec<thread::JoinHandle<bool>>,
}

/// A stretch of the recording.
struct Part {
    file: Arc<File>,
    started_ns: u64,
    bytes: u64,
}

impl Flight {
    pub(super) fn new(
        settings: Settings,
        flight_ns: u64,
        meta: FileMeta,
        progress: Arc<Progress>,
    ) -> Result<Self> {
        let Settings { names, limits, .. } = settings;
        anyhow::ensure!(
            !is_terminal(&names.pattern),
            "a recording is no text: let -o name a file, or put a pipe behind -o -"
        );
        files::refuse(&names)?;
        let folder = names.pattern.parent().filter(|it| !it.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).to_owned();
        let under_way = part(&folder, &meta)?;
        Ok(Self {
            names,
            flight_ns,
            max_bytes: limits.flight_bytes.unwrap_or(u64::MAX),
            folder,
            meta,
            parts: VecDeque::new(),
            under_way,
            dumps: 0,
            progress,
            dumping: Vec::new(),
        })
    }

    pub(super) fn frame(&mut self, frame: &Frame) -> Result<()> {
        self.under_way.frame(frame).map_err(|error| self.failed(&error))?;
        self.tell();
        Ok(())
    }

    /// Begins another part, and gives up those that are too old.
    pub(super) fn next(&mut self, next: Next) -> Result<()> {
        let meta = FileMeta { run: next.run, ..self.meta.clone() };
        let begun = part(&self.folder, &meta)?;
        let mut ended = std::mem::replace(&mut self.under_way, begun);
        ended.flush().map_err(|error| self.failed(&error))?;
        self.parts.push_back(Part {
            started_ns: self.meta.run.started_ns,
            bytes: ended.written(),
            file: Arc::new(ended.into_inner()),
        });
        let now_ns = meta.run.started_ns;
        self.meta = meta;
        self.give_up_the_oldest(now_ns);
        next.carried.iter().try_for_each(|frame| self.frame(frame))
    }

    /// Without the oldest, what is kept must still reach far enough back.
    fn give_up_the_oldest(&mut self, now_ns: u64) {
        let kept = |parts: &VecDeque<Part>| parts.iter().map(|part| part.bytes).sum::<u64>();
        while let Some(second_ns) = self.parts.get(1).map(|part| part.started_ns)
            && (now_ns.saturating_sub(second_ns) >= self.flight_ns
                || kept(&self.parts) > self.max_bytes)
        {
            self.parts.pop_front();
        }
    }

    /// Writes out what is kept, in a thread of its own: the recording goes on meanwhile.
    pub(super) fn dump(&mut self) -> Result<()> {
        self.under_way.flush().map_err(|error| self.failed(&error))?;
        let now = Part {
            started_ns: self.meta.run.started_ns,
            bytes: self.under_way.written(),
            file: Arc::new(self.under_way.get_ref().try_clone().map_err(|e| self.failed(&e))?),
        };
        let older = self.parts.iter().map(|part| (Arc::clone(&part.file), part.bytes));
        let parts: Vec<_> = older.chain([(now.file, now.bytes)]).collect();
        let recording = Recording { id: self.meta.recording.id.clone(), file: self.dumps };
        self.dumps += 1;
        let (names, progress) = (self.names.clone(), Arc::clone(&self.progress));
        let write = move || match write_out(&parts, &names, &recording) {
            Ok((path, written)) => {
                progress.bytes.fetch_add(written, Ordering::Relaxed);
                progress.last_file(path);
                progress.files.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(failed) => {
                error!("the flight trace was not written: {failed:#}");
                false
            }
        };
        let thread = thread::Builder::new().name("flight-dump".to_owned()).spawn(write);
        self.dumping
            .push(thread.context("cannot start a thread; raise the limit on tasks (ulimit -u)")?);
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        let written = self.dumping.drain(..).map(|dump| dump.join().unwrap_or(false));
        let failed = written.filter(|written| !written).count();
        anyhow::ensure!(failed == 0, "{failed} of {} flight traces not written", self.dumps);
        Ok(())
    }

    fn tell(&self) {
        let kept: u64 = self.parts.iter().map(|part| part.bytes).sum();
        self.progress.file_bytes.store(kept + self.under_way.written(), Ordering::Relaxed);
    }

    fn failed(&self, error: &io::Error) -> anyhow::Error {
        anyhow!("cannot keep the last minutes in {}: {error}", self.folder.display())
    }
}

/// A new part, without a name.
fn part(folder: &Path, meta: &FileMeta) -> Result<Writer<File>> {
    let cannot =
        |error: io::Error| anyhow!("cannot keep the last minutes in {}: {error}", folder.display());
    let file = tempfile::tempfile_in(folder).map_err(cannot)?;
    Writer::new(file, meta).map_err(cannot)
}

/// Writes `parts` as one file, with the Snapshot of what they tell; returns its path and length.
fn write_out(
    parts: &[(Arc<File>, u64)],
    names: &Names,
    recording: &Recording,
) -> Result<(PathBuf, u64)> {
    let mut out: Option<(PathBuf, Output, Pipeline)> = None;
    let mut last = None;
    for (number, (file, bytes)) in parts.iter().enumerate() {
        let mut reader = Reader::new(Stretch { file: Arc::clone(file), at: 0, end: *bytes })?;
        // What the parts before have told already.
        let mut passing_over = number > 0;
        while let Some(found) = reader.next()? {
            match (found, &mut out) {
                (Found::File(meta), None) => {
                    let meta = FileMeta { recording: recording.clone(), ..*meta };
                    let pipeline = Pipeline::new(meta.run.clone(), meta.max_connections, meta.rows);
                    let (path, file) = create(names, &meta)?;
                    out = Some((path, file, pipeline));
                }
                (Found::Frame(Frame::Carried(Carried::Counts(_))), _) if passing_over => {
                    passing_over = false;
                }
                (Found::Frame(frame), Some((_, file, pipeline))) if !passing_over => {
                    file.frame(&frame)?;
                    last = pipeline.apply(&frame)?.or(last);
                }
                // It is under way, and has no END.
                _ => {}
            }
        }
    }
    let (path, mut file, _) = out.context("nothing was kept")?;
    Ok((path, file.end(&End::new(last.as_ref(), false)?)?))
}

/// The first bytes of a file that is still being written.
struct Stretch {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Stretch {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let read = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
