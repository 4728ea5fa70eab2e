//! A Debian to install the package on: its essential packages and systemd, below `target/debian`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{apt, command, workspace};

/// The release that the package is tried on.
const SUITE: &str = "bookworm";
/// Commands that are needed, and the Debian packages that have them.
const COMMANDS: [(&str, &str); 2] =
    [("mmdebstrap", "mmdebstrap"), ("systemd-nspawn", "systemd-container")];

/// Makes it, unless it is there.
pub(crate) fn provide(root: &Path) -> Result<()> {
    apt::provide(&COMMANDS)?;
    let folder = workspace::debian(root);
    if folder.join("root").exists() {
        return Ok(());
    }
    let making = folder.join("making");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    // What an interrupted run left.
    command::capture(Command::new("rm").arg("-rf").arg(&making))?;
    println!("making a Debian to install on");
    let mut make = Command::new("mmdebstrap");
    make.args(["--quiet", "--variant=essential", "--include=systemd,systemd-sysv", SUITE])
        .arg(&making)
        .args(apt::mirrors(SUITE)?);
    command::capture(&mut make)?;
    fs::rename(&making, folder.join("root")).context("cannot rename a folder")
}
