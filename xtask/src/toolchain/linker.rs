//! The pinned bpf-linker.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Rustc;
use crate::command;

/// The newest release that links with the LLVM inside the pinned rustc; later ones want a system
/// LLVM.
pub(crate) const VERSION: &str = "0.10.3";

const NAME: &str = "bpf-linker";

/// The linker in PATH or in the tools directory if its version is right, else a fresh one.
pub(super) fn find(rustc: &Rustc, tools: &Path) -> Result<PathBuf> {
    let own = tools.join("bin").join(NAME);
    let known = command::find(NAME).into_iter().chain([own.clone()]);
    if let Some(linker) = known.into_iter().find(|linker| is_pinned(linker)) {
        return Ok(linker);
    }
    install(rustc, tools)?;
    if !is_pinned(&own) {
        bail!(
            "the {NAME} just installed does not say that it is {VERSION}: remove {}",
            own.display()
        );
    }
    Ok(own)
}

fn is_pinned(linker: &Path) -> bool {
    command::capture(Command::new(linker).arg("--version"))
        .is_ok_and(|said| parse(&said) == Some(VERSION))
}

fn parse(said: &str) -> Option<&str> {
    said.trim().strip_prefix(NAME)?.split_whitespace().next()
}

fn install(rustc: &Rustc, tools: &Path) -> Result<()> {
    let wanted = format!("{NAME}@{VERSION}");
    println!("installing {wanted}, which takes about a minute");
    command::run(
        rustc
            .command(&rustc.tool("cargo"))
            .args(["install", "--quiet", "--locked", "--force", &wanted, "--root"])
            .arg(tools),
    )
    .with_context(|| format!("no {NAME}: install it with `cargo install {wanted} --locked`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read() {
        assert_eq!(parse("bpf-linker 0.10.3\n"), Some("0.10.3"));
        assert_eq!(parse("bpf-linker 0.10.3 (abc)\n"), Some("0.10.3"));
        assert_eq!(parse("ld 2.40\n"), None);
        assert_eq!(parse(""), None);
    }
}
