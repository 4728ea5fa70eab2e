//! The standard library's source of exactly the pinned rustc, for `-Z build-std=core`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Rustc;
use super::rustc::{self, RELEASE};
use crate::apt::Suite;

/// Where a sysroot holds the source.
pub(super) const IN_SYSROOT: &str = "lib/rustlib/src/rust/library";

/// The suite of Debian whose package `rust-src` has the pinned release.
const SUITE: &str = "trixie-backports";

/// The toolchain's own source, a copy from before, rustup's, or Debian's: the first there is.
pub(super) fn find(rustc: &Rustc, tools: &Path) -> Result<PathBuf> {
    let own = rustc.sysroot().join(IN_SYSROOT);
    let cached = tools.join(format!("rust-src-{RELEASE}")).join("library");
    if let Some(library) = [&own, &cached].into_iter().find(|library| is_library(library)) {
        return Ok(library.clone());
    }
    let rustup = match rustc::add_component("rust-src") {
        // This rustc need not be one of rustup's, and the source is then somewhere else.
        Ok(()) if is_library(&own) => return Ok(own),
        Ok(()) => "rustup added it to another toolchain".into(),
        Err(error) => format!("{error:#}"),
    };
    if let Err(debian) = fetch_from_debian(&cached) {
        bail!(
            "no source of rustc {RELEASE}'s standard library: run \
             `rustup component add rust-src --toolchain {RELEASE}` ({rustup}; {debian:#})"
        );
    }
    Ok(cached)
}

/// Debian's package holds the same source, and half a gigabyte of the compiler's, which goes.
fn fetch_from_debian(cached: &Path) -> Result<()> {
    println!("fetching the source of rustc {RELEASE}'s standard library from Debian's {SUITE}");
    let home = cached.parent().context("the cache is a path without a parent")?;
    fs::create_dir_all(home).with_context(|| format!("cannot create {}", home.display()))?;
    let scratch = tempfile::tempdir_in(home).context("cannot create a scratch directory")?;
    let unpacked = scratch.path().join("unpacked");
    let apt = scratch.path().join("apt");
    Suite::open(SUITE, &apt)?.unpack("rust-src", RELEASE, &unpacked)?;
    let library = unpacked.join(format!("usr/src/rustc-{RELEASE}/library"));
    if !is_library(&library) {
        bail!("Debian's rust-src holds no library where it should");
    }
    // Last and in one step, so that a cache that exists is whole.
    fs::rename(&library, cached).with_context(|| format!("cannot fill {}", cached.display()))
}

fn is_library(path: &Path) -> bool {
    path.join("Cargo.lock").is_file() && path.join("core/src/lib.rs").is_file()
}
