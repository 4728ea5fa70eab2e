//! Kernels that were fetched, each in a directory of its version.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::archive::Archive;
use super::packages;
use super::series::Series;
use crate::command;

/// What sock_diag needs, in the order in which it has to be loaded. Where one is missing it is
/// part of the kernel.
const MODULES: [&str; 2] = ["inet_diag", "tcp_diag"];

const VMLINUZ: &str = "vmlinuz";

/// A kernel to boot.
pub(super) struct Kernel {
    /// The series that was asked for
    pub(super) series: Series,
    /// The version of its package
    pub(super) version: String,
    dir: PathBuf,
}

impl Kernel {
    /// A kernel of the series fetched before, or, if there is none or `update` asks for it, the
    /// newest that Debian has.
    pub(super) fn provide(
        series: Series,
        store: &Path,
        archive: &mut Archive,
        update: bool,
    ) -> Result<Self> {
        let kernels = store.join("kernels");
        fs::create_dir_all(&kernels)
            .with_context(|| format!("cannot create {}", kernels.display()))?;
        let known = versions(&kernels)?;
        if !update && let Some(version) = newest(&known, series) {
            return Ok(Self { series, dir: kernels.join(&version), version });
        }
        let scratch = tempfile::tempdir_in(store).context("cannot create a scratch directory")?;
        let unpacked = scratch.path().join("unpacked");
        let version = archive.unpack(series, &known, &unpacked)?.version;
        let dir = kernels.join(&version);
        if !known.contains(&version) {
            let whole = scratch.path().join("kernel");
            pick(&unpacked, &whole)
                .with_context(|| format!("Debian's {version} is not laid out as others are"))?;
            // Last and in one step, so that a kernel that is there is whole.
            fs::rename(&whole, &dir).with_context(|| format!("cannot fill {}", dir.display()))?;
        }
        Ok(Self { series, version, dir })
    }

    /// The kernel itself.
    pub(super) fn vmlinuz(&self) -> PathBuf {
        self.dir.join(VMLINUZ)
    }

    /// Its modules, in the order in which they have to be loaded.
    pub(super) fn modules(&self) -> Vec<PathBuf> {
        let files = MODULES.map(|name| self.dir.join(module(name)));
        files.into_iter().filter(|file| file.is_file()).collect()
    }
}

fn versions(kernels: &Path) -> Result<Vec<String>> {
    let entries =
        fs::read_dir(kernels).with_context(|| format!("cannot read {}", kernels.display()))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

fn newest(versions: &[String], series: Series) -> Option<String> {
    let of_series = versions.iter().filter(|version| Series::of(version) == Some(series));
    of_series.max_by_key(|version| packages::numbers(version)).cloned()
}

/// Takes what is needed out of the unpacked packages, which are fifty times as large.
fn pick(unpacked: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    let mut files = Vec::new();
    collect(unpacked, &mut files)?;
    // In /boot with its release in the name, or beside the modules without.
    let is_kernel = |name: &str| name == VMLINUZ || name.starts_with("vmlinuz-");
    let kernel = named(&files, is_kernel).context("the packages hold no vmlinuz")?;
    fs::copy(kernel, to.join(VMLINUZ)).context("cannot copy the kernel")?;
    for wanted in MODULES.map(module) {
        let is_module = |name: &str| name.strip_prefix(wanted.as_str()).is_some_and(is_packing);
        if let Some(file) = named(&files, is_module) {
            unpack_module(file, &to.join(&wanted))?;
        }
    }
    Ok(())
}

fn module(name: &str) -> String {
    format!("{name}.ko")
}

fn is_packing(ending: &str) -> bool {
    ending.is_empty() || ending.starts_with('.')
}

fn named(files: &[PathBuf], wanted: impl Fn(&str) -> bool) -> Option<&PathBuf> {
    let is_wanted =
        |file: &&PathBuf| file.file_name().and_then(|name| name.to_str()).is_some_and(&wanted);
    files.iter().find(is_wanted)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let failed = || format!("cannot read {}", dir.display());
    for entry in fs::read_dir(dir).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let kind = entry.file_type().with_context(failed)?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// busybox loads modules that are not packed only.
fn unpack_module(file: &Path, to: &Path) -> Result<()> {
    let failed = || format!("cannot unpack {}", file.display());
    match file.extension().and_then(|ending| ending.to_str()) {
        Some("ko") => fs::copy(file, to).map(drop).with_context(failed),
        Some("xz") => {
            let to = File::create(to).with_context(failed)?;
            command::run(Command::new("xz").arg("-dc").arg(file).stdout(to))
        }
        _ => bail!("{} is packed in a way that is not known here", file.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_kernels_the_newest_is_taken() {
        let versions = ["6.12.90-2", "6.12.117-1", "6.1.192-2", "junk"].map(str::to_owned);
        let newest = |text: &str| newest(&versions, text.parse().expect("X.Y is a series"));
        assert_eq!(newest("6.12").as_deref(), Some("6.12.117-1"));
        assert_eq!(newest("6.1").as_deref(), Some("6.1.192-2"));
        assert_eq!(newest("6.11"), None);
    }

    #[test]
    fn only_what_is_needed_is_kept() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let modules = from.join("lib/modules/6.1/kernel/net/ipv4");
        fs::create_dir_all(&modules).expect("a directory");
        fs::create_dir_all(from.join("boot")).expect("a directory");
        fs::write(from.join("boot/vmlinuz-6.1"), "kernel").expect("a file");
        fs::write(modules.join("tcp_diag.ko"), "module").expect("a file");
        fs::write(modules.join("udp_diag.ko"), "another").expect("a file");
        pick(&from, &to).expect("a kernel is there");
        let mut kept = versions(&to).expect("a directory");
        kept.sort();
        assert_eq!(kept, ["tcp_diag.ko", "vmlinuz"]);
        assert!(pick(&modules, &to).is_err());
    }
}
