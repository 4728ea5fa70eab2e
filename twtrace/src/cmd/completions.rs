//! `twtrace completions`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Result;
use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;

/// Prints the completions of a shell.
///
/// # Errors
/// Nobody reads them.
pub fn run(shell: Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut shown(&Cli::command()), "twtrace", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Without the subcommands that twtrace starts itself with, which the scripts would offer too.
fn shown(all: &Command) -> Command {
    let subcommands = all.get_subcommands().filter(|it| !it.is_hide_set()).cloned();
    let about = all.get_about().cloned().unwrap_or_default();
    Command::new("twtrace").about(about).version(env!("CARGO_PKG_VERSION")).subcommands(subcommands)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_for_users_is_completed() {
        let shown = shown(&Cli::command());
        let names: Vec<&str> = shown.get_subcommands().map(Command::get_name).collect();
        assert!(names.contains(&"top") && names.contains(&"completions"), "{names:?}");
        assert!(!names.contains(&crate::cli::HOLD), "{names:?}");
    }
}
