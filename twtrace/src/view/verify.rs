//! What `verify` says in the end.

use std::path::Path;

use super::text::count;
use crate::trace::Damage;

/// What was found in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Recordings, or files of one, that begin there.
    pub recordings: u64,
    /// Sound frames.
    pub frames: u64,
    /// Sound frames of types that a later version added.
    pub unknown: u64,
    /// Records in sound frames.
    pub events: u64,
    unsound: u64,
    unsound_bytes: u64,
    lost_events: u64,
}

impl Checked {
    /// Counts a part that is not sound.
    pub fn take(&mut self, damage: &Damage) {
        self.unsound += 1;
        self.unsound_bytes += damage.len;
        self.lost_events += damage.records();
    }

    /// Whether everything is.
    pub fn is_sound(&self) -> bool {
        self.unsound == 0 && self.recordings > 0
    }
}

/// One line, with its end.
pub fn summary(file: &Path, checked: &Checked) -> String {
    let Checked { recordings, frames, unknown, events, .. } = *checked;
    let mut line = format!(
        "{}: {}, {} frames, {} events",
        file.display(),
        if checked.is_sound() { "sound" } else { "unsound" },
        count(frames),
        count(events),
    );
    if recordings != 1 {
        line += &format!(", {} recordings", count(recordings));
    }
    if unknown > 0 {
        line += &format!(", {} frames of a later version", count(unknown));
    }
    if checked.unsound > 0 {
        line += &format!(
            "; {} unsound, {} bytes, {} events known to be lost (`twtrace repair` writes the rest)",
            count(checked.unsound),
            count(checked.unsound_bytes),
            count(checked.lost_events),
        );
    }
    line + "\n"
}
