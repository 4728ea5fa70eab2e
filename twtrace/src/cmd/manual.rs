//! The manual pages, one for each subcommand.

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result};

use crate::cli::Cli;

/// Writes them to a folder that exists.
///
/// # Errors
/// They cannot be written there.
pub fn run(folder: &Path) -> Result<ExitCode> {
    clap_mangen::generate_to(Cli::shown(), folder)
        .with_context(|| format!("cannot write manual pages to {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
