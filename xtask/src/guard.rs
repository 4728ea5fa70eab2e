//! `cargo xtask guard`: counts that noise does not move, compared with those of `xtask/guard.json`.
//!
//! A time would need many runs and a quiet machine to tell ten percent; a count is the same each
//! time. Nothing grows by more than [`baseline::TOLERATED_PCT`] without somebody saying so: `cargo xtask guard
//! --accept` writes what is counted now, and the file's difference is for whoever reviews it.
//!
//! That the pipeline and the reader of recordings allocate nothing per event once they are warm is
//! no matter of percents: `twtrace/tests/steady_state.rs` counts to 0.

mod baseline;
mod loaded;
mod object;
mod replay;

use std::path::Path;

use anyhow::{Result, bail};

use crate::dist::program;
use baseline::{Baseline, Counts};

/// Where the baseline is.
const FILE: &str = "xtask/guard.json";

/// Counts, and compares or accepts. Returns what could not be compared, in words.
pub(crate) fn run(root: &Path, accept: bool) -> Result<Vec<String>> {
    let twtrace = program::build(root)?;
    let mut counts = object::instructions(root)?;
    let kernel = loaded::kernel()?;
    counts.extend(loaded::bytes(&twtrace, &kernel)?);
    counts.extend(replay::costs(root, &twtrace)?);
    let file = root.join(FILE);
    if accept {
        Baseline::new(counts).write(&file)?;
        println!("{FILE} is what was counted now: commit it with what moved it");
        return Ok(Vec::new());
    }
    compare(&Baseline::read(&file)?, &counts, &kernel)
}

fn compare(baseline: &Baseline, counts: &Counts, kernel: &str) -> Result<Vec<String>> {
    let compared = baseline.compare(counts, &loaded::prefix(kernel));
    if !compared.grown.is_empty() {
        bail!(
            "{}; if that is meant, `cargo xtask guard --accept` and commit {FILE}",
            compared.grown.join("; ")
        );
    }
    compared
        .shrunk
        .iter()
        .for_each(|line| println!("{line}: `cargo xtask guard --accept` keeps it"));
    println!("guard: {} counts within {} % of {FILE}", compared.same, baseline::TOLERATED_PCT);
    Ok(compared.not_compared)
}
