//! The package for Debian and what descends from it, by debhelper.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Release, tree::Tree};
use crate::command;

/// Who answers for the package.
const MAINTAINER: &str = "twtrace developers <twtrace@users.noreply.github.com>";
/// The revision of the packaging.
const REVISION: u32 = 1;
const ARCHITECTURE: &str = "amd64";

/// Packs the tree, and lets Debian's own checker judge the package.
pub(super) fn pack(root: &Path, tree: &Tree, release: &Release, dist: &Path) -> Result<PathBuf> {
    let build = dist.join("deb/twtrace");
    fs::create_dir_all(&build).with_context(|| format!("cannot create {}", build.display()))?;
    let copy = |from: &Path, to: &Path| -> Result<()> {
        command::capture(Command::new("cp").arg("-rT").args([from, to])).map(drop)
    };
    let debian = build.join("debian");
    copy(tree.path(), &build)?;
    copy(&root.join("contrib/debian"), &debian)?;
    copy(&root.join("contrib/systemd/twtrace.service"), &debian.join("twtrace.service"))?;
    fs::write(debian.join("changelog"), changelog(release)?)?;
    let mut rules = Command::new("make");
    rules.current_dir(&build).args(["-s", "-f", "debian/rules", "binary"]);
    rules.env("SOURCE_DATE_EPOCH", release.epoch.to_string());
    command::capture(&mut rules)?;

    let name = format!("twtrace_{}_{ARCHITECTURE}.deb", version(release));
    let (made, deb) = (dist.join("deb").join(&name), dist.join(&name));
    fs::rename(&made, &deb).with_context(|| format!("debhelper made no {}", made.display()))?;
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"]);
    command::run(lintian.arg(&deb))?;
    Ok(deb)
}

fn version(release: &Release) -> String {
    format!("{}-{REVISION}", release.version)
}

fn changelog(release: &Release) -> Result<String> {
    let mut date = Command::new("date");
    date.env("LC_ALL", "C").args(["-u", "-R", "-d", &format!("@{}", release.epoch)]);
    let date = command::capture(&mut date)?;
    Ok(format!(
        "twtrace ({}) unstable; urgency=medium\n\n  * See /usr/share/doc/twtrace/NEWS.gz.\n\n -- \
         {MAINTAINER}  {}\n",
        version(release),
        date.trim()
    ))
}
