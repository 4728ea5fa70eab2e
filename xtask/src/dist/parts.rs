//! What is linked into the program: crates, as cargo tells of them, and what the compiler adds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::program;
use crate::command;

/// One part.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) version: String,
    /// An SPDX expression, if it names one
    pub(super) license: Option<String>,
    /// SHA-256 of what was downloaded; our own crates have none
    pub(super) checksum: Option<String>,
    /// Where its source is, if it is a crate
    pub(super) folder: Option<PathBuf>,
    /// The places in [`Parts::all`] of what it needs
    pub(super) needs: BTreeSet<usize>,
}

/// All of them.
pub(super) struct Parts {
    /// In the order of their names; the libraries of the compiler last
    pub(super) all: Vec<Part>,
    /// The place of twtrace itself
    pub(super) twtrace: usize,
}

impl Parts {
    /// Asks cargo, the compiler and the C library.
    pub(super) fn find(root: &Path) -> Result<Self> {
        let platform = ["--filter-platform", program::TARGET];
        let mut metadata = command::cargo(root, &["metadata", "--locked", "--format-version", "1"]);
        let metadata = command::capture(metadata.args(platform))?;
        let metadata = serde_json::from_str(&metadata).context("cargo metadata printed no JSON")?;
        let lock = std::fs::read_to_string(root.join("Cargo.lock"));
        let checksums = checksums(&lock.context("cannot read Cargo.lock")?);
        let mut parts =
            linked(&metadata, &checksums).context("cargo metadata prints something new")?;
        parts.all.extend([std_of_rust(root)?, libc_of_gnu()?]);
        let last = parts.all.len();
        parts.all[parts.twtrace].needs.extend([last - 2, last - 1]);
        Ok(parts)
    }
}

/// The crates; `None` if cargo says it in another way.
fn linked(metadata: &Value, checksums: &BTreeMap<(String, String), String>) -> Option<Parts> {
    let packages = metadata["packages"].as_array()?;
    let packages: BTreeMap<&str, &Value> = packages
        .iter()
        .map(|package| Some((package["id"].as_str()?, package)))
        .collect::<Option<_>>()?;
    let nodes = metadata["resolve"]["nodes"].as_array()?;
    let needs: BTreeMap<&str, Vec<&str>> = nodes
        .iter()
        .map(|node| Some((node["id"].as_str()?, needs(node, &packages)?)))
        .collect::<Option<_>>()?;
    let (&twtrace, _) = packages.iter().find(|(_, package)| package["name"] == "twtrace")?;
    let ids: Vec<&str> = reachable(twtrace, &needs).into_iter().collect();
    let place = |id: &&str| ids.binary_search(id).ok();
    let part = |id: &&str| -> Option<Part> {
        let part = part(packages.get(id)?, checksums)?;
        Some(Part { needs: needs.get(id)?.iter().map(place).collect::<Option<_>>()?, ..part })
    };
    let twtrace = place(&twtrace)?;
    Some(Parts { all: ids.iter().map(part).collect::<Option<_>>()?, twtrace })
}

/// What a package is linked with: not what only builds or tests it, nor what runs in the compiler.
fn needs<'a>(node: &'a Value, packages: &BTreeMap<&str, &Value>) -> Option<Vec<&'a str>> {
    let is_linked = |dependency: &&Value| {
        let kinds = dependency["dep_kinds"].as_array();
        let linked = kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()));
        let package = dependency["pkg"].as_str().and_then(|id| packages.get(id));
        linked && !package.is_some_and(|package| is_macro(package))
    };
    let dependencies = node["deps"].as_array()?.iter().filter(is_linked);
    dependencies.map(|dependency| dependency["pkg"].as_str()).collect()
}

fn is_macro(package: &Value) -> bool {
    let targets = package["targets"].as_array();
    targets.is_some_and(|all| all.iter().any(|it| it["kind"][0] == "proc-macro"))
}

fn reachable<'a>(from: &'a str, needs: &BTreeMap<&'a str, Vec<&'a str>>) -> BTreeSet<&'a str> {
    let (mut reached, mut queue) = (BTreeSet::new(), vec![from]);
    while let Some(id) = queue.pop() {
        if reached.insert(id) {
            queue.extend(needs.get(id).into_iter().flatten());
        }
    }
    reached
}

fn part(package: &Value, checksums: &BTreeMap<(String, String), String>) -> Option<Part> {
    let field = |name: &str| Some(package[name].as_str()?.to_owned());
    let (name, version) = (field("name")?, field("version")?);
    Some(Part {
        checksum: checksums.get(&(name.clone(), version.clone())).cloned(),
        // How crates wrote it before SPDX had expressions.
        license: field("license").map(|license| license.replace('/', " OR ")),
        folder: field("manifest_path").and_then(|it| Some(Path::new(&it).parent()?.to_owned())),
        name,
        version,
        needs: BTreeSet::new(),
    })
}

fn std_of_rust(root: &Path) -> Result<Part> {
    let said = command::capture(Command::new("rustc").arg("-V").current_dir(root))?;
    let version = said.split_whitespace().nth(1).context("rustc tells no version")?;
    Ok(Part {
        name: "rust-std".to_owned(),
        version: version.to_owned(),
        license: Some("MIT OR Apache-2.0".to_owned()),
        ..Part::default()
    })
}

fn libc_of_gnu() -> Result<Part> {
    let said = command::capture(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
    let version = said.split_whitespace().nth(1).context("getconf tells no version")?;
    Ok(Part {
        name: "glibc".to_owned(),
        version: version.to_owned(),
        license: Some("LGPL-2.1-or-later".to_owned()),
        ..Part::default()
    })
}

/// Checksums by name and version; our own crates have none.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let field = |entry: &str, name: &str| {
        let start = format!("{name} = \"");
        let value = |line: &str| Some(line.strip_prefix(&start)?.trim_end_matches('"').to_owned());
        entry.lines().find_map(value)
    };
    let entry = |entry: &str| {
        Some(((field(entry, "name")?, field(entry, "version")?), field(entry, "checksum")?))
    };
    lock.split("[[package]]\n").filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata() -> Value {
        let package = |id: &str, license: &str, kind: &str| {
            json!({"id": id, "name": id, "version": "1.0.0", "license": license,
                   "manifest_path": format!("/src/{id}/Cargo.toml"), "targets": [{"kind": [kind]}]})
        };
        let on = |id: &str, kind: Value| json!({"pkg": id, "dep_kinds": [{"kind": kind}]});
        json!({
            "packages": [
                package("twtrace", "MIT", "bin"), package("linked", "MIT/Apache-2.0", "lib"),
                package("deep", "Zlib", "lib"), package("tests", "MIT", "lib"),
                package("builds", "MIT", "lib"), package("derives", "MIT", "proc-macro"),
            ],
            "resolve": {"nodes": [
                {"id": "twtrace", "deps": [
                    on("linked", Value::Null), on("tests", json!("dev")), on("builds", json!("build")),
                    on("derives", Value::Null),
                ]},
                {"id": "linked", "deps": [on("deep", Value::Null)]},
                {"id": "deep", "deps": []}, {"id": "tests", "deps": []},
                {"id": "builds", "deps": []}, {"id": "derives", "deps": [on("builds", Value::Null)]},
            ]},
        })
    }

    #[test]
    fn parts_are_what_is_linked_and_no_more() {
        let lock = "[[package]]\nname = \"deep\"\nversion = \"1.0.0\"\nchecksum = \"ab\"\n";
        let parts = linked(&metadata(), &checksums(lock)).expect("metadata as cargo prints it");
        let names: Vec<&str> = parts.all.iter().map(|part| &*part.name).collect();
        assert_eq!((names, parts.twtrace), (vec!["deep", "linked", "twtrace"], 2));
        let [deep, linked, twtrace] = &parts.all[..] else { panic!("three") };
        assert_eq!(deep.checksum.as_deref(), Some("ab"));
        assert_eq!(linked.license.as_deref(), Some("MIT OR Apache-2.0"));
        assert_eq!(linked.folder.as_deref(), Some(Path::new("/src/linked")));
        assert_eq!((&linked.needs, &twtrace.needs), (&[0].into(), &[1].into()));
    }

    #[test]
    fn metadata_of_another_kind_is_refused() {
        assert!(linked(&json!({"packages": []}), &BTreeMap::new()).is_none());
    }
}
