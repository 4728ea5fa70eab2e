//! `cargo xtask test`: what CI runs, in the order in which mistakes are cheapest to find.

mod steps;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{TestArgs, user};
use steps::{Outcome, Plan};

/// Runs every step and stops at the first that fails.
pub(crate) fn run(root: &Path, args: &TestArgs) -> Result<()> {
    let started = Instant::now();
    let plan = Plan { root, filter: &args.filter };
    if !args.no_live {
        // Before the first step, so that nobody waits minutes for it.
        plan.require_root()?;
    }
    let (steps, mut left_out) = plan.steps(!args.no_live);
    for reason in &left_out {
        println!("LEFT OUT: {reason}");
    }
    for (index, step) in steps.iter().enumerate() {
        println!("==> {}/{} {}", index + 1, steps.len(), step.name);
        let outcome = (step.run)(&plan).with_context(|| format!("{} failed", step.name))?;
        if let Outcome::NotRun(reason) = outcome {
            println!("NOT RUN: {reason}");
            left_out.push(reason);
        }
    }
    if !args.no_summary {
        println!("{}", summary(steps.len(), &left_out, started.elapsed().as_secs()));
    }
    Ok(())
}

fn summary(steps: usize, left_out: &[String], seconds: u64) -> String {
    let rest = if left_out.is_empty() {
        "nothing left out".to_owned()
    } else {
        format!("LEFT OUT: {}", left_out.join("; "))
    };
    format!("xtask test: {steps} steps without failure in {seconds} s; {rest}")
}

impl Plan<'_> {
    fn require_root(&self) -> Result<()> {
        if !user::is_root() {
            bail!(
                "the live tests load BPF programs and need root: run `sudo -E cargo xtask test`, \
                 or `cargo xtask test --no-live` to leave them out"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_what_was_left_out() {
        assert_eq!(
            summary(3, &[], 12),
            "xtask test: 3 steps without failure in 12 s; nothing left out"
        );
        let said = summary(2, &["live tests".into(), "cargo deny".into()], 1);
        assert!(said.ends_with("LEFT OUT: live tests; cargo deny"), "{said}");
    }
}
