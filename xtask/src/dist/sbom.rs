//! The list of parts (SBOM), as CycloneDX 1.5.
//!
//! What this writes is checked against CycloneDX' own schema, by its own library
//! (`tests/tests/packages.rs`).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Release;
use super::parts::{Part, Parts};

/// Writes it.
pub(super) fn write(parts: &Parts, release: &Release, dist: &Path) -> Result<PathBuf> {
    let path = dist.join(format!("twtrace-{}.cdx.json", release.version));
    let text = serde_json::to_string_pretty(&document(parts))? + "\n";
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn document(parts: &Parts) -> Value {
    let places = 0..parts.all.len();
    let of_twtrace: Vec<Value> = places
        .filter(|place| *place != parts.twtrace)
        .map(|place| component(&parts.all[place], "library"))
        .collect();
    let needs = |part: &Part| {
        let on: Vec<String> = part.needs.iter().map(|place| purl(&parts.all[*place])).collect();
        json!({"ref": purl(part), "dependsOn": on})
    };
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(&parts.all[parts.twtrace], "application")},
        "components": of_twtrace,
        "dependencies": parts.all.iter().map(needs).collect::<Vec<Value>>(),
    })
}

fn component(part: &Part, kind: &str) -> Value {
    let mut component = json!({
        "type": kind,
        "bom-ref": purl(part),
        "name": part.name,
        "version": part.version,
        "purl": purl(part),
    });
    if let Some(checksum) = &part.checksum {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    if let Some(license) = &part.license {
        component["licenses"] = json!([{"expression": license}]);
    }
    component
}

/// <https://github.com/package-url/purl-spec>
fn purl(part: &Part) -> String {
    let kind = if part.folder.is_some() { "cargo" } else { "generic" };
    format!("pkg:{kind}/{}@{}", part.name, part.version.replace('+', "%2B"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_its_licence_and_what_it_needs() {
        let part = |name: &str, checksum: Option<&str>, needs: &[usize]| Part {
            name: name.to_owned(),
            version: "1.0.0+x".to_owned(),
            license: Some("MIT".to_owned()),
            checksum: checksum.map(str::to_owned),
            folder: checksum.map(PathBuf::from),
            needs: needs.iter().copied().collect(),
        };
        let all = vec![part("glibc", None, &[]), part("twtrace", Some("ab"), &[0])];
        let document = document(&Parts { all, twtrace: 1 });
        assert_eq!(document["metadata"]["component"]["purl"], "pkg:cargo/twtrace@1.0.0%2Bx");
        assert_eq!(document["components"][0]["purl"], "pkg:generic/glibc@1.0.0%2Bx");
        assert_eq!(document["components"][0].get("hashes"), None);
        assert_eq!(
            document["dependencies"][1]["dependsOn"],
            json!(["pkg:generic/glibc@1.0.0%2Bx"])
        );
    }
}
