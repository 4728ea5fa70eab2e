//! `cargo xtask bench`: what tracing costs, beside other tracers, on the running kernel.
//!
//! Every run has a network namespace of its own, and one that makes the same connections without a
//! tracer runs next to it: the ratio of the two decides, the absolute figures inform.
//!
//! There are two kinds of runs. Speed and CPU are measured with `kernel.bpf_stats_enabled` off,
//! since the statistics slow each run of a program themselves; BPF time is measured with it on.
//!
//! The rows `knee`, `sampling`, `recording`, `screen`, `serve` and `states` compare no tracers: the first asks
//! whether what twtrace says of port searches is true, the second what it costs to know their CPU
//! time, the third what it costs to write everything down and to read it again, the fourth what it
//! costs to look at it, the fifth what it costs to tell Prometheus, and the last what it costs to
//! list all sockets, beside ss.

mod binaries;
mod bpf_stats;
mod churn;
mod knee;
mod machine;
mod measure;
mod netns;
mod number;
mod plan;
mod process;
mod programs;
mod reading;
mod recorder;
mod recording;
mod report;
mod sampling;
mod screen;
mod searched;
mod searcher;
mod serve;
mod snapshot;
mod states;
mod summary;
mod table;
mod tracer;
mod verdict;

use std::path::Path;

use anyhow::{Result, bail};

use crate::{BenchArgs, apt, user, vm};
use binaries::Binaries;
use bpf_stats::BpfStats;
use machine::Machine;
use measure::Bench;
use plan::Plan;
use summary::Summary;

pub(crate) use plan::Row;

/// Commands that every run uses, and the Debian packages that have them.
const COMMANDS: [(&str, &str); 2] = [("ip", "iproute2"), ("bpftool", "bpftool")];

/// A kernel that has every tier.
const TIERS_ON: &str = "6.12";

/// Measures what `args` ask for and prints it; fails only if it could not be measured.
pub(crate) fn run(root: &Path, args: &BenchArgs) -> Result<()> {
    if !user::is_root() {
        bail!("the bench loads BPF programs and needs root: run `sudo -E cargo xtask bench`");
    }
    let plan = Plan::new(args.quick, &args.only);
    apt::provide(&COMMANDS)?;
    apt::provide(&plan.commands())?;
    let binaries = Binaries::provide(root, args.twtrace.as_deref())?;
    let machine = Machine::look(&binaries)?;
    let samples = Bench { binaries, stats: BpfStats::hold()? }.run(&plan)?;

    let summary = Summary::of(&samples);
    if args.json {
        println!("{}", report::json(&machine, &plan, &summary));
        return Ok(());
    }
    print!("{}", report::text(&machine, &plan, &summary));
    if plan.tiers {
        vm::churn(root, &[TIERS_ON])?;
    }
    Ok(())
}
