//! The pinned compiler.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// The release that the BPF object is built with.
pub(crate) const RELEASE: &str = "1.95.0";

/// A compiler of exactly the pinned release.
pub(crate) struct Rustc {
    /// What it says of itself
    pub(crate) version: Version,
    sysroot: PathBuf,
}

/// What `rustc -vV` says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// The release, `1.95.0`
    pub(crate) release: String,
    /// The commit it was built from
    pub(crate) commit: String,
    /// The machine it runs on. It goes into every symbol's hash.
    pub(crate) host: String,
    /// The LLVM inside
    pub(crate) llvm: String,
}

impl Rustc {
    /// The current compiler if it is the pinned one, else rustup's.
    pub(crate) fn find() -> Result<Self> {
        let rustup = ["rustup", "run", RELEASE, "rustc"];
        for words in [&["rustc"][..], &rustup[..]] {
            if let Some(found) = Self::probe(words) {
                return found.check_complete();
            }
        }
        bail!("rustc {RELEASE} is not installed: run `rustup toolchain install {RELEASE}`")
    }

    fn probe(words: &[&str]) -> Option<Self> {
        let ask = |what: &[&str]| {
            command::capture(Command::new(words[0]).args(&words[1..]).args(what)).ok()
        };
        let version = Version::parse(&ask(&["-vV"])?)?;
        if version.release != RELEASE {
            return None;
        }
        let sysroot = PathBuf::from(ask(&["--print", "sysroot"])?.trim());
        Some(Self { version, sysroot })
    }

    fn check_complete(self) -> Result<Self> {
        for tool in [self.tool("rustc"), self.tool("cargo"), self.objcopy()] {
            if !tool.is_file() {
                bail!(
                    "{} is missing: run `rustup toolchain install {RELEASE}`, \
                     which brings everything this build needs",
                    tool.display()
                );
            }
        }
        Ok(self)
    }

    /// A program of this toolchain itself, not the proxy that rustup puts into PATH.
    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.sysroot.join("bin").join(name)
    }

    /// LLVM's objcopy, which rustc brings to strip what it links.
    pub(crate) fn objcopy(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib").join(&self.version.host).join("bin/rust-objcopy")
    }

    /// The directory of this toolchain.
    pub(crate) fn sysroot(&self) -> &Path {
        &self.sysroot
    }

    /// A command in which this toolchain is the only one: no outer settings, and no other LLVM
    /// for bpf-linker, which takes the first one it finds in the library path.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command::without_build_settings(&mut command)
            .env("RUSTC", self.tool("rustc"))
            .env("CARGO", self.tool("cargo"))
            // Empty overrides a wrapper that the user's cargo configuration names.
            .env("RUSTC_WRAPPER", "")
            .env("LD_LIBRARY_PATH", self.sysroot.join("lib"));
        command
    }
}

impl Version {
    fn parse(verbose: &str) -> Option<Self> {
        let field = |name: &str| {
            let value = verbose.lines().find_map(|line| line.strip_prefix(name))?;
            Some(value.strip_prefix(": ")?.trim().to_owned())
        };
        Some(Self {
            release: field("release")?,
            commit: field("commit-hash")?,
            host: field("host")?,
            llvm: field("LLVM version")?,
        })
    }
}

/// Adds a component to the pinned toolchain through rustup, if there is one.
pub(crate) fn add_component(name: &str) -> Result<()> {
    let mut rustup = Command::new("rustup");
    rustup.args(["component", "add", "--toolchain", RELEASE, name]);
    command::capture(&mut rustup).map(drop).with_context(|| format!("rustup brought no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERBOSE: &str = "\
rustc 1.95.0 (59807616e 2026-04-14)
binary: rustc
commit-hash: 59807616e1fa2540724bfbac14d7976d7e4a3860
commit-date: 2026-04-14
host: x86_64-unknown-linux-gnu
release: 1.95.0
LLVM version: 22.1.2
";

    #[test]
    fn the_version_is_read() {
        let version = Version::parse(VERBOSE).expect("a real rustc said this");
        assert_eq!(version.release, RELEASE);
        assert_eq!(version.commit, "59807616e1fa2540724bfbac14d7976d7e4a3860");
        assert_eq!(version.host, "x86_64-unknown-linux-gnu");
        assert_eq!(version.llvm, "22.1.2");
    }

    #[test]
    fn an_output_without_a_field_is_no_version() {
        for missing in ["release", "commit-hash", "host", "LLVM version"] {
            let cut: Vec<&str> =
                VERBOSE.lines().filter(|line| !line.starts_with(missing)).collect();
            assert_eq!(Version::parse(&cut.join("\n")), None, "{missing}");
        }
    }
}
