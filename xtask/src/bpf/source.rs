//! One hash over everything the object is made of.
//!
//! The comparison of the objects is what proves; this hash only says cheaply, and without a
//! toolchain, whether the source has moved since.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::lockfile::Lockfile;

const CRATES: [&str; 2] = ["twtrace-common", "twtrace-ebpf"];

/// What the profile and the package defaults say gets into the object.
const SECTIONS: [&str; 3] = ["workspace.package", "profile.release", "profile.bpf"];

/// The hash of the workspace as it lies there.
pub(super) fn hash(root: &Path, lock: &Lockfile) -> Result<String> {
    let mut hash = Parts(Sha256::new());
    for file in files(root)? {
        let path = root.join(&file);
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        hash.add(&file.to_string_lossy(), &content);
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("cannot read Cargo.toml")?;
    for name in SECTIONS {
        hash.add(name, section(&manifest, name).join("\n").as_bytes());
    }
    let dependencies = section(&manifest, "workspace.dependencies");
    for package in lock.reachable(&CRATES) {
        hash.add(&package.name, package.entry.as_bytes());
        hash.add("features", declared(&dependencies, &package.name).as_bytes());
    }
    Ok(format!("{:x}", hash.0.finalize()))
}

/// A hash over named parts; the lengths keep a part's end from being moved into its neighbour.
struct Parts(Sha256);

impl Parts {
    fn add(&mut self, name: &str, content: &[u8]) {
        for part in [name.as_bytes(), content] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }
}

/// The files of the two crates that a compiler reads, sorted, relative to the root.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for name in CRATES {
        for file in ["Cargo.toml", "build.rs"].map(|file| Path::new(name).join(file)) {
            if root.join(&file).is_file() {
                found.push(file);
            }
        }
        collect(root, &Path::new(name).join("src"), &mut found)?;
    }
    found.sort();
    Ok(found)
}

fn collect(root: &Path, dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let failed = || format!("cannot read {}", dir.display());
    for entry in fs::read_dir(root.join(dir)).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let path = dir.join(entry.file_name());
        if entry.file_type().with_context(failed)?.is_dir() {
            collect(root, &path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// The lines of a section of Cargo.toml that say something.
fn section<'a>(manifest: &'a str, name: &str) -> Vec<&'a str> {
    let header = format!("[{name}]");
    manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != header)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// What the workspace asks of a dependency: its version and features.
fn declared<'a>(dependencies: &[&'a str], name: &str) -> &'a str {
    let of_name = |line: &&&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(['=', '.']))
    };
    dependencies.iter().find(of_name).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "\
[workspace.dependencies]
# why
aya = \"=0.14.0\"
aya-ebpf = \"=0.2.1\"

[profile.bpf]
lto = true
";

    #[test]
    fn sections_end_where_the_next_begins() {
        assert_eq!(section(MANIFEST, "profile.bpf"), ["lto = true"]);
        let both = ["aya = \"=0.14.0\"", "aya-ebpf = \"=0.2.1\""];
        assert_eq!(section(MANIFEST, "workspace.dependencies"), both);
        assert!(section(MANIFEST, "profile.dev").is_empty());
    }

    #[test]
    fn a_dependency_is_found_by_its_whole_name() {
        let lines = section(MANIFEST, "workspace.dependencies");
        assert_eq!(declared(&lines, "aya-ebpf"), "aya-ebpf = \"=0.2.1\"");
        assert_eq!(declared(&lines, "aya"), "aya = \"=0.14.0\"");
        assert_eq!(declared(&lines, "ay"), "");
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let hash = |parts: [(&str, &[u8]); 2]| {
            let mut hash = Parts(Sha256::new());
            for (name, content) in parts {
                hash.add(name, content);
            }
            hash.0.finalize()
        };
        assert_ne!(hash([("a", b"bc"), ("d", b"")]), hash([("a", b"b"), ("cd", b"")]));
    }
}
