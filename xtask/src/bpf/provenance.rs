//! What an object was built from, as the file that lies next to it.

use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::arch::Arch;
use super::lockfile::Lockfile;
use super::source;
use crate::toolchain::{LINKER, Toolchain};

const HEADER: &str = "\
# What the objects here were built from. Written by `cargo xtask bpf`, checked by
# `cargo xtask bpf --check`; not to be edited by hand.
#
# source_sha256 covers what the objects are made of: Cargo.toml, build.rs and src/ of twtrace-ebpf
# and twtrace-common; of the workspace's Cargo.toml the package defaults, the release and bpf
# profiles and the dependencies used; of Cargo.lock every package those two crates can reach.
# A crate that only the host uses does not change it.
";

/// Keys and values, in the order of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Provenance {
    fields: Vec<(String, String)>,
}

impl Provenance {
    /// The provenance of the objects that this toolchain just built.
    pub(super) fn new(
        root: &Path,
        toolchain: &Toolchain,
        objects: &[(Arch, Vec<u8>)],
    ) -> Result<Self> {
        let lock = Lockfile::read(root)?;
        let rustc = &toolchain.rustc.version;
        let aya = lock.version_of("aya-ebpf").context("Cargo.lock holds no aya-ebpf")?;
        let of_source = [
            ("rustc", rustc.release.clone()),
            ("rustc_commit", rustc.commit.clone()),
            ("rustc_host", rustc.host.clone()),
            ("llvm", rustc.llvm.clone()),
            ("bpf_linker", LINKER.to_owned()),
            ("aya_ebpf", aya.to_owned()),
            ("source_sha256", source::hash(root, &lock)?),
        ];
        let mut fields: Vec<_> = of_source.map(|(key, value)| (key.to_owned(), value)).into();
        for (arch, object) in objects {
            fields.push((format!("{}_bytes", arch.name()), object.len().to_string()));
            fields.push((format!("{}_sha256", arch.name()), sha256(object)));
        }
        Ok(Self { fields })
    }

    /// Reads what [`Self::render`] wrote: no TOML but lines of `key = "value"` and comments.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let field = |line: &str| {
            let (key, value) = line.split_once(" = ")?;
            let value = value.strip_prefix('"')?.strip_suffix('"')?;
            Some((key.to_owned(), value.to_owned()))
        };
        let fields = lines
            .map(|line| {
                field(line).with_context(|| {
                    format!("provenance.toml: cannot read {line:?}: run `cargo xtask bpf`")
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { fields })
    }

    /// The content of the file.
    pub(super) fn render(&self) -> String {
        let lines = self.fields.iter().map(|(key, value)| format!("{key} = \"{value}\"\n"));
        lines.fold(HEADER.to_owned(), |text, line| text + &line)
    }

    /// All keys, in the order of the file.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(key, _)| key.as_str())
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

/// The SHA-256 of some bytes in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provenance() -> Provenance {
        let fields = [("rustc", "1.95.0"), ("features", "")];
        Provenance { fields: fields.map(|(key, value)| (key.into(), value.into())).into() }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let read = Provenance::parse(&provenance().render()).expect("it was just written");
        assert_eq!(read, provenance());
        assert_eq!(read.get("rustc"), Some("1.95.0"));
        assert_eq!(read.get("features"), Some(""));
        assert_eq!(read.get("absent"), None);
    }

    #[test]
    fn a_line_that_is_no_field_is_an_error_with_the_fix() {
        for line in ["<<<<<<< HEAD", "rustc = 1.95.0", "rustc"] {
            let error = Provenance::parse(line).expect_err(line).to_string();
            assert!(error.contains(line) && error.contains("cargo xtask bpf"), "{error}");
        }
    }

    #[test]
    fn sha256_is_that_of_the_standard() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b""), empty);
    }
}
