//! How far a recording has come, on a line of a terminal.

use std::io::{self, Write};

use crate::view::record::{self, Recorded, Running};

/// A line that is written over again and again.
#[derive(Default)]
pub(super) struct ProgressLine {
    before: Recorded,
}

impl ProgressLine {
    /// Writes it anew.
    pub(super) fn show(&mut self, so_far: Recorded, left_s: Option<f64>) {
        let seconds = so_far.seconds - self.before.seconds;
        let events = so_far.events.saturating_sub(self.before.events);
        let events_per_s = if seconds > 0.0 { events as f64 / seconds } else { 0.0 };
        self.before = so_far;
        let line = record::progress(&Running { so_far, events_per_s, left_s });
        let _ = write!(io::stderr(), "\r\x1b[K{line}");
    }

    /// Makes room for another line.
    pub(super) fn clear(&mut self) {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}
