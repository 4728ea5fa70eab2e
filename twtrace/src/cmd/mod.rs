//! One file per subcommand: wiring, nothing else.

pub mod check;
pub mod top;

use anyhow::Result;
use log::info;

use crate::{
    bpf::{
        attach::{self, Attached},
        object, plan,
        preflight::HostAllows,
    },
    config::Trace,
};

/// Plans for this host and attaches what attaches.
fn attach(trace: &Trace) -> Result<Attached> {
    // Read even if nothing can be attached: a wrong file is an error anyway.
    let object = object::bytes(trace.object.as_deref())?;
    let host = HostAllows::probe();
    let steps = plan::plan(&host, trace.wanted, trace.settings.netns.is_some());
    let attached = attach::attach(&object, &steps, &trace.settings)?;
    for report in &attached.reports {
        match &report.refusal {
            None => info!("{} attached", report.hook.place),
            Some(refusal) => info!("{} did not attach: {refusal}", report.hook.place),
        }
    }
    Ok(attached)
}
