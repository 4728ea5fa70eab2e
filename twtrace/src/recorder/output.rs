//! One file on disk: made for us alone, and sound up to the last whole frame, whatever
//! happens.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::AsFd,
        unix::fs::{FileTypeExt, OpenOptionsExt},
    },
    path::Path,
};

use anyhow::{Result, anyhow, bail, ensure};
use rustix::io::Errno;

use crate::{
    frame::Frame,
    trace::{End, FileMeta, UnknownFrame, Writer},
};

/// What stands for the standard output.
pub(super) const STDOUT: &str = "-";

/// A file being written.
pub struct Output {
    name: String,
    /// `None` once it has failed.
    writer: Option<Writer<Target>>,
}

/// What a writer writes to.
enum Target {
    Stdout(io::Stdout),
    File {
        file: File,
        /// The length of what was written whole.
        sound: u64,
        /// Whether what was written in part can be taken back.
        regular: bool,
    },
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::File { file, .. } => file.write(bytes),
        }
    }

    /// A frame is written whole, or not at all.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.write_all(bytes),
            Self::File { file, sound, regular } => {
                let written = file.write_all(bytes);
                match &written {
                    Ok(()) => *sound += bytes.len() as u64,
                    // What cannot be taken back is told by the reader.
                    Err(_) if *regular => drop(file.set_len(*sound)),
                    Err(_) => {}
                }
                written
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File { .. } => Ok(()),
        }
    }
}

impl Output {
    /// Makes the file; nobody else may read it, and none is overwritten unless `force`.
    ///
    /// # Errors
    /// It exists, or cannot be made or written.
    pub fn create(path: &Path, force: bool, meta: &FileMeta) -> Result<Self> {
        let name = path.display().to_string();
        let target = if path.as_os_str() == STDOUT {
            Target::Stdout(io::stdout())
        } else {
            let file = open(path, force)?;
            let regular = file.metadata().is_ok_and(|it| it.is_file());
            Target::File { file, sound: 0, regular }
        };
        match Writer::new(target, meta) {
            Ok(writer) => Ok(Self { name, writer: Some(writer) }),
            Err(error) => Err(failed(&name, &error)),
        }
    }

    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.writer.as_ref().map_or(0, Writer::written)
    }

    /// Writes a frame.
    ///
    /// # Errors
    /// It cannot be written; nothing is, from then on.
    pub fn frame(&mut self, frame: &Frame) -> Result<()> {
        let Some(writer) = &mut self.writer else { bail!("{} was given up", self.name) };
        writer.frame(frame).map_err(|error| failed(&self.name, &error))
    }

    /// Writes a frame that a later version wrote, as it is.
    ///
    /// # Errors
    /// As [`Self::frame`].
    pub fn unknown(&mut self, frame: &UnknownFrame) -> Result<()> {
        let Some(writer) = &mut self.writer else { bail!("{} was given up", self.name) };
        writer.unknown(frame).map_err(|error| failed(&self.name, &error))
    }

    /// Ends what it is of, and begins another within the same file.
    ///
    /// # Errors
    /// As [`Self::frame`].
    pub fn another(&mut self, end: &End, meta: &FileMeta) -> Result<()> {
        let target = self.ended(end)?;
        let begun = Writer::new(target, meta).map_err(|error| failed(&self.name, &error))?;
        self.writer = Some(begun);
        Ok(())
    }

    /// Ends the file; returns its length, 0 for one that has none.
    ///
    /// # Errors
    /// As [`Self::frame`].
    pub fn end(&mut self, end: &End) -> Result<u64> {
        let target = self.ended(end)?;
        let Target::File { file, sound, regular: true } = target else { return Ok(0) };
        // What the kernel could not bring to the disk it says now.
        file.sync_data().map_err(|error| failed(&self.name, &error))?;
        Ok(sound)
    }
}

impl Output {
    fn ended(&mut self, end: &End) -> Result<Target> {
        let Some(writer) = self.writer.take() else { bail!("{} was given up", self.name) };
        let end = End { events: writer.events(), ..end.clone() };
        writer.end(&end).map_err(|error| failed(&self.name, &error))
    }
}

/// A pipe that nobody reads is no failure; anything else is, EIO too.
fn failed(name: &str, error: &io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return anyhow::Error::from(io::Error::from(Errno::PIPE));
    }
    let hint = match error.kind() {
        io::ErrorKind::StorageFull => ": make room, or record to another disk",
        io::ErrorKind::FileTooLarge => ": raise the limit on file sizes (ulimit -f), or use -C",
        _ => "",
    };
    anyhow!("cannot write to {name}: {error}{hint}; what was written until then can be read")
}

fn open(path: &Path, force: bool) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    // Not through a link that somebody else has put there.
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
    match options.create_new(true).open(path) {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => existing(path, force),
        Err(error) => Err(anyhow!("cannot make {}: {error}", path.display())),
    }
}

/// Pipes and devices are there to be written to; a file is replaced if that was asked for.
fn existing(path: &Path, force: bool) -> Result<File> {
    let name = path.display();
    if refuse_existing(path, force)? == Existing::Stream {
        let opened = OpenOptions::new().write(true).open(path);
        return opened.map_err(|error| anyhow!("cannot write to {name}: {error}"));
    }
    // Who reads the old one keeps it, and a link is not followed.
    fs::remove_file(path).map_err(|error| anyhow!("cannot replace {name}: {error}"))?;
    open(path, false)
}

/// What is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existing {
    Stream,
    File,
}

/// Says what must not be replaced.
fn refuse_existing(path: &Path, force: bool) -> Result<Existing> {
    let name = path.display();
    let found = fs::symlink_metadata(path);
    let kind = found.map_err(|error| anyhow!("cannot write to {name}: {error}"))?.file_type();
    if kind.is_fifo() || kind.is_char_device() {
        return Ok(Existing::Stream);
    }
    ensure!(!kind.is_dir(), "{name} is a directory: name a file in it");
    ensure!(force, "{name} exists: name another file, or --force to replace it");
    Ok(Existing::File)
}

/// Refuses a path that could not be written to later on.
pub(super) fn refuse(path: &Path, force: bool) -> Result<()> {
    if path.as_os_str() != STDOUT && fs::symlink_metadata(path).is_ok() {
        refuse_existing(path, force)?;
    }
    Ok(())
}

/// Opens a pipe with a name, which takes a reader.
pub(super) fn wait_for_reader(path: &Path) -> Result<Option<File>> {
    if !fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_fifo()) {
        return Ok(None);
    }
    let opened = OpenOptions::new().write(true).open(path);
    opened.map(Some).map_err(|error| anyhow!("cannot write to {}: {error}", path.display()))
}

/// Whether a path stands for an output that can have no successor.
pub(super) fn is_stream(path: &Path) -> bool {
    let kind = fs::metadata(path).map(|it| it.file_type());
    path.as_os_str() == STDOUT || kind.is_ok_and(|it| it.is_fifo() || it.is_char_device())
}

/// Whether a terminal would have to take it.
pub(super) fn is_terminal(path: &Path) -> bool {
    path.as_os_str() == STDOUT && rustix::termios::isatty(io::stdout().as_fd())
}
