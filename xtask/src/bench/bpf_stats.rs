//! The kernel's statistics of BPF programs: a switch of the whole machine, which must be found
//! afterwards as it was.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, bail};

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// How often a run is made before the machine is given up.
const ATTEMPTS: usize = 3;

/// Puts the value it found back when its input ends, and no signal ends it before.
const KEEPER: &str = r#"
    trap "" INT TERM HUP
    found=$(cat "$0") || exit 1
    echo ready
    cat > /dev/null
    echo "$found" > "$0"
"#;

/// The switch, until this is dropped.
///
/// A child process puts it back, as soon as the pipe from us ends: so it also does when the bench
/// is interrupted or killed, and no destructor runs.
pub(super) struct BpfStats {
    keeper: Child,
    /// Closed to let the keeper go; an Option because closing it takes it
    pipe: Option<ChildStdin>,
}

impl BpfStats {
    /// Starts the keeper; changes nothing yet.
    pub(super) fn hold() -> Result<Self> {
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, SWITCH])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start sh")?;
        let stdout = keeper.stdout.take().context("the keeper of bpf_stats has no output")?;
        let held = Self { pipe: keeper.stdin.take(), keeper };
        let mut ready = String::new();
        BufReader::new(stdout).read_line(&mut ready).context("cannot hear the keeper")?;
        if ready != "ready\n" {
            bail!("cannot read {SWITCH}: this kernel has no statistics of BPF programs");
        }
        Ok(held)
    }

    /// Does `work` with the statistics on or off, and again if somebody else has switched
    /// meanwhile: nothing keeps two users of the machine from it.
    pub(super) fn during<T>(&self, on: bool, work: impl Fn() -> Result<T>) -> Result<T> {
        for _ in 0..ATTEMPTS {
            set(on)?;
            let done = work()?;
            if is_on()? == on {
                return Ok(done);
            }
            eprintln!("somebody else switched kernel.bpf_stats_enabled meanwhile: once more");
        }
        bail!("somebody else keeps switching kernel.bpf_stats_enabled: run the bench alone")
    }
}

impl Drop for BpfStats {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // Waiting for one's own child fails only if it is gone, and then it has done its work.
        let _ = self.keeper.wait();
    }
}

fn set(on: bool) -> Result<()> {
    fs::write(SWITCH, if on { "1" } else { "0" }).with_context(|| format!("cannot write {SWITCH}"))
}

fn is_on() -> Result<bool> {
    let value = fs::read_to_string(SWITCH).with_context(|| format!("cannot read {SWITCH}"))?;
    Ok(value.trim() != "0")
}
