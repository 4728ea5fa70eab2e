//! `cargo xtask bpf`: builds the objects that users load, or checks that the committed ones are
//! these.

mod arch;
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

pub(crate) use arch::Arch;
pub(crate) use build::Compiler;

/// Builds the objects and writes down what they were built from; or one with `log`, or to
/// `output`, for this machine's architecture.
pub(crate) fn build(root: &Path, log: bool, output: Option<PathBuf>) -> Result<()> {
    let toolchain = Toolchain::find(root)?;
    let target = workspace::bpf_target(root);
    if !log && output.is_none() {
        return build_all(root, &toolchain, &target);
    }
    let started = Instant::now();
    let features: &[&str] = if log { &["log"] } else { &[] };
    let object = Compiler::new(root, &toolchain, &target, Arch::host()?)?.object(features)?;
    inspect::sound(&object)?;
    let file = output.unwrap_or_else(|| target.join("twtrace-log.bpf.o"));
    write(&file, &object)?;
    report(&file.display().to_string(), &object, started);
    Ok(())
}

fn build_all(root: &Path, toolchain: &Toolchain, target: &Path) -> Result<()> {
    let mut built = Vec::new();
    for arch in Arch::ALL {
        let started = Instant::now();
        let object = Compiler::new(root, toolchain, target, arch)?.object(&[])?;
        inspect::sound(&object)?;
        let file = workspace::committed_object(root, arch);
        write(&file, &object)?;
        report(&file.display().to_string(), &object, started);
        built.push((arch, object));
    }
    let provenance = Provenance::new(root, toolchain, &built)?;
    write(&workspace::committed_provenance(root), provenance.render().as_bytes())
}

/// Builds the objects from nothing and compares them with the committed ones.
pub(crate) fn check(root: &Path) -> Result<()> {
    let written = read(&workspace::committed_provenance(root))?;
    let written = Provenance::parse(&String::from_utf8_lossy(&written))?;

    let toolchain = Toolchain::find(root)?;
    // Nothing of an earlier build may stand in for what the source now says.
    let target = root.join("target");
    let scratch = tempfile::Builder::new()
        .prefix("bpf-check-")
        .tempdir_in(&target)
        .with_context(|| format!("cannot create a directory in {}", target.display()))?;
    let (mut rebuilt, mut differences) = (Vec::new(), Vec::new());
    for arch in Arch::ALL {
        let started = Instant::now();
        let committed = read(&workspace::committed_object(root, arch))?;
        let object = Compiler::new(root, &toolchain, scratch.path(), arch)?.object(&[])?;
        inspect::sound(&object)?;
        let of_arch = |difference| format!("{}: {difference}", arch.name());
        differences.extend(compare::objects(&committed, &object).into_iter().map(of_arch));
        report(&format!("rebuilt for {}", arch.name()), &object, started);
        rebuilt.push((arch, object));
    }
    let fresh = Provenance::new(root, &toolchain, &rebuilt)?;
    differences.extend(compare::provenances(&written, &fresh));
    if !differences.is_empty() {
        bail!(
            "the committed BPF objects are not what the source builds: run `cargo xtask bpf` and \
             commit twtrace/bpf\n  {}",
            differences.join("\n  ")
        );
    }
    println!("the committed BPF objects are what the source builds");
    Ok(())
}

fn report(what: &str, object: &[u8], started: Instant) {
    println!(
        "{what}: {} bytes, sha256 {}, {:.0} s",
        object.len(),
        provenance::sha256(object),
        started.elapsed().as_secs_f64()
    );
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
