//! Where lines of the log go: to standard error, or for a while to whoever has the terminal.

use std::{
    borrow::Cow,
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
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        let line = printable(&line);
        match &mut *DIVERTED.lock().unwrap_or_else(PoisonError::into_inner) {
            None => io::stderr().write_all(line.as_bytes())?,
            Some(diversion) => {
                (diversion.tell)(line.trim_end().trim_start_matches("twtrace: "));
                diversion.told.push_str(&line);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// What is told, without characters that a terminal would obey: names of files come from whoever made
/// them. Lines and tabs stay, of which the verifier's words have many.
pub fn printable(text: &str) -> Cow<'_, str> {
    let speaks = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(speaks) {
        Cow::Owned(text.replace(speaks, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_file_cannot_speak_to_the_terminal() {
        let said = printable("cannot open \u{1b}[2J\u{9b}5m\rx.twt: no\n\tlog");
        assert_eq!(said, "cannot open \u{fffd}[2J\u{fffd}5m\u{fffd}x.twt: no\n\tlog");
        assert!(matches!(printable("ordinary"), Cow::Borrowed(_)));
    }
}
