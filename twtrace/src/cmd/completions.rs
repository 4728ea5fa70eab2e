//! `twtrace completions`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Result;
use clap_complete::Shell;

use crate::cli::Cli;

/// Prints the completions of a shell.
///
/// # Errors
/// Nobody reads them.
pub fn run(shell: Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::shown(), "twtrace", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
