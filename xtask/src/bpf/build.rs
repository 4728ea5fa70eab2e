//! Compiling twtrace-ebpf, so that the result depends on the source and the toolchain alone.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::arch::Arch;
use crate::command;
use crate::toolchain::Toolchain;

const TARGET: &str = "bpfel-unknown-none";
const PACKAGE: &str = "twtrace-ebpf";
const PROFILE: &str = "bpf";

/// Compiles for the BPF target and one architecture into a target directory of its own.
pub(crate) struct Compiler<'a> {
    root: &'a Path,
    toolchain: &'a Toolchain,
    arch: Arch,
    target_dir: PathBuf,
    cargo_home: PathBuf,
}

impl<'a> Compiler<'a> {
    /// A compiler of the workspace in `root` that builds below `target_dir`.
    pub(crate) fn new(
        root: &'a Path,
        toolchain: &'a Toolchain,
        target_dir: &Path,
        arch: Arch,
    ) -> Result<Self> {
        let target_dir = target_dir.join(arch.name());
        Ok(Self { root, toolchain, arch, target_dir, cargo_home: cargo_home()? })
    }

    /// The object, without DWARF.
    pub(crate) fn object(&self, features: &[&str]) -> Result<Vec<u8>> {
        command::run(&mut self.cargo("cargo", &["build", "--quiet"], features))?;
        let linked = self.target_dir.join(TARGET).join(PROFILE).join(PACKAGE);
        self.strip(&linked)
    }

    /// Lints the programs as the BPF target sees them.
    pub(crate) fn clippy(&self, features: &[&str]) -> Result<()> {
        // Started as cargo would start it, since `cargo clippy` looks for it in rustup's proxies.
        let clippy = "cargo-clippy";
        if !self.toolchain.rustc.tool(clippy).is_file() {
            bail!("the pinned toolchain has no clippy: run `rustup component add clippy` for it");
        }
        let mut command = self.cargo(clippy, &["clippy", "--quiet"], features);
        command::run(command.args(["--", "-D", "warnings"]))
    }

    fn cargo(&self, program: &str, subcommand: &[&str], features: &[&str]) -> Command {
        let mut command = self.toolchain.command(program);
        command
            .current_dir(self.root)
            .args(subcommand)
            .args(["--locked", "-p", PACKAGE, "--profile", PROFILE, "--target", TARGET])
            .args(["-Z", "build-std=core"])
            .args(["--features", &features.join(",")])
            .env("CARGO_TARGET_DIR", &self.target_dir)
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.toolchain.linker)
            .env("CARGO_ENCODED_RUSTFLAGS", self.rustflags())
            // Stable, with the one unstable option this needs.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("__CARGO_TESTS_ONLY_SRC_ROOT", self.toolchain.library());
        command
    }

    /// BTF is made from debug information, so that has to be there until the object is linked.
    fn rustflags(&self) -> OsString {
        let mut flags: Vec<OsString> =
            ["-Cdebuginfo=2", "-Clink-arg=--btf"].map(OsString::from).into();
        flags.push(format!("--cfg=bpf_target_arch=\"{}\"", self.arch.name()).into());
        flags.extend(
            self.remapped()
                .iter()
                .map(|(from, to)| joined("--remap-path-prefix=", from, &format!("={to}"))),
        );
        flags.join("\x1f".as_ref())
    }

    /// Every folder whose name could get into the object; the library's source lies in the root,
    /// whatever its link there leads to. Of those that fit a path rustc takes
    /// the last, so a folder inside another one has to come after it.
    fn remapped(&self) -> Vec<(PathBuf, &'static str)> {
        let mut folders = vec![
            (self.root.to_owned(), "/twtrace"),
            (self.target_dir.clone(), "/target"),
            (self.cargo_home.clone(), "/cargo"),
        ];
        folders.extend(self.registries().map(|folder| (folder, "/registry")));
        folders.sort_by_key(|(folder, _)| folder.as_os_str().len());
        folders
    }

    /// Where cargo unpacked the dependencies: a folder for each registry, named after its host,
    /// which is another one behind a mirror.
    fn registries(&self) -> impl Iterator<Item = PathBuf> {
        let unpacked = fs::read_dir(self.cargo_home.join("registry/src"));
        unpacked.into_iter().flatten().flatten().map(|entry| entry.path())
    }

    /// Takes out the DWARF, which is nine tenths of the object: the kernel and aya read BTF only.
    fn strip(&self, linked: &Path) -> Result<Vec<u8>> {
        let rustc = &self.toolchain.rustc;
        let stripped = linked.with_extension("stripped.o");
        command::run(
            rustc.command(&rustc.objcopy()).arg("--strip-debug").args([linked, &stripped]),
        )?;
        fs::read(&stripped).with_context(|| format!("cannot read {}", stripped.display()))
    }
}

fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = env::var_os("CARGO_HOME") {
        return std::path::absolute(home).context("CARGO_HOME is no path");
    }
    let home = env::home_dir().context("neither CARGO_HOME nor HOME is set: set one")?;
    Ok(home.join(".cargo"))
}

fn joined(before: &str, path: &Path, after: &str) -> OsString {
    let mut flag = OsString::from(before);
    flag.push(path);
    flag.push(after);
    flag
}
