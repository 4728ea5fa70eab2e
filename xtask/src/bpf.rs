//! `cargo xtask bpf`: builds the object that users load, or checks that the committed one is it.

mod build;
mod compare;
mod inspect;
mod lockfile;
mod provenance;
mod source;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::toolchain::Toolchain;
use crate::workspace;
use provenance::Provenance;

pub(crate) use build::Compiler;

/// Builds the object; the plain one also gets its provenance written down next to it.
pub(crate) fn build(root: &Path, log: bool, output: Option<PathBuf>) -> Result<()> {
    let started = Instant::now();
    let features: &[&str] = if log { &["log"] } else { &[] };
    let toolchain = Toolchain::find(root)?;
    let target = workspace::bpf_target(root);
    let object = Compiler::new(root, &toolchain, &target)?.object(features)?;
    inspect::sound(&object)?;

    let committed = output.is_none() && !log;
    let file = output.unwrap_or_else(|| default_output(root, log));
    write(&file, &object)?;
    if committed {
        let provenance = Provenance::new(root, &toolchain, features, &object)?;
        write(&workspace::committed_provenance(root), provenance.render().as_bytes())?;
    }
    println!(
        "{}: {} bytes, sha256 {}, {:.0} s",
        file.display(),
        object.len(),
        provenance::sha256(&object),
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Builds the object from nothing and compares it with the committed one.
pub(crate) fn check(root: &Path) -> Result<()> {
    let started = Instant::now();
    let committed = read(&workspace::committed_object(root))?;
    let written = read(&workspace::committed_provenance(root))?;
    let written = Provenance::parse(&String::from_utf8_lossy(&written))?;

    let toolchain = Toolchain::find(root)?;
    // Nothing of an earlier build may stand in for what the source now says.
    let target = root.join("target");
    let scratch = tempfile::Builder::new()
        .prefix("bpf-check-")
        .tempdir_in(&target)
        .with_context(|| format!("cannot create a directory in {}", target.display()))?;
    let rebuilt = Compiler::new(root, &toolchain, scratch.path())?.object(&[])?;
    inspect::sound(&rebuilt)?;

    let mut differences = compare::objects(&committed, &rebuilt);
    let fresh = Provenance::new(root, &toolchain, &[], &rebuilt)?;
    differences.extend(compare::provenances(&written, &fresh));
    if !differences.is_empty() {
        bail!(
            "the committed BPF object is not what the source builds: run `cargo xtask bpf` and \
             commit twtrace/bpf\n  {}",
            differences.join("\n  ")
        );
    }
    println!(
        "the committed BPF object is what the source builds: {} bytes, sha256 {}, {:.0} s",
        rebuilt.len(),
        provenance::sha256(&rebuilt),
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

fn default_output(root: &Path, log: bool) -> PathBuf {
    if log {
        workspace::bpf_target(root).join("twtrace-log.bpf.o")
    } else {
        workspace::committed_object(root)
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file)
        .with_context(|| format!("cannot read {}: `cargo xtask bpf` writes it", file.display()))
}

fn write(file: &Path, content: &[u8]) -> Result<()> {
    let failed = || format!("cannot write {}", file.display());
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir).with_context(failed)?;
    }
    fs::write(file, content).with_context(failed)
}
