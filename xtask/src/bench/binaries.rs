//! The programs of this checkout that the bench starts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command;

/// Where they are.
pub(super) struct Binaries {
    /// The tracer that is measured
    pub(super) twtrace: PathBuf,
    /// The helper of the live tests, which makes the connections
    pub(super) peer: PathBuf,
    /// Makes long recordings of short ones
    pub(super) amplify: PathBuf,
}

impl Binaries {
    /// Builds them as users do, each for itself: built together they would share features of
    /// their dependencies. A `twtrace` that is given is taken instead.
    pub(super) fn provide(root: &Path, twtrace: Option<&Path>) -> Result<Self> {
        let release = target_directory(root)?.join("release");
        let build = ["build", "--locked", "--release", "-p"];
        let twtrace = match twtrace {
            Some(path) => path.canonicalize().with_context(|| format!("no {}", path.display()))?,
            None => {
                command::run(command::cargo(root, &build).arg("twtrace"))?;
                release.join("twtrace")
            }
        };
        let helpers = ["twtrace-tests", "--bin", "twtrace-peer", "--bin", "twtrace-amplify"];
        command::run(command::cargo(root, &build).args(helpers))?;
        let helper = |name| release.join(name);
        Ok(Self { twtrace, peer: helper("twtrace-peer"), amplify: helper("twtrace-amplify") })
    }
}

fn target_directory(root: &Path) -> Result<PathBuf> {
    let arguments = ["metadata", "--locked", "--no-deps", "--format-version", "1"];
    let said = command::capture(&mut command::cargo(root, &arguments))?;
    let said: Value = serde_json::from_str(&said).context("cargo metadata printed no JSON")?;
    let directory = said["target_directory"].as_str();
    Ok(directory.context("cargo metadata names no target directory")?.into())
}
