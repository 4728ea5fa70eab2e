//! The steps of `cargo xtask test`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::bpf::{self, Arch, Compiler};
use crate::dist::{self, program};
use crate::toolchain::Toolchain;
use crate::vm::{self, Extent, Machine};
use crate::{apt, command, deny, fuzz, guard, readers, soak, workspace};

/// Commands that the live tests use, and the Debian packages that have them.
const LIVE_COMMANDS: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("ss", "iproute2"),
    ("tmux", "tmux"),
    ("prometheus", "prometheus"),
    ("promtool", "prometheus"),
];

/// The kernel on which every case of the selftest is run, and not only the quick ones, and
/// connections are made at full speed.
const FULLY: [&str; 1] = ["6.12"];

/// What one run works on.
pub(super) struct Plan<'a> {
    /// The workspace
    pub(super) root: &'a Path,
    /// Parts of names of tests; empty for all
    pub(super) filter: &'a [String],
}

/// One step.
pub(super) struct Step {
    /// What is announced
    pub(super) name: &'static str,
    /// What it does
    pub(super) run: fn(&Plan<'_>) -> Result<Outcome>,
}

/// How a step that did not fail ended.
pub(super) enum Outcome {
    /// It did what it is there for
    Passed,
    /// It could not, for this reason
    NotRun(String),
}

const LINTS: [Step; 4] = [
    Step { name: "cargo fmt --check", run: fmt },
    Step { name: "clippy, host", run: clippy_host },
    Step { name: "clippy, BPF target", run: clippy_bpf },
    Step { name: "cargo deny check bans licenses sources", run: deny },
];
const OBJECT: Step = Step { name: "bpf --check", run: bpf_check };
const TESTS: Step = Step { name: "unit, property and golden tests", run: tests };
const FUZZ: Step = Step { name: "fuzz targets, 20 s each", run: fuzzed };
const SHIPPED: Step = Step { name: "build of the static binary that is shipped", run: shipped };
const GUARD: Step = Step { name: "guard: counts that noise does not move", run: guarded };
const LIVE: [Step; 4] = [
    Step { name: "packages, and a Debian to install them on", run: packages },
    Step { name: "bpf --features log, which the live tests load", run: bpf_with_log },
    Step { name: "a browser and data frames, which the live tests let read", run: readers },
    Step { name: "live tests", run: live },
];
const SOAK: Step = Step { name: "soak, a minute of mixed load", run: soaked };
const MATRIX: [Step; 4] = [
    Step { name: "selftest on other kernels, the quick cases", run: selftest_quick },
    Step { name: "selftest on another kernel, every case", run: selftest_full },
    Step { name: "connections at full speed on another kernel", run: churn },
    Step { name: "the same while processors go and the clock steps", run: disturbed },
];

impl Plan<'_> {
    /// The steps to run, and in words what is not among them.
    pub(super) fn steps(&self, with_live: bool) -> (Vec<Step>, Vec<String>) {
        let mut steps = Vec::new();
        let mut left_out = Vec::new();
        if self.filter.is_empty() {
            steps.extend(LINTS);
            steps.push(OBJECT);
        } else {
            left_out.push(format!(
                "format, lints, bpf --check and every test whose name has none of: {}",
                self.filter.join(" ")
            ));
        }
        steps.push(TESTS);
        if self.filter.is_empty() {
            steps.push(FUZZ);
        }
        if with_live {
            steps.push(SHIPPED);
            if self.filter.is_empty() {
                steps.push(GUARD);
                steps.extend(MATRIX);
                steps.push(SOAK);
            }
            // Last: their last lines count the tests.
            steps.extend(LIVE);
        } else {
            left_out.push("guard and live tests (--no-live): nothing was run on the kernel".into());
        }
        (steps, left_out)
    }

    /// The cargo that runs this, in the workspace.
    fn cargo(&self, arguments: &[&str]) -> Command {
        command::cargo(self.root, arguments)
    }

    fn cargo_test(&self, arguments: &[&str]) -> Result<Outcome> {
        let mut command = self.cargo(&["test", "--locked"]);
        command.args(arguments).arg("--").args(self.filter);
        passed(&mut command)
    }
}

fn fmt(plan: &Plan<'_>) -> Result<Outcome> {
    let checked = passed(&mut plan.cargo(&["fmt", "--all", "--check"]));
    checked.context("run `cargo fmt --all`")?;
    // A workspace of its own.
    let fuzz = plan.root.join("twtrace/fuzz");
    let checked = passed(&mut command::cargo(&fuzz, &["fmt", "--check"]));
    checked.context("run `cargo fmt` in twtrace/fuzz")
}

fn clippy_host(plan: &Plan<'_>) -> Result<Outcome> {
    let mut command = plan.cargo(&["clippy", "--locked", "--workspace", "--all-targets"]);
    passed(command.args(["--exclude", "twtrace-ebpf", "--", "-D", "warnings"]))
}

fn clippy_bpf(plan: &Plan<'_>) -> Result<Outcome> {
    let toolchain = Toolchain::find(plan.root)?;
    let target = workspace::bpf_target(plan.root);
    let compiler = Compiler::new(plan.root, &toolchain, &target, Arch::host()?)?;
    compiler.clippy(&[])?;
    compiler.clippy(&["log"])?;
    Ok(Outcome::Passed)
}

/// Advisories would fail an old commit for what became known since, besides being out of reach.
fn deny(plan: &Plan<'_>) -> Result<Outcome> {
    deny::check(plan.root).map(|()| Outcome::Passed)
}

fn bpf_check(plan: &Plan<'_>) -> Result<Outcome> {
    bpf::check(plan.root).map(|()| Outcome::Passed)
}

fn tests(plan: &Plan<'_>) -> Result<Outcome> {
    plan.cargo_test(&["--workspace", "--exclude", "twtrace-ebpf", "--exclude", "twtrace-tests"])
}

fn fuzzed(plan: &Plan<'_>) -> Result<Outcome> {
    fuzz::run(plan.root, &[], fuzz::SECONDS).map(|()| Outcome::Passed)
}

fn guarded(plan: &Plan<'_>) -> Result<Outcome> {
    let not_compared = guard::run(plan.root, false)?;
    Ok(match not_compared.is_empty() {
        true => Outcome::Passed,
        false => Outcome::NotRun(format!("a part of guard: {}", not_compared.join("; "))),
    })
}

/// Virtual machines and live tests run the very program that users get.
fn shipped(plan: &Plan<'_>) -> Result<Outcome> {
    program::build(plan.root).map(|_| Outcome::Passed)
}

fn packages(plan: &Plan<'_>) -> Result<Outcome> {
    dist::host::provide(plan.root)?;
    dist::make(plan.root).map(|_| Outcome::Passed)
}

fn bpf_with_log(plan: &Plan<'_>) -> Result<Outcome> {
    bpf::build(plan.root, true, None).map(|()| Outcome::Passed)
}

fn readers(plan: &Plan<'_>) -> Result<Outcome> {
    readers::provide()?;
    readers::data_frames(plan.root).map(|_| Outcome::Passed)
}

fn live(plan: &Plan<'_>) -> Result<Outcome> {
    apt::provide(&LIVE_COMMANDS)?;
    let mut command = plan.cargo(&["test", "--locked", "--profile", "live", "-p", "twtrace-tests"]);
    command.env("TWTRACE_BIN", program::build(plan.root)?);
    passed(command.arg("--").args(plan.filter))
}

fn soaked(plan: &Plan<'_>) -> Result<Outcome> {
    apt::provide(&LIVE_COMMANDS)?;
    soak::run(plan.root, &soak::A_MINUTE).map(|()| Outcome::Passed)
}

fn selftest_quick(plan: &Plan<'_>) -> Result<Outcome> {
    selftest(plan, &vm::KERNELS, Extent::Quick)
}

fn churn(plan: &Plan<'_>) -> Result<Outcome> {
    churned(plan, Machine::Quiet)
}

fn disturbed(plan: &Plan<'_>) -> Result<Outcome> {
    churned(plan, Machine::Disturbed)
}

fn churned(plan: &Plan<'_>, machine: Machine) -> Result<Outcome> {
    match no_kernels(&FULLY) {
        Some(why) => Ok(Outcome::NotRun(why)),
        None => vm::churn(plan.root, &FULLY, machine).map(|()| Outcome::Passed),
    }
}

fn selftest_full(plan: &Plan<'_>) -> Result<Outcome> {
    selftest(plan, &FULLY, Extent::Full)
}

fn selftest(plan: &Plan<'_>, kernels: &[&str], extent: Extent) -> Result<Outcome> {
    match no_kernels(kernels) {
        Some(why) => Ok(Outcome::NotRun(why)),
        None => vm::selftest(plan.root, kernels, extent).map(|()| Outcome::Passed),
    }
}

/// Why there are none: they are Debian's, and come through apt.
fn no_kernels(kernels: &[&str]) -> Option<String> {
    command::find("apt-get")
        .is_none()
        .then(|| format!("Linux {}: come through apt-get, which is not here", kernels.join(" ")))
}

fn passed(command: &mut Command) -> Result<Outcome> {
    command::run(command).map(|()| Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(filter: &[String], with_live: bool) -> (Vec<&'static str>, usize) {
        let (steps, left_out) = Plan { root: Path::new("/"), filter }.steps(with_live);
        (steps.iter().map(|step| step.name).collect(), left_out.len())
    }

    #[test]
    fn everything_runs_by_default_and_the_live_tests_are_last() {
        let (steps, left_out) = names(&[], true);
        assert_eq!(steps.last(), Some(&"live tests"));
        assert!(steps.iter().any(|step| step.starts_with("guard")), "{steps:?}");
        assert_eq!(left_out, 0);
    }

    #[test]
    fn what_is_left_out_is_said() {
        assert_eq!(names(&[], false).1, 1);
        let (steps, left_out) = names(&["reuse".into()], false);
        assert_eq!(steps, ["unit, property and golden tests"]);
        assert_eq!(left_out, 2);
    }
}
