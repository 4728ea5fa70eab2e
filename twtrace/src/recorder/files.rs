//! The files of a recording, one after the other.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use anyhow::{Result, ensure};
use log::warn;

use super::{
    Next, Progress, Settings,
    output::{self, Output, is_stream, is_terminal},
};
use crate::{
    frame::Frame,
    trace::{End, FileMeta, Recording},
};

/// What files are called: a path in which the time may be told as strftime does.
#[derive(Clone, Debug)]
pub struct Names {
    /// The path as it was typed.
    pub pattern: PathBuf,
    /// Whether one that exists may be replaced.
    pub force: bool,
}

/// What is known of the times in a name: those that sort, in UTC.
const TIMES: [(&str, std::ops::Range<usize>); 6] =
    [("%Y", 0..4), ("%m", 5..7), ("%d", 8..10), ("%H", 11..13), ("%M", 14..16), ("%S", 17..19)];

impl Names {
    /// Whether the output is one stream, without a successor.
    pub fn is_stream(&self) -> bool {
        is_stream(&self.pattern)
    }

    /// The path of file `number`, which begins `now`. The first one is called as was typed;
    /// where the time tells files apart, all are.
    fn path(&self, number: u64, now: SystemTime) -> PathBuf {
        let Some(pattern) = self.pattern.to_str() else {
            return numbered(&self.pattern, number);
        };
        // 2026-11-21T16:20:02Z
        let time = humantime::format_rfc3339_seconds(now).to_string();
        let mut path = pattern.to_owned();
        for (name, part) in TIMES {
            path = path.replace(name, time.get(part).unwrap_or_default());
        }
        let has_seconds = pattern.contains("%S");
        let path = PathBuf::from(path.replace("%%", "%"));
        if number > 0 && (!has_seconds || path.exists()) { numbered(&path, number) } else { path }
    }
}

/// `trace.twt` is followed by `trace.1.twt`.
fn numbered(path: &Path, number: u64) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!(".{number}"));
    if let Some(extension) = path.extension() {
        name.push(OsString::from("."));
        name.push(extension);
    }
    path.with_file_name(name)
}

/// How many files there may be, and how large.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Files kept: before another is begun, the oldest is removed.
    pub keep: Option<usize>,
    /// Bytes kept for a flight at most.
    pub flight_bytes: Option<u64>,
}

/// Everything goes to a file at once.
pub(super) struct Rotating {
    names: Names,
    keep: Option<usize>,
    meta: FileMeta,
    output: Output,
    kept: VecDeque<PathBuf>,
    /// Bytes in the files before this one.
    before: u64,
    progress: Arc<Progress>,
}

impl Rotating {
    pub(super) fn new(settings: Settings, meta: FileMeta, progress: Arc<Progress>) -> Result<Self> {
        let Settings { names, limits, .. } = settings;
        ensure!(
            !is_terminal(&names.pattern),
            "a recording is no text: let -o name a file, or put a pipe behind -o -"
        );
        let (path, output) = create(&names, &meta)?;
        progress.files.store(1, Ordering::Relaxed);
        let kept = VecDeque::from([path]);
        Ok(Self { names, keep: limits.keep, meta, output, kept, before: 0, progress })
    }

    /// The file under way.
    pub(super) fn path(&self) -> &Path {
        self.kept.back().map_or(Path::new(""), PathBuf::as_path)
    }

    pub(super) fn frame(&mut self, frame: &Frame) -> Result<()> {
        self.output.frame(frame)?;
        self.tell();
        Ok(())
    }

    /// Ends this file and goes on in another.
    pub(super) fn next(&mut self, next: Next) -> Result<()> {
        self.end(&next.end)?;
        let file = self.meta.recording.file + 1;
        let recording = Recording { file, ..self.meta.recording.clone() };
        self.meta = FileMeta { recording, run: next.run, ..self.meta.clone() };
        self.make_room();
        let (path, output) = create(&self.names, &self.meta)?;
        self.kept.push_back(path);
        self.output = output;
        self.progress.files.fetch_add(1, Ordering::Relaxed);
        next.carried.iter().try_for_each(|frame| self.frame(frame))
    }

    pub(super) fn finish(&mut self, end: &End) -> Result<()> {
        self.end(end)
    }

    fn end(&mut self, end: &End) -> Result<()> {
        let written = self.output.written();
        let whole = self.output.end(end)?;
        self.before += whole.max(written);
        self.progress.bytes.store(self.before, Ordering::Relaxed);
        Ok(())
    }

    /// Removes the oldest files, of which one more is about to be made.
    fn make_room(&mut self) {
        let Some(keep) = self.keep else { return };
        while self.kept.len() >= keep
            && let Some(oldest) = self.kept.pop_front()
        {
            if let Err(error) = fs::remove_file(&oldest) {
                warn!("cannot remove {}: {error}", oldest.display());
            }
        }
    }

    fn tell(&self) {
        let written = self.output.written();
        self.progress.file_bytes.store(written, Ordering::Relaxed);
        self.progress.bytes.store(self.before + written, Ordering::Relaxed);
    }
}

/// Refuses what [`create`] would refuse for the first file, before there is anything to lose.
pub(super) fn refuse(names: &Names) -> Result<()> {
    output::refuse(&names.path(0, SystemTime::now()), names.force)
}

/// The file that `meta` is of.
pub(super) fn create(names: &Names, meta: &FileMeta) -> Result<(PathBuf, Output)> {
    let path = names.path(meta.recording.file, SystemTime::now());
    let output = Output::create(&path, names.force, meta)?;
    Ok((path, output))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn path(pattern: &str, number: u64) -> String {
        let names = Names { pattern: pattern.into(), force: false };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_278_002);
        names.path(number, now).display().to_string()
    }

    #[test]
    fn files_are_numbered_or_told_apart_by_time() {
        assert_eq!(path("a/trace.twt", 0), "a/trace.twt");
        assert_eq!(path("a/trace.twt", 12), "a/trace.12.twt");
        assert_eq!(path("trace", 1), "trace.1");
        assert_eq!(path("t-%Y%m%d-%H%M%S.twt", 3), "t-20261121-162002.twt");
        assert_eq!(path("t-%H.twt", 3), "t-16.3.twt");
        assert_eq!(path("100%%.twt", 0), "100%.twt");
    }
}
