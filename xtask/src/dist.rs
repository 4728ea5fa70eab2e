//! `cargo xtask dist`: everything that users install, in `target/dist/`.

mod checksums;
mod debian;
pub(crate) mod host;
mod notices;
mod parts;
pub(crate) mod program;
mod sbom;
mod tarball;
mod tree;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;
use std::{env, fs};

use anyhow::{Context, Result};

use crate::{apt, command, workspace};
use parts::Parts;
use tree::Tree;

/// Commands that are needed, and the Debian packages that have them.
const COMMANDS: [(&str, &str); 3] = [("dh", "debhelper"), ("lintian", "lintian"), ("gzip", "gzip")];

/// What one release is called.
struct Release {
    /// Such as 0.1.0
    version: String,
    /// When it was made, in seconds since 1970: the time of its commit, so that it can be made again
    epoch: u64,
}

/// What was made.
pub(crate) struct Made {
    /// The package for Debian
    pub(crate) deb: PathBuf,
    /// Everything else
    pub(crate) others: Vec<PathBuf>,
}

/// Builds the program and packs it, and makes what it is tried on if that is wanted too.
pub(crate) fn run(root: &Path, with_host: bool) -> Result<()> {
    if with_host {
        host::provide(root)?;
    }
    let Made { deb, others } = make(root)?;
    for path in others.iter().chain([&deb]) {
        println!("{}", path.strip_prefix(root).unwrap_or(path).display());
    }
    Ok(())
}

/// Makes all of it anew.
pub(crate) fn make(root: &Path) -> Result<Made> {
    apt::provide(&COMMANDS)?;
    let program = program::build(root)?;
    let release = Release { version: env!("CARGO_PKG_VERSION").to_owned(), epoch: epoch(root)? };
    let dist = workspace::dist(root);
    if dist.exists() {
        fs::remove_dir_all(&dist).with_context(|| format!("cannot empty {}", dist.display()))?;
    }
    let parts = Parts::find(root)?;
    let tree = Tree::lay_out(root, &program, &dist.join("tree"))?;
    notices::write(&parts, &tree.path().join("THIRD-PARTY"))?;
    let deb = debian::pack(root, &tree, &release, &dist)?;
    let tarball = tarball::pack(&tree, &release, &dist)?;
    let sbom = sbom::write(&parts, &release, &dist)?;
    let checksums = checksums::write(&dist, &[&deb, &tarball, &sbom])?;
    Ok(Made { deb, others: vec![tarball, sbom, checksums] })
}

/// When the commit was made that is checked out; of sources that are no checkout, when the lock file
/// was written.
fn epoch(root: &Path) -> Result<u64> {
    if let Ok(set) = env::var("SOURCE_DATE_EPOCH") {
        let wrong = || format!("SOURCE_DATE_EPOCH={set} is no number of seconds");
        return set.trim().parse().with_context(wrong);
    }
    let mut log = Command::new("git");
    log.current_dir(root).args(["log", "-1", "--format=%ct"]);
    if let Ok(seconds) = command::capture(&mut log).unwrap_or_default().trim().parse() {
        return Ok(seconds);
    }
    let written = fs::metadata(root.join("Cargo.lock")).and_then(|lock| lock.modified());
    let written = written.context("cannot read Cargo.lock")?;
    Ok(written.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
