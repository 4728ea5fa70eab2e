//! Running other programs: one line when they fail, and no settings of the outer cargo in them.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, anyhow, bail};

/// Runs a command whose output the user sees.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("`{}` failed ({status}): see above", shown(command));
    }
    Ok(())
}

/// Runs a command quietly and returns what it printed; its complaints are the error's root.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } =
        command.output().with_context(|| cannot_start(command))?;
    if !status.success() {
        let failed = format!("`{}` failed ({status})", shown(command));
        return Err(anyhow!(last_lines(&stderr)).context(failed));
    }
    String::from_utf8(stdout)
        .with_context(|| format!("`{}` printed something that is not text", shown(command)))
}

/// The cargo that runs this, in the workspace.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(root).args(arguments);
    command
}

/// The program of that name in PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Takes out of a command's environment what would change what is built: settings of the user's
/// shell, and those that `cargo run` itself hands to this process.
pub(crate) fn without_build_settings(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_build_setting) {
            command.env_remove(&name);
        }
    }
    command
}

/// CARGO_HOME and the network settings of cargo stay: they say where things come from, not what
/// is made of them.
fn is_build_setting(name: &str) -> bool {
    const KEPT: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
        "RUSTUP_HOME",
    ];
    const DROPPED: [&str; 3] = ["CARGO", "RUST", "__CARGO"];
    // Under `cargo run` the library path starts with the outer toolchain, whose LLVM is another.
    name == "LD_LIBRARY_PATH"
        || (DROPPED.iter().any(|prefix| name.starts_with(prefix))
            && !KEPT.iter().any(|prefix| name.starts_with(prefix)))
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start {}", command.get_program().to_string_lossy())
}

/// The command as it could be typed: the program's name and the first arguments.
fn shown(command: &Command) -> String {
    const ARGUMENTS: usize = 8;
    let program = PathBuf::from(command.get_program());
    let name = program.file_name().unwrap_or(OsStr::new("?")).to_string_lossy().into_owned();
    let mut words = vec![name];
    words.extend(command.get_args().take(ARGUMENTS).map(|word| word.to_string_lossy().into()));
    if command.get_args().len() > ARGUMENTS {
        words.push("…".into());
    }
    words.join(" ")
}

fn last_lines(stderr: &[u8]) -> String {
    const LINES: usize = 3;
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_change_the_build_are_dropped() {
        for name in [
            "RUSTFLAGS",
            "RUSTC_WRAPPER",
            "RUSTUP_TOOLCHAIN",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_TARGET_DIR",
            "CARGO_PROFILE_BPF_DEBUG",
            "CARGO",
            "LD_LIBRARY_PATH",
        ] {
            assert!(is_build_setting(name), "{name}");
        }
    }

    #[test]
    fn settings_of_the_machine_are_kept() {
        for name in ["CARGO_HOME", "CARGO_HTTP_PROXY", "CARGO_NET_OFFLINE", "RUSTUP_HOME", "PATH"] {
            assert!(!is_build_setting(name), "{name}");
        }
    }

    #[test]
    fn a_failure_says_what_failed_and_why() {
        let error = capture(Command::new("sh").args(["-c", "echo broken >&2; exit 3"]));
        let error = error.expect_err("exit 3 is a failure");
        let text = format!("{error:#}");
        assert!(text.contains("sh -c") && text.contains("broken"), "{text}");
        assert_eq!(error.root_cause().to_string(), "broken");
    }

    #[test]
    fn only_the_last_lines_of_a_complaint_are_shown() {
        assert_eq!(last_lines(b"one\n\ntwo\nthree\nfour\n"), "two; three; four");
        assert_eq!(last_lines(b""), "");
    }
}
