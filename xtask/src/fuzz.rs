//! `cargo xtask fuzz`: the fuzz targets of `twtrace/fuzz`, with libFuzzer.
//!
//! The stable compiler instruments; cargo-fuzz would only be another thing to compile. No
//! sanitizer is linked in: what is fuzzed has no code of its own that is not safe, and overflows and
//! failed assertions panic.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::ValueEnum;

use crate::toolchain::Rustc;
use crate::{apt, command, workspace};

/// What is fuzzed; the names of the binaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Target {
    /// A batch of records
    Decode,
    /// Any bytes as a file
    Trace,
    /// A file whose checksums are right, whatever its payloads are
    TraceMutated,
    /// Answers of sock_diag
    Netlink,
    /// Files of /proc, sysctls and sysctl.d
    KernelText,
    /// Command lines, and filters in them
    Arguments,
    /// Requests to `serve`
    Http,
    /// Questions to the privileged helper
    Helper,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Trace => "trace",
            Self::TraceMutated => "trace_mutated",
            Self::Netlink => "netlink",
            Self::KernelText => "kernel_text",
            Self::Arguments => "arguments",
            Self::Http => "http",
            Self::Helper => "helper",
        }
    }
}

/// How long CI fuzzes each of them.
pub(crate) const SECONDS: u32 = 20;
/// Targets that run at the same time.
const AT_ONCE: usize = 2;
/// What libFuzzer needs of the compiler, as cargo-fuzz asks for it.
const COVERAGE: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];
/// No input is longer, takes longer, or makes its target take more memory: in bytes, seconds,
/// and mebibytes.
const LIMITS: [&str; 3] = ["-max_len=16384", "-timeout=10", "-rss_limit_mb=1024"];

/// Fuzzes each of `targets`, all if there is none, for so many seconds.
pub(crate) fn run(root: &Path, targets: &[Target], seconds: u32) -> Result<()> {
    let targets = if targets.is_empty() { Target::value_variants() } else { targets };
    let programs = build(root)?;
    let waiting = Mutex::new(targets.iter());
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(targets.len()) {
            scope.spawn(|| {
                while let Some(target) = next(&waiting) {
                    match fuzz(root, &programs, *target, seconds) {
                        Ok(line) => println!("{line}"),
                        Err(error) => put(&failures, error),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_default();
    match failures.into_iter().reduce(|all, one| anyhow!("{all:#}\n{one:#}")) {
        Some(failed) => Err(failed),
        None => Ok(()),
    }
}

fn next<T>(waiting: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    waiting.lock().ok()?.next()
}

fn put<T>(list: &Mutex<Vec<T>>, item: T) {
    if let Ok(mut list) = list.lock() {
        list.push(item);
    }
}

/// Builds all of them; returns where they are.
fn build(root: &Path) -> Result<PathBuf> {
    apt::provide(&[("c++", "g++")])?;
    let target = workspace::fuzz(root);
    let rustc = Rustc::find()?;
    let host = &rustc.version.host;
    let mut cargo = rustc.command(&rustc.tool("cargo"));
    cargo
        .current_dir(root.join("twtrace/fuzz"))
        // Build scripts must not be instrumented, and are not where a target is named.
        .args(["build", "--release", "--locked", "--bins", "--target", host])
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\u{1f}"));
    command::run(&mut cargo)?;
    Ok(target.join(host).join("release"))
}

/// Fuzzes one; returns what there is to say of it.
fn fuzz(root: &Path, programs: &Path, target: Target, seconds: u32) -> Result<String> {
    let name = target.name();
    let folder = |kind: &str| {
        let folder = workspace::fuzz(root).join(kind).join(name);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        Ok::<_, anyhow::Error>(folder)
    };
    // What is found new goes to the first.
    let (found, crashes) = (folder("corpus")?, folder("artifacts")?);
    let started = Instant::now();
    let output = Command::new(programs.join(name))
        .args(LIMITS)
        .args([format!("-max_total_time={seconds}"), "-print_final_stats=1".to_owned()])
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .args([&found, &root.join("twtrace/fuzz/corpus").join(name)])
        .output()
        .with_context(|| format!("cannot start the fuzz target {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("fuzz target {name} failed: {}", failure(&said));
    }
    let executions = executions(&said)
        .with_context(|| format!("fuzz target {name} does not say how much it did"))?;
    ensure!(executions > 0, "fuzz target {name} did nothing");
    let took = started.elapsed().as_secs_f64();
    Ok(format!("{name}: {executions} executions in {took:.0} s, no crash"))
}

/// What libFuzzer says at the end.
fn executions(said: &str) -> Option<u64> {
    let line = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    line?.trim().parse().ok()
}

/// The panic, or what libFuzzer says instead of it, and the input.
fn failure(said: &str) -> String {
    let part = |wanted: &str| {
        let lines: Vec<&str> = said.lines().collect();
        let at = lines.iter().position(|line| line.contains(wanted))?;
        Some(lines[at..lines.len().min(at + 2)].join(" ").trim().to_owned())
    };
    let why = part("panicked at").or_else(|| part("ERROR: libFuzzer"));
    let input = said.lines().find_map(|line| line.split_once("Test unit written to "));
    format!(
        "{}; input: {}",
        why.unwrap_or_else(|| "it does not say why".to_owned()),
        input.map_or("none was written", |(_, path)| path)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_begins_with_something() {
        let root = workspace::root().expect("tests run in the workspace");
        for target in Target::value_variants() {
            let seeds = root.join("twtrace/fuzz/corpus").join(target.name());
            let seeds = fs::read_dir(seeds).map_or(0, Iterator::count);
            assert!(seeds >= 10, "{}: {seeds}", target.name());
        }
    }

    #[test]
    fn the_end_of_a_run_is_read() {
        let said = "#1 INITED\nDone 300 runs\nstat::number_of_executed_units: 300\nstat::x: 1\n";
        assert_eq!(executions(said), Some(300));
        assert_eq!(executions("killed"), None);
    }

    #[test]
    fn a_crash_says_why_and_where_its_input_is() {
        let said = "thread '<unnamed>' panicked at src/x.rs:3:5:\nattempt to add with overflow\n\
                    ==1== ERROR: libFuzzer: deadly signal\n\
                    artifact_prefix='a/'; Test unit written to a/crash-12\n";
        let failure = failure(said);
        assert!(failure.contains("src/x.rs:3:5: attempt to add with overflow"), "{failure}");
        assert!(failure.ends_with("input: a/crash-12"), "{failure}");
    }
}
