//! What the figures were measured on and with.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};

use super::binaries::Binaries;
use crate::command;

/// The facts, as text.
pub(super) struct Machine {
    /// When, in UTC
    pub(super) date: String,
    /// Release of the kernel
    pub(super) kernel: String,
    /// Name of the processor
    pub(super) cpu: String,
    /// Processors that this may use
    pub(super) cores: usize,
    /// The load before the first run: above 0 means that others disturb
    pub(super) load: String,
    /// The commit of the checkout, which twtrace is built from unless another is given; marked if
    /// something was changed since
    pub(super) commit: Option<String>,
    /// Names and versions of what was compiled with and measured
    pub(super) versions: Vec<(&'static str, Option<String>)>,
}

impl Machine {
    /// Looks.
    pub(super) fn look(root: &Path, binaries: &Binaries) -> Result<Self> {
        let cpuinfo = read("/proc/cpuinfo")?;
        Ok(Self {
            date: first_line(Command::new("date").args(["-u", "+%F %T UTC"]))
                .context("`date` told nothing")?,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            cpu: model(&cpuinfo).unwrap_or("unknown processor").to_owned(),
            cores: thread::available_parallelism().context("cannot count processors")?.get(),
            load: read("/proc/loadavg")?.split(' ').take(3).collect::<Vec<_>>().join(" "),
            commit: commit(root),
            versions: vec![
                ("rustc", version(Command::new("rustc").arg("--version"))),
                ("twtrace", version(Command::new(&binaries.twtrace).arg("--version"))),
                ("libbpf-tools", package("libbpf-tools")),
                ("bpftrace", version(Command::new("bpftrace").arg("--version"))),
                ("iproute2 (ss, nstat)", package("iproute2")),
                ("bpftool", package("bpftool")),
                ("qemu", package("qemu-system-x86")),
            ],
        })
    }
}

/// Nothing where this is no checkout.
fn commit(root: &Path) -> Option<String> {
    let git = ["describe", "--always", "--dirty", "--exclude", "*"];
    first_line(Command::new("git").current_dir(root).args(git))
}

/// What follows the program's own name.
fn version(command: &mut Command) -> Option<String> {
    first_line(command).map(|line| after_name(&line).to_owned())
}

/// The programs of libbpf-tools tell no version that means anything; their package does.
fn package(name: &str) -> Option<String> {
    first_line(Command::new("dpkg-query").args(["-W", "-f", "${Version}\n", name]))
}

fn first_line(command: &mut Command) -> Option<String> {
    command::capture(command).ok()?.lines().next().map(str::to_owned)
}

fn after_name(line: &str) -> &str {
    line.split_once(' ').map_or(line, |(_, version)| version)
}

fn model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_models_are_read() {
        assert_eq!(after_name("bpftrace v0.17.0"), "v0.17.0");
        assert_eq!(
            after_name("rustc 1.95.0 (59807616e 2026-04-14)"),
            "1.95.0 (59807616e 2026-04-14)"
        );
        assert_eq!(model("processor\t: 0\nmodel name\t: AMD EPYC\n"), Some("AMD EPYC"));
        assert_eq!(model("processor\t: 0\n"), None);
    }
}
