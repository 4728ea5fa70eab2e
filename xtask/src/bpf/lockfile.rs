//! Cargo.lock, as far as it says what the BPF crates are built from.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The packages of a lock file.
pub(super) struct Lockfile {
    packages: Vec<Package>,
}

/// One package of a lock file.
pub(super) struct Package {
    /// Its name
    pub(super) name: String,
    version: String,
    /// `name`, or `name version` where there are several
    dependencies: Vec<String>,
    /// The whole entry, with source and checksum
    pub(super) entry: String,
}

impl Lockfile {
    /// Reads the workspace's lock file.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let text = fs::read_to_string(root.join("Cargo.lock"))
            .context("cannot read Cargo.lock: run `cargo generate-lockfile`")?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let entries = text.split("[[package]]\n").skip(1);
        Self { packages: entries.filter_map(Package::parse).collect() }
    }

    /// The version of the first package of that name.
    pub(super) fn version_of(&self, name: &str) -> Option<&str> {
        self.packages.iter().find(|package| package.name == name).map(|found| &*found.version)
    }

    /// The packages that these reach, themselves among them, in the order of the file.
    pub(super) fn reachable(&self, from: &[&str]) -> Vec<&Package> {
        let mut queue: Vec<&str> = from.to_vec();
        let mut reached = BTreeSet::new();
        while let Some(reference) = queue.pop() {
            for (index, package) in self.packages.iter().enumerate() {
                if package.is(reference) && reached.insert(index) {
                    queue.extend(package.dependencies.iter().map(String::as_str));
                }
            }
        }
        reached.into_iter().map(|index| &self.packages[index]).collect()
    }
}

impl Package {
    fn parse(entry: &str) -> Option<Self> {
        let field = |name: &str| {
            let value = entry.lines().find_map(|line| line.strip_prefix(name))?;
            Some(value.trim_matches([' ', '=', '"']).to_owned())
        };
        let dependencies = entry
            .lines()
            .filter_map(|line| line.strip_prefix(" \"")?.strip_suffix("\","))
            .map(str::to_owned)
            .collect();
        Some(Self {
            name: field("name")?,
            version: field("version")?,
            dependencies,
            entry: entry.trim().to_owned(),
        })
    }

    fn is(&self, reference: &str) -> bool {
        let mut words = reference.split(' ');
        words.next() == Some(&self.name) && words.next().is_none_or(|word| word == self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"# comment
version = 4

[[package]]
name = "aya-ebpf"
version = "0.2.1"
source = "registry"
checksum = "aa"
dependencies = [
 "syn 2.0.0",
]

[[package]]
name = "host-only"
version = "1.0.0"
dependencies = [
 "syn 1.0.0",
]

[[package]]
name = "syn"
version = "1.0.0"

[[package]]
name = "syn"
version = "2.0.0"
dependencies = [
 "aya-ebpf",
]
"#;

    fn names(lock: &Lockfile, from: &[&str]) -> Vec<String> {
        let reached = lock.reachable(from);
        reached.into_iter().map(|package| format!("{} {}", package.name, package.version)).collect()
    }

    #[test]
    fn only_what_is_reached_counts() {
        let lock = Lockfile::parse(LOCK);
        assert_eq!(names(&lock, &["aya-ebpf"]), ["aya-ebpf 0.2.1", "syn 2.0.0"]);
        assert_eq!(names(&lock, &["host-only"]), ["host-only 1.0.0", "syn 1.0.0"]);
        assert!(names(&lock, &["absent"]).is_empty());
    }

    #[test]
    fn an_entry_keeps_its_checksum() {
        let lock = Lockfile::parse(LOCK);
        assert!(lock.reachable(&["aya-ebpf"])[0].entry.contains("checksum = \"aa\""));
        assert_eq!(lock.version_of("aya-ebpf"), Some("0.2.1"));
    }
}
