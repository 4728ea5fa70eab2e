//! Parse, run, exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Error, Result};
use clap::{Parser, error::ErrorKind};
use rustix::io::Errno;
use twtrace::{
    cli::{Cli, Command},
    cmd::{self, command::CannotRun},
    config, demo, host,
    log_lines::{LogLines, printable},
};

/// Something failed; 1 means findings.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refused) => return refuse(&refused),
    };
    run(&cli).unwrap_or_else(|error| {
        if nobody_reads(&error) {
            return ExitCode::SUCCESS;
        }
        complain(&format!("{error:#}"));
        ExitCode::from(error.downcast_ref().map_or(FAILED, |refused: &CannotRun| refused.exit_code))
    })
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let open_files = host::raise_file_limit();
    if cli.command.traces() {
        host::require_files()?;
    }
    match &cli.command {
        Command::Top(args) => {
            log_to_stderr(args.trace.verbose);
            cmd::top::run(&config::Top::new(args)?)
        }
        Command::Record(args) => {
            log_to_stderr(args.trace.verbose);
            cmd::record::run(config::Record::new(args, open_files)?)
        }
        Command::Report(args) => {
            log_to_stderr(0);
            cmd::report::run(&config::Report::new(args)?)
        }
        Command::Export(args) => {
            log_to_stderr(0);
            cmd::export::run(&config::Export::new(args))
        }
        Command::Verify(args) => {
            log_to_stderr(0);
            cmd::verify::run(&args.file)
        }
        Command::Repair(args) => {
            log_to_stderr(0);
            cmd::repair::run(&args.file, &args.output, args.force)
        }
        Command::Ports(args) => {
            log_to_stderr(args.trace.verbose);
            cmd::ports::run(&config::Ports::new(args, open_files)?)
        }
        Command::Doctor(args) => {
            log_to_stderr(args.trace.verbose);
            cmd::doctor::run(&config::Doctor::new(args)?)
        }
        Command::States(args) => {
            log_to_stderr(0);
            cmd::states::run(&config::States::new(args)?)
        }
        Command::Serve(args) => {
            log_to_stderr(args.trace.verbose);
            cmd::serve::run(&config::Serve::new(args)?)
        }
        Command::Check(args) => {
            log_to_stderr(args.trace.verbose);
            cmd::check::run(&config::Check::new(args)?)
        }
        Command::Selftest(args) => {
            log_to_stderr(args.trace.verbose);
            cmd::selftest::run(&config::Selftest::new(args)?)
        }
        Command::Completions(args) => cmd::completions::run(args.shell),
        Command::Manual(args) => cmd::manual::run(&args.folder),
        Command::SelftestHold => Ok(cmd::selftest::hold()),
        Command::PortsCommand(args) => cmd::command::become_command(args),
        Command::Helper => {
            log_to_stderr(0);
            cmd::helper::run()
        }
        Command::DemoActor(args) => demo::act(&args.name, args.netns),
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
    complain(&format!("{}; see `twtrace --help`", reason.trim_start_matches("error: ")));
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
        .target(env_logger::Target::Pipe(Box::new(LogLines)))
        .format(|buffer, record| writeln!(buffer, "twtrace: {}", record.args()))
        .init();
}

/// One line on standard error, which may be gone with the terminal.
fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "twtrace: {}", printable(what));
}

/// Whoever read our output has enough, or the terminal was closed: no failure.
fn nobody_reads(error: &Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| {
            let errno = error.raw_os_error().map(Errno::from_raw_os_error);
            matches!(errno, Some(Errno::PIPE | Errno::IO))
        })
    })
}
