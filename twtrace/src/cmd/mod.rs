//! One file per subcommand: wiring, nothing else.

pub mod check;
pub mod top;

use anyhow::Result;
use log::info;

use crate::{
    bpf::{
        attach::{self, Attached, Settings},
        object, plan,
        preflight::HostAllows,
    },
    config::Trace,
    host,
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
    let steps = plan::plan(&host, trace.wanted, trace.netns.is_some());
    let attached = attach::attach(&object, &steps, &settings(trace, host))?;
    for report in &attached.reports {
        match &report.refusal {
            None => info!("{} attached", report.hook.place),
            Some(refusal) => info!("{} did not attach: {refusal}", report.hook.place),
        }
    }
    Ok(attached)
}

/// Twice as many slots as there are namespaces; one, if only one is traced.
fn settings(trace: &Trace, host: HostAllows) -> Settings {
    let known = match trace.netns {
        Some(_) => 0,
        None => host::list().map_or(0, |list| list.found.len()),
    };
    let slots = (1 + SPARE_SLOTS + 2 * known).min(MAX_SLOTS);
    Settings {
        ring_bytes: trace.ring_bytes,
        netns_slots: slots as u32,
        netns: trace.netns,
        timewait: host.timewait,
        cgroup: host.cgroup,
    }
}
