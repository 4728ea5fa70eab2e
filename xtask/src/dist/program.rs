//! The program that is shipped: static, so that it runs on every distribution and in an empty container.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{command, workspace};

/// Named, so that flags are for what is built and not for what builds it.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds twtrace as it is shipped.
pub(crate) fn build(root: &Path) -> Result<PathBuf> {
    cargo_build(root, &["-p", "twtrace"]).map(|dir| dir.join("twtrace"))
}

/// Builds what makes connections where there is no library to load: in virtual machines.
pub(crate) fn build_peer(root: &Path) -> Result<PathBuf> {
    let only = ["-p", "twtrace-tests", "--bin", "twtrace-peer"];
    cargo_build(root, &only).map(|dir| dir.join("twtrace-peer"))
}

/// Builds in a directory of its own, and returns where the programs are: other flags in the common one
/// would throw away what the other builds made.
fn cargo_build(root: &Path, what: &[&str]) -> Result<PathBuf> {
    let target = workspace::shipped(root);
    command::run(
        command::cargo(root, &["build", "--locked", "--profile", "dist", "--target", TARGET])
            .args(what)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static"),
    )?;
    Ok(target.join(TARGET).join("dist"))
}
