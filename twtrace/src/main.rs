//! Parse, run, exit code.

use std::{io, process::ExitCode};

use anyhow::{Error, Result};
use clap::{Parser, error::ErrorKind};
use twtrace::{
    cli::{Cli, Command},
    cmd, config,
};

/// Something failed; 1 means findings.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refused) => return refuse(&refused),
    };
    run(&cli).unwrap_or_else(|error| {
        if is_broken_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        eprintln!("twtrace: {error:#}");
        ExitCode::from(FAILED)
    })
}

fn run(cli: &Cli) -> Result<ExitCode> {
    match &cli.command {
        Command::Top(args) => {
            log_to_stderr(args.trace.verbose);
            cmd::top::run(&config::Top::new(args)?)
        }
        Command::Check(args) => {
            log_to_stderr(args.trace.verbose);
            cmd::check::run(&config::Check::new(args)?)
        }
    }
}

/// Help and version as they are; a wrong argument in one line.
fn refuse(refused: &clap::Error) -> ExitCode {
    if !refused.use_stderr()
        || refused.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    {
        refused.exit();
    }
    let rendered = refused.render().to_string();
    let reason: Vec<&str> = rendered
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .collect();
    let reason = reason.join(" ");
    eprintln!("twtrace: {}; see `twtrace --help`", reason.trim_start_matches("error: "));
    ExitCode::from(FAILED)
}

/// Warnings always; what is done with `-v`; what programs and verifier say with `-vv`.
fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => log::LevelFilter::Warn,
        1 => log::LevelFilter::Info,
        _ => log::LevelFilter::Debug,
    };
    env_logger::Builder::new()
        .filter_level(level)
        // aya tells of each relocation.
        .filter_module("aya", log::LevelFilter::Warn)
        .filter_module("aya_obj", log::LevelFilter::Warn)
        .format(|buffer, record| {
            use io::Write;
            writeln!(buffer, "twtrace: {}", record.args())
        })
        .init();
}

/// Whoever read our output has enough: that is no failure.
fn is_broken_pipe(error: &Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}
