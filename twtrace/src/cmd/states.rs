//! `twtrace states`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};

use crate::{
    config::States,
    host,
    source::census,
    stats::snapshot::{self, rfc3339},
    view::states,
};

/// Looks once at all sockets, and at who holds them.
///
/// # Errors
/// sock_diag does not answer for any namespace, or output that cannot be written.
pub fn run(config: &States) -> Result<ExitCode> {
    let census = census::look(&host::Reach::direct(), config.netns, config.rows);
    let holders = census::holders(&host::Reach::direct(), &census);
    let host::HostFacts { hostname, kernel, boot_id } = host::read();
    let time = rfc3339(host::ClockAnchor::read().wall_ns);
    let report = census.report(&holders, snapshot::Host { hostname, kernel, boot_id }, time);
    if report.states.is_none() {
        bail!("{}", report.left_out.as_deref().unwrap_or("no such network namespace any more"));
    }
    let text = if config.json { states::json(&report)? } else { states::text(&report) };
    io::stdout().write_all(text.as_bytes()).context("cannot write the report")?;
    Ok(ExitCode::SUCCESS)
}
