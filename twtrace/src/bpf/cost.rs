//! What each program costs on this host, as the kernel measures it.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Context, Result};
use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, Program},
    sys::{Stats, enable_stats},
};

/// The program that does nothing; see `twtrace-ebpf/src/probes/nothing.rs`.
const NOTHING: &str = "nothing";
/// Where it does so.
const NOTHING_AT: &str = "timer_start";

/// What a program did while it was watched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Runs per second.
    pub runs_per_s: f64,
    /// Nanoseconds per run, less what the measuring takes; `None` if it did not run.
    pub ns_per_run: Option<f64>,
}

/// What all programs did while they were watched.
#[derive(Clone, Debug)]
pub struct Costs {
    /// Nanoseconds that the measuring adds to each run, taken off the others;
    /// `None` if it could not be measured, so that nothing was taken off.
    pub measuring_ns: Option<f64>,
    /// By program.
    pub by_program: BTreeMap<String, Cost>,
}

/// Time and runs of one program so far.
#[derive(Clone, Copy, Debug, Default)]
struct Runs {
    time_ns: f64,
    count: f64,
}

/// Watches the programs of `ebpf` for `window`.
///
/// # Errors
/// If the kernel may not be asked to measure, which takes `CAP_SYS_ADMIN`.
pub(super) fn measure(ebpf: &mut Ebpf, window: Duration) -> Result<Costs> {
    let measuring = enable_stats(Stats::RunTime)
        .context("the kernel measures programs only with CAP_SYS_ADMIN")?;
    let has_nothing = attach_nothing(ebpf).is_some();
    let before = runs(ebpf);
    thread::sleep(window);
    let after = runs(ebpf);
    drop(measuring);
    let during = |name: &str| {
        let earlier = before.get(name).copied().unwrap_or_default();
        let later = after.get(name).copied().unwrap_or_default();
        Runs { time_ns: later.time_ns - earlier.time_ns, count: later.count - earlier.count }
    };
    let measuring_ns = during(NOTHING).ns_per_run().filter(|_| has_nothing);
    let cost = |name: &String| (name.clone(), during(name).cost(window, measuring_ns));
    let by_program = after.keys().filter(|name| *name != NOTHING).map(cost).collect();
    Ok(Costs { measuring_ns, by_program })
}

/// Attaches the program that does nothing; `None` if this kernel does not take it.
fn attach_nothing(ebpf: &mut Ebpf) -> Option<()> {
    let btf = Btf::from_sys_fs().ok()?;
    let program: &mut BtfTracePoint = ebpf.program_mut(NOTHING)?.try_into().ok()?;
    program.load(NOTHING_AT, &btf).ok()?;
    program.attach().ok()?;
    Some(())
}

/// Of every program in the kernel.
fn runs(ebpf: &Ebpf) -> BTreeMap<String, Runs> {
    let of_program = |program: &Program| {
        let info = program.info().ok()?;
        let time_ns = info.run_time().as_nanos() as f64;
        Some(Runs { time_ns, count: info.run_count() as f64 })
    };
    ebpf.programs()
        .filter_map(|(name, program)| Some((name.to_owned(), of_program(program)?)))
        .collect()
}

impl Runs {
    fn ns_per_run(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.time_ns / self.count)
    }

    fn cost(&self, window: Duration, measuring_ns: Option<f64>) -> Cost {
        // Clocks jitter: a program can be faster than one that does nothing.
        let net = |ns: f64| (ns - measuring_ns.unwrap_or(0.0)).max(0.0);
        Cost {
            runs_per_s: self.count / window.as_secs_f64(),
            ns_per_run: self.ns_per_run().map(net),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_measuring_takes_is_taken_off() {
        let runs = Runs { time_ns: 20_000.0, count: 100.0 };
        let window = Duration::from_secs(2);
        let cost = runs.cost(window, Some(65.0));
        assert_eq!(cost, Cost { runs_per_s: 50.0, ns_per_run: Some(135.0) });
        assert_eq!(runs.cost(window, None).ns_per_run, Some(200.0));
        assert_eq!(runs.cost(window, Some(500.0)).ns_per_run, Some(0.0));
    }

    #[test]
    fn what_did_not_run_has_no_cost_rather_than_none() {
        let cost = Runs::default().cost(Duration::from_secs(1), Some(65.0));
        assert_eq!(cost, Cost { runs_per_s: 0.0, ns_per_run: None });
    }
}
