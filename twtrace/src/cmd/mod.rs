//! One file per subcommand, and what some of them share: wiring, nothing else.

pub mod check;
pub mod command;
pub mod completions;
mod confined;
mod cost;
pub mod doctor;
pub mod export;
pub mod helper;
pub mod manual;
mod output_file;
pub mod ports;
pub mod record;
pub mod repair;
pub mod report;
mod run;
pub mod selftest;
pub mod serve;
pub mod states;
pub mod top;
pub mod verify;

use anyhow::{Result, bail};
use log::{info, warn};

use crate::{
    bpf::{
        attach::{self, Attached, Settings},
        object,
        plan::{self, Wanted},
        preflight::HostAllows,
        refusal::Refusal,
    },
    config::Trace,
    host,
    probes::{Capability, Tier},
};

/// Slots for namespaces that appear while we trace, at the least.
const SPARE_SLOTS: usize = 63;
/// A slot takes about a kilobyte per CPU.
const MAX_SLOTS: usize = 4096;

/// Plans for this host and attaches what attaches.
fn attach(trace: &Trace) -> Result<Attached> {
    // Read even if nothing can be attached: a wrong file is an error anyway.
    let object = object::bytes(trace.object.as_deref())?;
    let host = HostAllows::probe();
    let steps = plan::plan(&host, trace.wanted, trace.extras(), trace.netns.is_some());
    let attached = attach::attach(&object, &steps, &settings(trace, host))?;
    for report in &attached.reports {
        match &report.refusal {
            None => info!("{} attached", report.hook.place),
            Some(refusal) => info!("{} did not attach: {refusal}", report.hook.place),
        }
    }
    Ok(attached)
}

/// Who asks for the functions of a tier wants what only they can tell: a part of it
/// is an error.
fn refuse_part_of_a_tier(wanted: Wanted, attached: &Attached) -> Result<()> {
    if let Wanted::Only(tier @ (Tier::Fentry | Tier::Kprobe)) = wanted
        && let Some((report, refusal)) = attached.missing().next()
    {
        let (tier, hook) = (tier.name(), report.hook.place);
        bail!(
            "--probes {tier}: {hook} cannot attach: {refusal}; without --probes the best that attaches is taken"
        );
    }
    Ok(())
}

/// Says once what is missing of what follows transitions: a line for each thing in the way.
fn warn_of_missing(attached: &Attached) {
    let mut lost: Vec<(&Refusal, Vec<&str>)> = Vec::new();
    for (hook, refusal) in attached.missing() {
        let Some(words) = lost_without(hook.capability) else {
            continue;
        };
        match lost.iter_mut().find(|(known, _)| *known == refusal) {
            Some((_, all)) => all.push(words),
            None => lost.push((refusal, vec![words])),
        }
    }
    for (refusal, words) in lost {
        warn!("{}: {refusal}", words.join(", "));
    }
}

/// What a run that lacks a capability goes without.
const fn lost_without(capability: Capability) -> Option<&'static str> {
    match capability {
        Capability::TimeWait => Some("time_wait only by polling sock_diag"),
        Capability::PortSearch => Some("no port_search"),
        Capability::CpuShare => Some("no cpu_core_pct"),
        Capability::PortsTried => Some("no count of the ports that searches look at"),
        // Without transitions nothing is traced at all.
        Capability::Transitions | Capability::EndCause => None,
    }
}

/// Twice as many slots as there are namespaces; one, if only one is traced.
fn settings(trace: &Trace, host: HostAllows) -> Settings {
    let known = match trace.netns {
        Some(_) => 0,
        None => host::Reach::direct().list().map_or(0, |list| list.found.len()),
    };
    let slots = (1 + SPARE_SLOTS + 2 * known).min(MAX_SLOTS);
    Settings {
        ring_bytes: trace.ring_bytes,
        netns_slots: slots as u32,
        netns: trace.netns,
        ends: trace.ends.clone(),
        light: trace.light,
        timewait: host.timewait,
        cgroup: host.cgroup,
        sampled: host.sampled,
        sample_hz: trace.sample_hz,
        count_tried: trace.count_tried,
    }
}
