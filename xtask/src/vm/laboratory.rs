//! Everything that is needed to boot, and where it is done.

use std::collections::BTreeSet;
use std::env::consts::ARCH;
use std::fs::{self, File};
use std::panic;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::archive::Archive;
use super::boot::{Boot, Heard};
use super::initramfs::{self, Programs};
use super::kernel::Kernel;
use super::run::Run;
use super::series::Series;
use super::task::Tasks;
use crate::{apt, workspace};

/// Commands that are needed, and the Debian packages that have them.
const COMMANDS: [(&str, &str); 4] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("xz", "xz-utils"),
];

/// Machines that run at once. On two cores that took half the time of one after the other: they
/// wait more than they compute.
const LANES: usize = 2;

/// What a machine may take beyond the limits of its tasks.
const MARGIN: Duration = Duration::from_secs(30);

/// Kernels, programs, and a place to work.
pub(super) struct Laboratory {
    store: PathBuf,
    kernels: Vec<Kernel>,
    programs: Programs,
    /// Held as long as this lives
    _lock: File,
}

impl Laboratory {
    /// Finds, fetches and builds it; a kernel that is wanted twice is there once.
    pub(super) fn equip(root: &Path, wanted: &[Series], update: bool) -> Result<Self> {
        if ARCH != "x86_64" {
            bail!("the kernels are for x86_64, and this machine is {ARCH}: run it on another one");
        }
        apt::provide(&COMMANDS)?;
        let store = workspace::vm(root);
        let lock = lock(&store)?;
        let mut archive = Archive::new(store.join("apt"));
        let kernel = |series| Kernel::provide(series, &store, &mut archive, update);
        let wanted: BTreeSet<Series> = wanted.iter().copied().collect();
        let kernels = wanted.into_iter().map(kernel).collect::<Result<_>>()?;
        let programs = Programs::build(root)?;
        Ok(Self { store, kernels, programs, _lock: lock })
    }

    /// Boots every kernel, some at a time; what came of it is in the order of the kernels.
    pub(super) fn boot_all(&self, tasks: &Tasks) -> Vec<Run<'_>> {
        let chunks = self.kernels.chunks(LANES);
        chunks.flat_map(|kernels| self.boot_together(kernels, tasks)).collect()
    }

    fn boot_together<'a>(&'a self, kernels: &'a [Kernel], tasks: &Tasks) -> Vec<Run<'a>> {
        thread::scope(|scope| {
            let boot = |kernel| scope.spawn(move || Run::new(kernel, self.boot(kernel, tasks)));
            let booted: Vec<_> = kernels.iter().map(boot).collect();
            let run = |thread: thread::ScopedJoinHandle<'_, _>| thread.join();
            let runs = booted.into_iter().map(run);
            runs.map(|run| run.unwrap_or_else(|why| panic::resume_unwind(why))).collect()
        })
    }

    fn boot(&self, kernel: &Kernel, tasks: &Tasks) -> Result<Heard> {
        let dir = self.room(kernel)?;
        let initramfs = initramfs::pack(&self.programs, kernel, tasks, &dir)?;
        let boot = Boot {
            name: &kernel.version,
            vmlinuz: &kernel.vmlinuz(),
            initramfs: &initramfs,
            dir: &dir,
            limit: tasks.limit * u32::try_from(tasks.list.len())? + MARGIN,
        };
        let mut heard = Self::booted(&boot)?;
        if heard.is_stuck() {
            println!("{}: stuck, as an emulated machine is at times: once more", kernel.version);
            heard = Self::booted(&boot)?;
        }
        Ok(heard)
    }

    fn booted(boot: &Boot<'_>) -> Result<Heard> {
        let started = Instant::now();
        let heard = boot.run()?;
        println!("{}: {:.0} s", boot.name, started.elapsed().as_secs_f64());
        if let Some(trouble) = &heard.trouble {
            println!("{}: {trouble}; its console is in {}", boot.name, boot.dir.display());
        }
        for (task, stuck) in heard.stuck() {
            println!("{}, {task} took too long:\n{stuck}", boot.name);
        }
        Ok(heard)
    }

    /// An empty directory, which is left as it is afterwards: the console is in there.
    fn room(&self, kernel: &Kernel) -> Result<PathBuf> {
        let room = self.store.join("runs").join(kernel.series.to_string());
        if room.exists() {
            fs::remove_dir_all(&room)
                .with_context(|| format!("cannot empty {}", room.display()))?;
        }
        fs::create_dir_all(&room).with_context(|| format!("cannot create {}", room.display()))?;
        Ok(room)
    }
}

/// Waits until no other run works in the same place.
fn lock(store: &Path) -> Result<File> {
    let failed = || format!("cannot lock {}", store.display());
    fs::create_dir_all(store).with_context(failed)?;
    let file = File::create(store.join("lock")).with_context(failed)?;
    file.lock().with_context(failed)?;
    Ok(file)
}
