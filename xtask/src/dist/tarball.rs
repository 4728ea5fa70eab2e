//! The archive for everybody who has no package.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{Release, program, tree::Tree};
use crate::command;

/// Packs the tree; two packings of the same tree are the same to the byte.
pub(super) fn pack(tree: &Tree, release: &Release, dist: &Path) -> Result<PathBuf> {
    let name = format!("twtrace-{}-{}", release.version, program::TARGET);
    let path = dist.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"])
        .arg(format!("--mtime=@{}", release.epoch))
        .arg("--mode=u+rwX,go+rX,go-w")
        .arg(format!("--transform=s,^[.],{name},"))
        // Neither its name nor the time.
        .arg("--use-compress-program=gzip -9n")
        .arg("-cf")
        .arg(&path)
        .arg("-C")
        .arg(tree.path())
        .arg(".");
    command::capture(&mut tar)?;
    Ok(path)
}
