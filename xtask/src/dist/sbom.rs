//! The list of parts (SBOM): every crate that is linked into the program, as CycloneDX 1.5.
//!
//! cargo says what they are. What this writes is checked against CycloneDX' own schema, by its own
//! library (`tests/tests/packages.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Release, program};
use crate::command;

/// Writes it.
pub(super) fn write(root: &Path, release: &Release, dist: &Path) -> Result<PathBuf> {
    let platform = ["--filter-platform", program::TARGET];
    let mut metadata = command::cargo(root, &["metadata", "--locked", "--format-version", "1"]);
    let metadata = command::capture(metadata.args(platform))?;
    let metadata = serde_json::from_str(&metadata).context("cargo metadata printed no JSON")?;
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let bom = bom(&metadata, &checksums(&lock)).context("cargo metadata prints something new")?;
    let path = dist.join(format!("twtrace-{}.cdx.json", release.version));
    fs::write(&path, serde_json::to_string_pretty(&bom)? + "\n")
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The parts and what each needs; `None` if cargo says it in another way.
fn bom(metadata: &Value, checksums: &BTreeMap<(String, String), String>) -> Option<Value> {
    let nodes = metadata["resolve"]["nodes"].as_array()?;
    let needs: BTreeMap<&str, Vec<&str>> = nodes
        .iter()
        .map(|node| Some((node["id"].as_str()?, needs(node)?)))
        .collect::<Option<_>>()?;
    let packages = metadata["packages"].as_array()?;
    let packages: BTreeMap<&str, &Value> = packages
        .iter()
        .map(|package| Some((package["id"].as_str()?, package)))
        .collect::<Option<_>>()?;
    let (&twtrace, _) = packages.iter().find(|(_, package)| package["name"] == "twtrace")?;
    let linked = reachable(twtrace, &needs);

    let part = |id: &&str| part(packages.get(id)?, checksums);
    let whole = part(&twtrace)?;
    let parts: Vec<Value> =
        linked.iter().filter(|id| **id != twtrace).map(part).collect::<Option<_>>()?;
    let name = |id: &&str| Some(purl(packages.get(id)?));
    let dependencies: Vec<Value> = linked
        .iter()
        .map(|id| {
            let on: BTreeSet<String> = needs.get(id)?.iter().map(name).collect::<Option<_>>()?;
            Some(json!({"ref": name(id)?, "dependsOn": on}))
        })
        .collect::<Option<_>>()?;
    Some(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": whole},
        "components": parts,
        "dependencies": dependencies,
    }))
}

/// What a package is built with, but for what only builds or tests it.
fn needs(node: &Value) -> Option<Vec<&str>> {
    let is_linked = |dependency: &&Value| {
        let kinds = dependency["dep_kinds"].as_array();
        kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
    };
    let dependencies = node["deps"].as_array()?.iter().filter(is_linked);
    dependencies.map(|dependency| dependency["pkg"].as_str()).collect()
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

fn part(package: &Value, checksums: &BTreeMap<(String, String), String>) -> Option<Value> {
    let (name, version) = (package["name"].as_str()?, package["version"].as_str()?);
    let mut part = json!({
        "type": if name == "twtrace" { "application" } else { "library" },
        "bom-ref": purl(package),
        "name": name,
        "version": version,
        "purl": purl(package),
    });
    if let Some(checksum) = checksums.get(&(name.to_owned(), version.to_owned())) {
        part["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    if let Some(license) = package["license"].as_str() {
        // How crates wrote it before SPDX had expressions.
        part["licenses"] = json!([{"expression": license.replace('/', " OR ")}]);
    }
    Some(part)
}

/// <https://github.com/package-url/purl-spec>
fn purl(package: &Value) -> String {
    let field = |name: &str| package[name].as_str().unwrap_or_default().replace('+', "%2B");
    format!("pkg:cargo/{}@{}", field("name"), field("version"))
}

/// Checksums by name and version; our own crates have none.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let field = |entry: &str, name: &str| {
        let start = format!("{name} = \"");
        entry
            .lines()
            .find_map(|line| Some(line.strip_prefix(&start)?.trim_end_matches('"').to_owned()))
    };
    let entry = |entry: &str| {
        Some(((field(entry, "name")?, field(entry, "version")?), field(entry, "checksum")?))
    };
    lock.split("[[package]]\n").filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Value {
        let package = |id: &str, license: &str| json!({"id": id, "name": id, "version": "1.0.0", "license": license});
        let on = |id: &str, kind: Value| json!({"pkg": id, "dep_kinds": [{"kind": kind}]});
        json!({
            "packages": [
                package("twtrace", "MIT"), package("linked", "MIT/Apache-2.0"),
                package("deep", "Zlib"), package("tests", "MIT"), package("builds", "MIT"),
            ],
            "resolve": {"nodes": [
                {"id": "twtrace", "deps": [
                    on("linked", Value::Null), on("tests", json!("dev")), on("builds", json!("build")),
                ]},
                {"id": "linked", "deps": [on("deep", Value::Null)]},
                {"id": "deep", "deps": []},
                {"id": "tests", "deps": []},
                {"id": "builds", "deps": []},
            ]},
        })
    }

    #[test]
    fn parts_are_what_is_linked_and_no_more() {
        let lock = "[[package]]\nname = \"deep\"\nversion = \"1.0.0\"\nchecksum = \"ab\"\n";
        let bom = bom(&metadata(), &checksums(lock)).expect("metadata as cargo prints it");
        let names: Vec<_> =
            bom["components"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
        assert_eq!(names, ["deep", "linked"]);
        assert_eq!(bom["metadata"]["component"]["purl"], "pkg:cargo/twtrace@1.0.0");
        assert_eq!(bom["components"][0]["hashes"][0]["content"], "ab");
        assert_eq!(bom["components"][1]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(bom["components"][1].get("hashes"), None);
        let linked = &bom["dependencies"][1];
        assert_eq!(linked["dependsOn"], json!(["pkg:cargo/deep@1.0.0"]));
    }

    #[test]
    fn metadata_of_another_kind_is_refused() {
        assert!(bom(&json!({"packages": []}), &BTreeMap::new()).is_none());
    }
}
