//! Recordings as a source: the frames of one file, or of several that follow each other.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{Playback, Source};
use crate::{
    frame::{Carried, Frame},
    log_lines::printable,
    trace::{Damage, End, FileError, FileMeta, Found, Reader},
};

/// What stands for the standard input.
const STDIN: &str = "-";

/// What a recording tells next.
#[derive(Debug)]
pub enum Told {
    /// A step of the run.
    Frame(Frame),
    /// A part of a file is not sound, or cannot be used; in words, with the file.
    Unsound(String),
    /// A file ended as it should.
    End(Box<End>),
}

/// The files of one recording, read one after the other.
pub struct Recording {
    meta: FileMeta,
    /// The file that is read, and what it is called.
    reader: Input,
    name: String,
    rest: VecDeque<(PathBuf, FileMeta)>,
    /// Which file of the recording is read.
    file: u64,
    /// The file began by telling what was there, which is known from the one before.
    passing_over: bool,
    /// What is to be told before anything is read.
    waiting: VecDeque<Told>,
}

impl Recording {
    /// Opens all files and puts them in order.
    ///
    /// # Errors
    /// One cannot be read, or they are not files of one recording that follow each other.
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        let (first, rest) = in_order(paths)?;
        let (reader, name) = open(&first)?;
        let (meta, reader, waiting) = begin(reader, &name)?;
        let file = meta.recording.file;
        Ok(Self { meta, reader, name, rest, file, passing_over: false, waiting })
    }

    /// What the recording is.
    pub fn meta(&self) -> &FileMeta {
        &self.meta
    }

    /// What comes next; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read any further.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator of results goes on after an error, and this must not"
    )]
    pub fn next(&mut self) -> Result<Option<Told>> {
        loop {
            if let Some(told) = self.waiting.pop_front() {
                return Ok(Some(told));
            }
            let Some(found) = read(&mut self.reader, &self.name)? else {
                if self.next_file()? {
                    continue;
                }
                return Ok(None);
            };
            if let Some(told) = self.told(found)? {
                return Ok(Some(told));
            }
        }
    }

    fn told(&mut self, found: Found) -> Result<Option<Told>> {
        Ok(match found {
            Found::Frame(frame) => self.passed(frame).map(Told::Frame),
            Found::End(end) => Some(Told::End(end)),
            Found::Unknown(_) => None,
            Found::Damage(damage) => {
                self.waiting.extend(lost(&damage));
                Some(Told::Unsound(format!("{}: {damage}", self.name)))
            }
            Found::File(meta) => self.another(&meta)?,
        })
    }

    /// Frames that only tell what the file before told already are passed over.
    fn passed(&mut self, frame: Frame) -> Option<Frame> {
        if !self.passing_over {
            return Some(frame);
        }
        match frame {
            Frame::Carried(Carried::Counts(_)) => {
                self.passing_over = false;
                None
            }
            // The frame that ends it got lost.
            tick @ Frame::Tick { .. } => {
                self.passing_over = false;
                Some(tick)
            }
            _ => None,
        }
    }

    /// Another file begins within this one: two were put into one.
    fn another(&mut self, meta: &FileMeta) -> Result<Option<Told>> {
        if follows(meta, &self.meta, self.file) {
            (self.file, self.passing_over) = (meta.recording.file, true);
            return Ok(None);
        }
        let (from, name) = (self.reader.last().start, &self.name);
        let told = format!(
            "{name}: at offset {from} another recording begins, which is left out: `twtrace repair` tells them apart"
        );
        // Nothing of it belongs to this one.
        while read(&mut self.reader, &self.name)?.is_some() {}
        Ok(Some(Told::Unsound(told)))
    }

    fn next_file(&mut self) -> Result<bool> {
        let Some((path, meta)) = self.rest.pop_front() else {
            return Ok(false);
        };
        let (reader, name) = open(&path)?;
        let (_, reader, waiting) = begin(reader, &name)?;
        (self.file, self.passing_over) = (meta.recording.file, true);
        (self.reader, self.name, self.waiting) = (reader, name, waiting);
        Ok(true)
    }
}

/// Records that a damaged frame had.
fn lost(damage: &Damage) -> Option<Told> {
    let records = damage.records();
    (records > 0).then_some(Told::Frame(Frame::Lost { records }))
}

/// The first file, and those that follow it.
fn in_order(paths: &[PathBuf]) -> Result<(PathBuf, VecDeque<(PathBuf, FileMeta)>)> {
    if let [only] = paths {
        // It need not be one that can be read twice.
        return Ok((only.clone(), VecDeque::new()));
    }
    let meta = |path: &PathBuf| {
        ensure!(path.is_file(), "{}: of several files each must be a regular one", path.display());
        let (reader, name) = open(path)?;
        Ok((path.clone(), begin(reader, &name)?.0))
    };
    let mut files: Vec<(PathBuf, FileMeta)> = paths.iter().map(meta).collect::<Result<_>>()?;
    files.sort_by_key(|(_, meta)| meta.recording.file);
    for pair in files.windows(2) {
        let ((before, first), (after, second)) = (&pair[0], &pair[1]);
        let (before, after) = (before.display(), after.display());
        let (file, next) = (first.recording.file, second.recording.file);
        if first.recording.id != second.recording.id {
            bail!("{before} and {after} are of two recordings: report each by itself");
        }
        ensure!(file != next, "{before} and {after} are the same file of one recording");
        ensure!(
            file + 1 == next,
            "between {before} and {after} a part of the recording is missing (file {}): report each by itself",
            file + 1
        );
    }
    let mut files = VecDeque::from(files);
    let (first, _) = files.pop_front().context("no file")?;
    Ok((first, files))
}

fn follows(meta: &FileMeta, first: &FileMeta, file: u64) -> bool {
    meta.recording.id == first.recording.id && meta.recording.file == file + 1
}

/// A file whose first frames are gone cannot be understood.
pub const NOTHING_TELLS: &str = "nothing tells what this is a recording of";

type Input = Reader<Box<dyn Read + Send>>;

/// Opens one file; returns what it is called, too.
///
/// # Errors
/// It cannot be opened, or is no trace.
pub fn open(path: &Path) -> Result<(Input, String)> {
    // Somebody else may have chosen it, and it is told.
    let name = printable(&path.display().to_string()).into_owned();
    let input: Box<dyn Read + Send> = if path.as_os_str() == STDIN {
        Box::new(io::stdin())
    } else {
        let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
        ensure!(!file.metadata().is_ok_and(|it| it.is_dir()), "{name} is a directory");
        Box::new(file)
    };
    let reader = Reader::new(input).map_err(|error| told_in_words(&name, &error))?;
    Ok((reader, name))
}

/// What comes next in a file.
///
/// # Errors
/// It cannot be read any further.
pub fn read(reader: &mut Input, name: &str) -> Result<Option<Found>> {
    reader.next().map_err(|error| told_in_words(name, &error))
}

/// Not as what the system says: an input that fails is no output that nobody reads.
fn told_in_words(name: &str, error: &FileError) -> anyhow::Error {
    anyhow!("{name} {error}")
}

/// What the file is, and what is to be told of it before its first frame.
fn begin(mut reader: Input, name: &str) -> Result<(FileMeta, Input, VecDeque<Told>)> {
    let mut waiting = VecDeque::new();
    while let Some(found) = read(&mut reader, name)? {
        match found {
            Found::File(meta) => return Ok((*meta, reader, waiting)),
            Found::Damage(damage) => {
                waiting.push_back(Told::Unsound(format!("{name}: {damage}")));
            }
            // Nothing says what they are of.
            Found::Frame(_) | Found::End(_) | Found::Unknown(_) => {}
        }
    }
    match waiting.pop_front() {
        Some(Told::Unsound(why)) => bail!("{NOTHING_TELLS}: {why}"),
        _ => bail!("{name}: {NOTHING_TELLS}"),
    }
}

/// How fast a recording is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// So many times as fast as it happened.
    Times(f64),
    /// Without waiting.
    Unlimited,
}

/// Plays a recording as a source. What is unsound in it is told through `tell`.
///
/// # Errors
/// No thread, no file descriptor.
pub fn start(
    mut recording: Recording,
    playback: Playback,
    tell: impl Fn(&str) + Send + 'static,
) -> Result<Source> {
    let meta = recording.meta().run.clone();
    Source::start("replay", meta, move |sender, stop| {
        let mut before_ns = None;
        while let Some(told) = recording.next()? {
            let frame = match told {
                Told::Frame(frame) => frame,
                Told::Unsound(what) => {
                    tell(&what);
                    continue;
                }
                Told::End(_) => continue,
            };
            if let Frame::Tick { time_ns, .. } = frame {
                let before_ns = before_ns.replace(time_ns).unwrap_or(time_ns);
                let took = Duration::from_nanos(time_ns.saturating_sub(before_ns));
                if playback.wait(time_ns, took, &stop)? {
                    return Ok(());
                }
            }
            if sender.blocking_send(frame).is_err() {
                return Ok(());
            }
        }
        Ok(())
    })
}
