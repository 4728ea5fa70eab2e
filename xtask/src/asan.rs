//! `cargo xtask asan`: the tests that run through code that is not safe, with AddressSanitizer.
//!
//! twtrace has none of its own outside of the BPF programs: the wall test allows it in `src/bpf` alone,
//! and there is none there. What runs through it are the system calls of the live tests' harness, the
//! counting allocators of three tests, and what twtrace stands on: zstd, which is C, and crates that read
//! bytes as structs and make system calls. An error of memory in any of them ends its test.
//!
//! The compiler is the pinned one: `RUSTC_BOOTSTRAP` lets it take `-Zsanitizer`, and it brings the
//! runtime of its host along. The standard library is not instrumented.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::toolchain::Rustc;
use crate::{command, workspace};

/// What is run, by package: arguments of `cargo test`.
const TESTS: [&[&str]; 2] = [
    &[
        "-p",
        "twtrace",
        "--lib",
        "--test",
        "steady_state",
        "--test",
        "trace_memory",
        "--test",
        "export_memory",
        "--test",
        "trace",
        "--test",
        "trace_properties",
        "--test",
        "kept_traces",
        "--test",
        "trace_corpus",
    ],
    &["-p", "twtrace-tests", "--lib"],
];
/// Memory that is never given back is none of its matters: a test may end whenever it likes.
const OPTIONS: &str = "detect_leaks=0:abort_on_error=1:strict_string_checks=1";

/// Builds and runs them.
pub(crate) fn run(root: &Path) -> Result<()> {
    let rustc = Rustc::find()?;
    let host = &rustc.version.host;
    let runtimes = rustc.sysroot().join("lib/rustlib").join(host).join("lib");
    let runtime = runtimes.join("librustc-stable_rt.asan.a");
    ensure!(
        runtime.is_file(),
        "{} is missing: this build of the compiler brings no AddressSanitizer for {host}",
        runtime.display()
    );
    for arguments in TESTS {
        let mut cargo = rustc.command(&rustc.tool("cargo"));
        cargo
            .current_dir(root)
            // Build scripts are not to be instrumented, and are not where a target is named.
            .args(["test", "--locked", "--target", host])
            .args(arguments)
            .env("CARGO_TARGET_DIR", workspace::asan(root))
            .env("CARGO_ENCODED_RUSTFLAGS", "-Zsanitizer=address")
            .env("RUSTC_BOOTSTRAP", "1")
            .env("ASAN_OPTIONS", OPTIONS);
        command::run(&mut cargo)?;
    }
    Ok(())
}
