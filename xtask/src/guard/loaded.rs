//! The size of the programs that this kernel loads, as it has rewritten them: what runs is compiled
//! from that.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::baseline::{Counts, LOADED};
use crate::{apt, command};

/// The release of the running kernel.
pub(super) fn kernel() -> Result<String> {
    let file = "/proc/sys/kernel/osrelease";
    let release = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    Ok(release.trim().to_owned())
}

/// What counts of that kernel begin with.
pub(super) fn prefix(kernel: &str) -> String {
    format!("{LOADED}{kernel} ")
}

/// Bytes of each program that `twtrace` attaches by itself here.
pub(super) fn bytes(twtrace: &Path, kernel: &str) -> Result<Counts> {
    apt::provide(&[("bpftool", "bpftool")])?;
    let tracer = Tracer::start(twtrace)?;
    let ids = tracer.programs()?;
    let said = command::capture(Command::new("bpftool").args(["--json", "prog", "show"]))?;
    let listed: Vec<Value> =
        serde_json::from_str(&said).context("bpftool printed no list in JSON")?;
    let ours = listed.iter().filter(|it| it["id"].as_u64().is_some_and(|id| ids.contains(&id)));
    let mut counts = Counts::new();
    for program in ours {
        let name = program["name"].as_str().context("bpftool listed a program without a name")?;
        let bytes = program["bytes_xlated"]
            .as_u64()
            .context("bpftool does not say how large a program is: run as root")?;
        counts.insert(format!("{}{name}", prefix(kernel)), bytes);
    }
    if counts.is_empty() {
        bail!("twtrace has attached nothing here: `twtrace check` says why");
    }
    Ok(counts)
}

/// One that traces; dropped, it ends.
struct Tracer(Child);

impl Tracer {
    /// It has attached when it prints something.
    fn start(twtrace: &Path) -> Result<Self> {
        let mut child = Command::new(twtrace)
            .args(["top", "--json", "-d", "0.2"])
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", twtrace.display()))?;
        let output = child.stdout.take();
        let tracer = Self(child);
        let mut line = String::new();
        BufReader::new(output.context("it has no output")?).read_line(&mut line)?;
        if line.is_empty() {
            bail!("twtrace ended before it had attached: see above");
        }
        Ok(tracer)
    }

    /// The ids of the programs that it holds, itself or by a link.
    fn programs(&self) -> Result<BTreeSet<u64>> {
        let dir = format!("/proc/{}/fdinfo", self.0.id());
        let files = fs::read_dir(&dir).with_context(|| format!("cannot read {dir}"))?;
        let id = |text: String| {
            text.lines().find_map(|line| line.strip_prefix("prog_id:"))?.trim().parse().ok()
        };
        // A descriptor may be closed meanwhile, and is then nothing that counts.
        Ok(files.filter_map(|file| id(fs::read_to_string(file.ok()?.path()).ok()?)).collect())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Its output is closed: it would end by itself with its next line.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
