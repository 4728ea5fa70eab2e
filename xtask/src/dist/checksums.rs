//! What `sha256sum -c` checks.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Writes the sums of files that lie in `dist`, in the order that they are given in.
pub(super) fn write(dist: &Path, files: &[&Path]) -> Result<PathBuf> {
    let mut lines = String::new();
    for file in files {
        let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_name().context("a file has a name")?.to_string_lossy();
        lines += &format!("{:x}  {name}\n", Sha256::digest(content));
    }
    let path = dist.join("SHA256SUMS");
    fs::write(&path, lines).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
