//! `cargo xtask bench`: what tracing costs, beside other tracers, on the running kernel.
//!
//! Every run has a network namespace of its own, and one that makes the same connections without a
//! tracer runs next to it: the ratio of the two decides, the absolute figures inform.
//!
//! There are two kinds of runs. Speed and CPU are measured with `kernel.bpf_stats_enabled` off,
//! since the statistics slow each run of a program themselves; BPF time is measured with it on.
//!
//! What cannot be measured is told with the reason, and the rest is measured all the same.
//!
//! The rows `knee`, `sampling`, `recording`, `screen`, `serve` and `states` compare no tracers: the first asks
//! whether what twtrace says of port searches is true, the second what it costs to know their CPU
//! time, the third what it costs to write everything down and to read it again, the fourth what it
//! costs to look at it, the fifth what it costs to tell Prometheus, and the last what it costs to
//! list all sockets, beside ss. `lost` records a minute at full speed, `scaling` has loads that grow, `tiers` other hooks in an
//! emulated machine. `--write` makes the document of all.

mod binaries;
mod bpf_stats;
mod cgroup;
mod churn;
mod endurance;
mod feed;
mod knee;
mod machine;
mod measure;
mod model;
mod netns;
mod number;
mod plan;
mod poller;
mod population;
mod process;
mod programs;
mod rates;
mod reading;
mod recorder;
mod recording;
mod report;
mod running;
mod samples;
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
    let machine = Machine::look(root, &binaries)?;
    let mut samples = Bench { binaries, stats: BpfStats::hold()? }.run(&plan)?;
    // They tell how far they are where JSON is to be.
    let tiers = (plan.tiers && !args.json).then(|| vm::tiers(root, TIERS_ON));
    let tiers = tiers.and_then(|tiers| samples.or_fail("tiers", tiers));

    let summary = Summary { tiers, ..Summary::of(&samples) };
    let figures = report::json(&machine, &plan, &summary);
    if args.json {
        println!("{figures}");
    } else {
        print!("{}", report::text(&machine, &plan, &summary));
    }
    if let Some(dir) = &args.write {
        let dir = root.join(dir);
        for file in report::write(&dir, &machine, &plan, &summary, &figures)? {
            eprintln!("wrote {}", dir.join(file).display());
        }
    }
    finish(&summary)
}

/// What could not be measured of ours is a failure, when all that could is told.
fn finish(summary: &Summary) -> Result<()> {
    let ours = summary.failures.iter().filter(|failure| !failure.is_peers);
    let failed: Vec<&str> = ours.map(|failure| failure.what).collect();
    if !failed.is_empty() {
        bail!("not everything could be measured: {} failed, see above", failed.join(", "));
    }
    Ok(())
}
