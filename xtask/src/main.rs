//! The only entry for developers and CI: builds the BPF object, runs the tests, the fuzz targets, the
//! bench, the soak, and other kernels, and packs what is shipped.
//!
//! `cargo xtask bpf` is the one command that needs more than stable Rust, and it fetches what it
//! needs by itself; users never run it, since the object it makes is committed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};

mod apt;
mod asan;
mod bench;
mod bpf;
mod command;
mod deny;
mod dist;
mod fuzz;
mod guard;
mod readers;
mod soak;
mod test;
mod toolchain;
mod user;
mod vm;
mod workspace;

/// Builds the BPF object of twtrace, runs its tests and its bench, and boots other kernels.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the BPF object and write down what it was built from
    Bpf(BpfArgs),
    /// Run everything that CI runs: format, lints, the object, unit tests, live tests
    Test(TestArgs),
    /// Fuzz what reads records and recordings
    Fuzz(FuzzArgs),
    /// Run the tests that go through code that is not safe with AddressSanitizer
    Asan,
    /// Compare counts that noise does not move with xtask/guard.json; needs root
    Guard(GuardArgs),
    /// Measure what tracing costs, beside other tracers, on the running kernel; needs root
    Bench(BenchArgs),
    /// Run under mixed load for a while, and see that nothing grows, leaks or gets lost; needs root
    Soak(SoakArgs),
    /// Build and pack everything that users install: a static binary, a .deb, an archive, checksums
    Dist(DistArgs),
    /// Run the selftest, or a command, in virtual machines with Debian's kernels
    Vm(VmArgs),
}

#[derive(Args)]
struct BpfArgs {
    /// Rebuild from nothing and fail if the committed object differs; write nothing
    #[arg(long, conflicts_with_all = ["features", "output"])]
    check: bool,
    /// Features of twtrace-ebpf to build with; the object then goes to target/bpf
    #[arg(long, value_enum, value_delimiter = ',')]
    features: Vec<Feature>,
    /// Where to write the object, instead of the committed one
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Feature {
    /// Debug lines from inside the kernel, through aya-log
    Log,
}

#[derive(Args)]
struct TestArgs {
    /// Leave out the live tests, which load BPF programs and need root
    #[arg(long)]
    no_live: bool,
    /// Print no summary, so that cargo test's own last lines end the output
    #[arg(long)]
    no_summary: bool,
    /// Run only the tests whose name contains one of these, and none of the other steps
    filter: Vec<String>,
}

#[derive(Args)]
struct FuzzArgs {
    /// Fuzz each target for so long
    #[arg(long, value_name = "SECONDS", default_value_t = fuzz::SECONDS)]
    seconds: u32,
    /// Fuzz only these
    #[arg(value_enum, value_name = "TARGET")]
    targets: Vec<fuzz::Target>,
}

#[derive(Args)]
struct GuardArgs {
    /// Write what is counted now into xtask/guard.json
    #[arg(long)]
    accept: bool,
}

#[derive(Args)]
struct BenchArgs {
    /// Fewer and shorter runs: for a look, not for a figure to publish
    #[arg(long)]
    quick: bool,
    /// Only these rows; a tracer brings the runs without one that it is compared with
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ROW")]
    only: Vec<bench::Row>,
    /// Print one object of JSON
    #[arg(long)]
    json: bool,
    /// Write docs/benchmarks.md with its curves, or into another directory
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true,
          default_missing_value = "docs")]
    write: Option<PathBuf>,
    /// Measure this twtrace, instead of a release build of the checkout
    #[arg(long, value_name = "PATH")]
    twtrace: Option<PathBuf>,
}

#[derive(Args)]
struct SoakArgs {
    /// How long, such as 90s, 30m or 8h
    #[arg(long, value_name = "T", default_value = "1m", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Where soak.json and soak.svg are written, instead of target/soak
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Run this twtrace, instead of the static program that is shipped
    #[arg(long, value_name = "PATH")]
    twtrace: Option<PathBuf>,
}

#[derive(Args)]
struct DistArgs {
    /// Make a Debian too, below target/debian, that the tests install the package on
    #[arg(long)]
    debian: bool,
}

#[derive(Args)]
struct VmArgs {
    /// Kernels to boot; Debian's suites say which there are
    #[arg(long, value_delimiter = ',', value_name = "X.Y", default_values = vm::KERNELS)]
    kernel: Vec<vm::Series>,
    /// Tiers of hooks to test
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TIER",
          default_values_t = vm::Tier::ALL)]
    probes: Vec<vm::Tier>,
    /// Run every case of the selftest, not only the quick ones
    #[arg(long, conflicts_with = "command")]
    full: bool,
    /// Make connections at full speed instead of the selftest, and compare all numbers
    #[arg(long, conflicts_with_all = ["command", "full", "write"])]
    churn: bool,
    /// The same while one of two processors goes and comes, and the clock is set forth and back
    #[arg(long, conflicts_with_all = ["command", "full", "write"])]
    disturbed: bool,
    /// Look for newer patch levels of kernels that were fetched before
    #[arg(long)]
    update: bool,
    /// Write the result into docs/kernel-support.md
    #[arg(long, conflicts_with = "command")]
    write: bool,
    /// Run this in each machine, by /bin/sh as root, instead of the selftest
    #[arg(last = true)]
    command: Vec<String>,
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(task: Task) -> Result<()> {
    let root = workspace::root()?;
    match task {
        Task::Bpf(BpfArgs { check: true, .. }) => bpf::check(&root),
        Task::Bpf(args) => bpf::build(&root, args.features.contains(&Feature::Log), args.output),
        Task::Test(args) => test::run(&root, &args),
        Task::Fuzz(args) => fuzz::run(&root, &args.targets, args.seconds),
        Task::Asan => asan::run(&root),
        Task::Guard(args) => {
            let not_compared = guard::run(&root, args.accept)?;
            not_compared.iter().for_each(|what| println!("NOT COMPARED: {what}"));
            Ok(())
        }
        Task::Bench(args) => bench::run(&root, &args),
        Task::Soak(args) => soak::run(&root, &args),
        Task::Dist(args) => dist::run(&root, args.debian),
        Task::Vm(args) => vm::run(&root, &args),
    }
}
