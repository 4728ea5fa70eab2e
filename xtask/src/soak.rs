//! `cargo xtask soak`: twtrace under mixed load for a while, and whether it kept what it promises.
//!
//! What runs is in the crate `tests` (`twtrace-soak`), beside the traffic that the live tests make;
//! here it is built and started, and what it says is written down, drawn, and judged.

mod plot;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::dist::program;
use crate::{SoakArgs, command, user, workspace};

/// What CI runs.
pub(crate) const A_MINUTE: SoakArgs =
    SoakArgs { duration: Duration::from_secs(60), output: None, twtrace: None };
/// What runs, and what it starts.
const PROGRAMS: [&str; 2] = ["twtrace-soak", "twtrace-peer"];
/// Medians of quarters, of a sample a second, mean nothing below.
const SHORTEST: Duration = Duration::from_secs(20);

/// Runs it; fails if a promise was broken, after everything was written.
pub(crate) fn run(root: &Path, args: &SoakArgs) -> Result<()> {
    if !user::is_root() {
        bail!("the soak loads BPF programs and needs root: run `sudo -E cargo xtask soak`");
    }
    if args.duration < SHORTEST {
        bail!("--duration {:?}: at least {SHORTEST:?}", args.duration);
    }
    let twtrace = match &args.twtrace {
        Some(path) => path.clone(),
        None => program::build(root)?,
    };
    let programs = build(root)?;
    let printed = command::capture(
        Command::new(programs.path().join(PROGRAMS[0]))
            .arg(args.duration.as_secs_f64().to_string())
            .env("TWTRACE_BIN", kept(&twtrace, programs.path())?),
    )?;
    let result: Value = serde_json::from_str(&printed).context("what the soak printed")?;
    let folder = args.output.clone().unwrap_or_else(|| workspace::soak(root));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    write(&folder.join("soak.json"), &format!("{result}\n"))?;
    write(&folder.join("soak.svg"), &plot::svg(&result)?)?;
    judge(&result, &folder)
}

/// Builds the programs that make the load, as the live tests are built, into a folder of their own:
/// who builds again meanwhile would replace what is started again and again.
fn build(root: &Path) -> Result<TempDir> {
    let mut build = command::cargo(root, &["build", "--locked", "--profile", "live"]);
    build.args(["-p", "twtrace-tests", "--message-format", "json-render-diagnostics"]);
    build.args(PROGRAMS.iter().flat_map(|program| ["--bin", program]));
    // Cargo says where it puts things, whatever target directory is set.
    let messages = command::capture(&mut build)?;
    let made: Vec<PathBuf> = messages.lines().filter_map(executable).collect();
    ensure!(made.len() == PROGRAMS.len(), "cargo did not say where it has put {PROGRAMS:?}");
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    for program in made {
        kept(&program, folder.path())?;
    }
    Ok(folder)
}

fn executable(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    message["executable"].as_str().map(PathBuf::from)
}

/// Copies a program to `folder`.
fn kept(program: &Path, folder: &Path) -> Result<PathBuf> {
    let name = program.file_name().with_context(|| format!("{} is no file", program.display()))?;
    let copy = folder.join(name);
    fs::copy(program, &copy).with_context(|| format!("cannot copy {}", program.display()))?;
    Ok(copy)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Prints every promise, and fails if one was broken.
fn judge(result: &Value, folder: &Path) -> Result<()> {
    let promises = result["promises"].as_array().context("the soak says what it promised")?;
    for promise in promises {
        println!("{}", line(promise));
    }
    println!("{}: soak.json, soak.svg", folder.display());
    let broken = promises.iter().filter(|it| it["held"] != true).count();
    if broken > 0 {
        bail!("{broken} of {} promises were broken: see above", promises.len());
    }
    Ok(())
}

fn line(promise: &Value) -> String {
    if let Some(why) = promise["not_judged"].as_str() {
        return format!("NOT JUDGED {}: {}; {why}", promise["what"], promise["found"]);
    }
    let word = if promise["held"] == true { "held  " } else { "BROKEN" };
    let what = promise["what"].as_str().unwrap_or("?");
    let bound = promise["bound"].as_str().unwrap_or("?");
    format!("{word} {what}: {} ({bound} {})", promise["found"], promise["limit"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn result(found: u64) -> Value {
        json!({"promises": [{
            "what": "open files", "bound": "equal", "limit": 7, "found": found, "held": found == 7,
        }]})
    }

    #[test]
    fn a_broken_promise_is_a_failure() {
        judge(&result(7), Path::new("here")).expect("it was held");
        let error = judge(&result(8), Path::new("here")).expect_err("it was broken");
        assert_eq!(error.to_string(), "1 of 1 promises were broken: see above");
        assert_eq!(line(&result(8)["promises"][0]), "BROKEN open files: 8 (equal 7)");
    }
}
