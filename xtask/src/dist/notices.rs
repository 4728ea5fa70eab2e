//! The notices that licences of parts ask for, in one file that goes wherever the program goes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::parts::Parts;

/// How files that hold such a notice begin.
const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];

/// Writes it: first all parts, then each text once, under the parts that have it.
pub(super) fn write(parts: &Parts, path: &Path) -> Result<()> {
    let mut list = String::from("twtrace is linked with:\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (place, part) in parts.all.iter().enumerate() {
        if place == parts.twtrace {
            continue;
        }
        let name = format!("{} {}", part.name, part.version);
        list += &format!("{name}: {}\n", part.license.as_deref().unwrap_or("see its text"));
        for text in part.folder.as_deref().map(texts_in).transpose()?.unwrap_or_default() {
            texts.entry(text).or_default().push(name.clone());
        }
    }
    for (text, names) in texts {
        list += &format!("\n{}\n{}:\n\n{text}\n", "-".repeat(100), names.join(", "));
    }
    fs::write(path, list).with_context(|| format!("cannot write {}", path.display()))
}

/// In the order of the files' names.
fn texts_in(folder: &Path) -> Result<Vec<String>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let is_notice = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        path.is_file() && NAMES.iter().any(|start| name.starts_with(start))
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| is_notice(path));
    paths.sort();
    let text = |path: &std::path::PathBuf| {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    paths.iter().map(text).collect()
}
