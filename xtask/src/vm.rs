//! `cargo xtask vm`: the selftest, or any command, in virtual machines with Debian's kernels.
//!
//! The machines are emulated: that needs no rights, and no processor that can do better.

mod answer;
mod archive;
mod boot;
mod churn;
mod document;
mod frame;
mod initramfs;
mod kernel;
mod laboratory;
mod matrix;
mod packages;
mod run;
mod series;
mod task;
mod tiers;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{VmArgs, command, workspace};
use laboratory::Laboratory;
use matrix::Matrix;
use run::Run;
use task::Tasks;

pub(crate) use series::Series;
pub(crate) use task::{Extent, Machine, Tier};
pub(crate) use tiers::{HookCost, TierCost, Tiers};

/// What is booted if nothing else is asked for: a kernel of each Debian release, and the newest.
pub(crate) const KERNELS: [&str; 4] = ["5.10", "6.1", "6.12", "7.2"];

/// Boots what `args` ask for; fails if anything did in there.
pub(crate) fn run(root: &Path, args: &VmArgs) -> Result<()> {
    let laboratory = Laboratory::equip(root, &args.kernel, args.update)?;
    if !args.command.is_empty() {
        return show_outputs(&laboratory.boot_all(&Tasks::typed(&args.command)));
    }
    if args.churn || args.disturbed {
        let machine = if args.disturbed { Machine::Disturbed } else { Machine::Quiet };
        return judge_churn(&laboratory, &args.probes, machine);
    }
    let extent = if args.full { Extent::Full } else { Extent::Quick };
    let matrix = matrix(&laboratory, &args.probes, extent);
    if args.write {
        write(root, &matrix, extent)?;
    }
    judge(&matrix, &format!("selftest, {extent}"))
}

/// Runs the selftest with every tier on kernels of these series.
pub(crate) fn selftest(root: &Path, kernels: &[&str], extent: Extent) -> Result<()> {
    let kernels: Vec<Series> = kernels.iter().map(|text| text.parse()).collect::<Result<_>>()?;
    let laboratory = Laboratory::equip(root, &kernels, false)?;
    judge(&matrix(&laboratory, &Tier::ALL, extent), &format!("selftest, {extent}"))
}

/// Makes connections at full speed on kernels of these series, traced with every tier.
pub(crate) fn churn(root: &Path, kernels: &[&str], machine: Machine) -> Result<()> {
    let kernels: Vec<Series> = kernels.iter().map(|text| text.parse()).collect::<Result<_>>()?;
    judge_churn(&Laboratory::equip(root, &kernels, false)?, &Tier::ALL, machine)
}

/// The same on one, for what each tier costs.
pub(crate) fn tiers(root: &Path, kernel: &str) -> Result<Tiers> {
    let laboratory = Laboratory::equip(root, &[kernel.parse()?], false)?;
    let (costs, matrix) = churned(&laboratory, &Tier::ALL, Machine::Quiet);
    let costs = costs.into_iter().next().context("no machine was booted")?;
    eprint!("{}", matrix.failures());
    Ok(Tiers { wrong: matrix.wrong_in_words(), ..costs })
}

fn churned(laboratory: &Laboratory, tiers: &[Tier], machine: Machine) -> (Vec<Tiers>, Matrix) {
    let runs = laboratory.boot_all(&Tasks::churns(tiers, machine));
    let tiers: Vec<String> = tiers.iter().map(ToString::to_string).collect();
    let (rows, costs): (Vec<_>, Vec<_>) = runs.iter().map(|run| run.churned(&tiers)).unzip();
    let of = |(run, costs): (&Run<'_>, _)| Tiers { kernel: run.name(), costs, wrong: Vec::new() };
    (runs.iter().zip(costs).map(of).collect(), Matrix { rows, tiers })
}

fn judge_churn(laboratory: &Laboratory, tiers: &[Tier], machine: Machine) -> Result<()> {
    let (all, matrix) = churned(laboratory, tiers, machine);
    for Tiers { kernel, costs, .. } in all {
        println!("\n{kernel}, a run of each program, as a multiple of one that does nothing:");
        for TierCost { tier, hooks } in costs {
            for hook in hooks {
                println!("  {:>5.1}  {tier}: {}", hook.times, hook.name);
            }
        }
    }
    judge(&matrix, &format!("{} connections with reuse", churn::CONNECTIONS))
}

fn matrix(laboratory: &Laboratory, tiers: &[Tier], extent: Extent) -> Matrix {
    let runs = laboratory.boot_all(&Tasks::selftests(tiers, extent));
    let tiers: Vec<String> = tiers.iter().map(ToString::to_string).collect();
    Matrix { rows: runs.iter().map(|run| run.row(&tiers)).collect(), tiers }
}

/// What the command printed in each machine.
fn show_outputs(runs: &[Run<'_>]) -> Result<()> {
    let mut failed = Vec::new();
    for run in runs {
        match run.ended(task::TYPED) {
            Ok(ended) => {
                println!("==> {}: exit {}, {} s", run.name(), ended.code, ended.seconds);
                println!("{}", ended.out);
                if ended.code != 0 {
                    failed.push(format!("{} (exit {})", run.name(), ended.code));
                }
            }
            Err(why) => {
                println!("==> {}: no answer: {why}", run.name());
                failed.push(run.name());
            }
        }
    }
    if !failed.is_empty() {
        bail!("the command failed on {}", failed.join(", "));
    }
    Ok(())
}

fn judge(matrix: &Matrix, what: &str) -> Result<()> {
    let failures = matrix.failures();
    println!("\n{what}:\n\n{}", matrix.table());
    if !failures.is_empty() {
        println!("{failures}");
    }
    let wrong = matrix.wrong();
    if !wrong.is_empty() {
        bail!("{what}: failed on {}", wrong.join(", "));
    }
    Ok(())
}

/// Puts the table where the results of other runs are.
fn write(root: &Path, matrix: &Matrix, extent: Extent) -> Result<()> {
    let file = workspace::kernel_support(root);
    let named = || format!("{}", file.display());
    let date = command::capture(Command::new("date").args(["-u", "+%F"]))?;
    let generated = format!("{}, {extent}:\n\n{}", date.trim(), matrix.table());
    let document = fs::read_to_string(&file).with_context(named)?;
    let document = document::replaced(&document, &generated).with_context(named)?;
    fs::write(&file, document).with_context(named)
}
