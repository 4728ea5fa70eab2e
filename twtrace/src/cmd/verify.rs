//! `twtrace verify`.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;

use crate::{
    decode,
    frame::Frame,
    source::replay,
    trace::Found,
    view::verify::{self, Checked},
};

/// There is something to say.
const FINDINGS: u8 = 1;

/// Names everything in a file that is not sound.
///
/// # Errors
/// It is no trace, or cannot be read.
pub fn run(file: &Path) -> Result<ExitCode> {
    let (mut reader, name) = replay::open(file)?;
    let mut out = io::stdout().lock();
    let mut checked = Checked::default();
    while let Some(found) = replay::read(&mut reader, &name)? {
        match found {
            Found::File(_) => checked.recordings += 1,
            Found::Frame(frame) => {
                checked.frames += 1;
                if let Frame::Records(batch) = frame {
                    checked.events += decode::records(&batch).count() as u64;
                }
            }
            Found::End(_) => checked.frames += 1,
            Found::Unknown(_) => checked.unknown += 1,
            Found::Damage(damage) => {
                checked.take(&damage);
                writeln!(out, "{name}: {damage}")?;
            }
        }
    }
    out.write_all(verify::summary(&PathBuf::from(&name), &checked).as_bytes())?;
    Ok(if checked.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) })
}
