//! The twtrace that is run in a virtual machine, and what makes connections there: static, since
//! there is no library.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::command;

/// Named, so that flags are for what is built and not for what builds it.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Optimising the whole program takes longer than all that is gained in a few minutes' run.
const PROFILE: [&str; 8] = [
    "--config",
    "profile.release.lto=false",
    "--config",
    "profile.release.codegen-units=16",
    "--config",
    "profile.release.debug=false",
    "--config",
    "profile.release.strip=true",
];

/// The static programs.
pub(super) struct Built {
    /// twtrace
    pub(super) twtrace: PathBuf,
    /// What makes connections
    pub(super) peer: PathBuf,
}

/// Builds them in a directory of their own: other flags in the common one would throw away what the
/// other builds made.
pub(super) fn build(root: &Path, store: &Path) -> Result<Built> {
    let target = store.join("build");
    let packages = ["-p", "twtrace", "-p", "twtrace-tests", "--bins"];
    let arguments = ["build", "--locked", "--release", "--target", TARGET];
    println!("building a static twtrace");
    command::run(
        command::cargo(root, &arguments)
            .args(packages)
            .args(PROFILE)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static"),
    )?;
    let release = target.join(TARGET).join("release");
    Ok(Built { twtrace: release.join("twtrace"), peer: release.join("twtrace-peer") })
}
