//! Events that the kernel kept from BPF, as an independent witness saw them.
//!
//! Some sandboxes' kernels run no tracing program while a thread of init, which
//! is the sandbox's own agent, is the running task, and count nothing: what a
//! softirq does then is lost to every BPF tracer, and to no other
//! (docs/kernel-support.md has the proof). The kernel's own event buffer sees
//! these events, so that a test can forgive exactly as many.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// Names instances of ours, whoever made them.
const PREFIX: &str = "twtrace-tests-";
/// The events of which each costs one run of a program. `timer_cancel` does not
/// say whose timer it is, and comes with one of the others or with a transition.
const EVENTS: [&str; 3] =
    ["sock/inet_sock_set_state", "timer/timer_start", "timer/timer_expire_entry"];

/// An instance of the kernel's event buffer that records init's threads only,
/// as long as it lives.
pub struct Witness {
    dir: PathBuf,
    /// Keeps the file system mounted, which nobody else sees.
    _tracefs: OwnedFd,
    threads: Vec<String>,
}

impl Witness {
    /// Begins to watch; an error where there is no tracefs, or no right to it:
    /// then nothing can be forgiven.
    pub fn new() -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let context = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        let tracefs = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        let instances = PathBuf::from(format!("/proc/self/fd/{}/instances", tracefs.as_raw_fd()));
        remove_stale(&instances)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = instances.join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&dir)?;
        let mut witness = Self { dir, _tracefs: tracefs, threads: Vec::new() };
        witness.watch_all_threads()?;
        for event in EVENTS {
            fs::write(witness.dir.join("events").join(event).join("enable"), "1")?;
        }
        Ok(witness)
    }

    /// How many there were so far.
    pub fn count(&mut self) -> u64 {
        self.watch_all_threads().expect("setting a filter of tracefs");
        let trace = fs::read_to_string(self.dir.join("trace")).expect("reading tracefs");
        let is_ours = |line: &&str| {
            line.contains("inet_sock_set_state: ") || line.contains("function=tw_timer_handler")
        };
        trace.lines().filter(is_ours).count() as u64
    }

    /// Threads come and go.
    fn watch_all_threads(&mut self) -> io::Result<()> {
        let threads = fs::read_dir("/proc/1/task")?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()?;
        if threads == self.threads {
            return Ok(());
        }
        let conditions: Vec<_> = threads.iter().map(|id| format!("common_pid == {id}")).collect();
        let filter = conditions.join(" || ");
        for event in EVENTS {
            fs::write(self.dir.join("events").join(event).join("filter"), &filter)?;
        }
        self.threads = threads;
        Ok(())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        // The next one removes it if this fails.
        let _ = fs::remove_dir(&self.dir);
    }
}

/// Removes what tests that were killed have left.
fn remove_stale(instances: &Path) -> io::Result<()> {
    for entry in fs::read_dir(instances)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if maker.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            fs::remove_dir(entry.path())?;
        }
    }
    Ok(())
}
