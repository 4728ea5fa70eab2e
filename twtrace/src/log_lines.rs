//! Where lines of the log go: to standard error, or for a while to whoever has the terminal.

use std::{
    io::{self, Write},
    mem,
    sync::{Mutex, PoisonError},
};

/// Who is told instead of standard error.
static DIVERTED: Mutex<Option<Diversion>> = Mutex::new(None);

struct Diversion {
    tell: Box<dyn Fn(&str) + Send>,
    /// What was told, for standard error afterwards.
    told: String,
}

/// A place to write the log to.
#[derive(Clone, Copy, Debug)]
pub struct LogLines;

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &mut *DIVERTED.lock().unwrap_or_else(PoisonError::into_inner) {
            None => io::stderr().write_all(line)?,
            Some(diversion) => {
                let line = String::from_utf8_lossy(line);
                (diversion.tell)(line.trim_end().trim_start_matches("twtrace: "));
                diversion.told.push_str(&line);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// As long as this is there, lines go elsewhere; then all of them go to standard error.
#[derive(Debug)]
pub struct Diverted;

impl Diverted {
    /// From now on `tell` gets each line.
    pub fn to(tell: impl Fn(&str) + Send + 'static) -> Self {
        let diversion = Diversion { tell: Box::new(tell), told: String::new() };
        *DIVERTED.lock().unwrap_or_else(PoisonError::into_inner) = Some(diversion);
        Self
    }
}

impl Drop for Diverted {
    fn drop(&mut self) {
        let diversion = mem::take(&mut *DIVERTED.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(diversion) = diversion {
            // Standard error may be gone with the terminal.
            let _ = io::stderr().write_all(diversion.told.as_bytes());
        }
    }
}
