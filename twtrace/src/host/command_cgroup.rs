//! A cgroup that a command runs in, to tell its processes from all others.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use super::cgroups::{Mount, parse_mounts};

/// How often a removal is tried: what has just left a cgroup may still count.
const REMOVALS: u32 = 50;
const REMOVAL_PAUSE: Duration = Duration::from_millis(10);

/// What names begin with, whoever makes one.
const PREFIX: &str = "twtrace-ports-";

/// A cgroup of the v2 hierarchy, below the caller's own; removed when dropped.
///
/// Processes that are in it then go back to the caller's cgroup. One whose maker was killed is
/// removed by the next, as soon as nothing runs in it.
#[derive(Debug)]
pub struct CommandCgroup {
    parent: PathBuf,
    directory: PathBuf,
    id: u64,
    path: String,
    /// Locked as long as this lives: by that a cgroup is told from one that was left.
    _lock: File,
}

impl CommandCgroup {
    /// An empty one, told from others by `number`.
    ///
    /// # Errors
    /// No v2 hierarchy, or no right to make a cgroup there.
    pub fn new(number: u32) -> Result<Self> {
        let name = format!("{PREFIX}{number}");
        let mounts =
            fs::read("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
        let own =
            fs::read_to_string("/proc/self/cgroup").context("cannot read /proc/self/cgroup")?;
        let own = parse_v2(&own).context("there is no cgroup v2")?;
        let mounts = parse_mounts(&String::from_utf8_lossy(&mounts));
        let Some(parent) = directories(&mounts, own).find(|path| is_cgroup(path)) else {
            bail!("cgroup v2 is not mounted where the own cgroup {own} can be seen");
        };
        remove_left(&parent);
        let directory = parent.join(&name);
        fs::create_dir(&directory).with_context(|| directory.display().to_string())?;
        let lock = lock(&directory).with_context(|| format!("{}: lock", directory.display()))?;
        let mut made = Self {
            parent,
            directory,
            id: 0,
            path: format!("{}/{name}", own.trim_end_matches('/')),
            _lock: lock,
        };
        made.id = fs::metadata(&made.directory).context("cannot look at it")?.ino();
        Ok(made)
    }

    /// Its id in the v2 hierarchy.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its path from the root of the hierarchy.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The file that takes the processes that are to be in it.
    pub fn procs(&self) -> PathBuf {
        procs(&self.directory)
    }

    /// Whether any process is in it, or in a cgroup below it.
    pub fn is_populated(&self) -> bool {
        let events = fs::read_to_string(self.directory.join("cgroup.events"));
        events.is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
    }
}

impl Drop for CommandCgroup {
    fn drop(&mut self) {
        if self.is_populated() {
            // Those that cannot be moved keep it from being removed, which is said below.
            let _ = empty(&self.directory, &self.parent);
        }
        for _ in 1..REMOVALS {
            if remove(&self.directory).is_ok() {
                return;
            }
            thread::sleep(REMOVAL_PAUSE);
        }
        if let Err(error) = remove(&self.directory) {
            log::warn!("cannot remove the cgroup {}: {error}", self.directory.display());
        }
    }
}

/// Fails at once if somebody else has it.
fn lock(cgroup: &Path) -> io::Result<File> {
    let file = File::open(cgroup)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Removes those below `parent` that nobody holds any more and nothing runs in: their makers were
/// killed. One in which something runs cannot be removed, and stays.
fn remove_left(parent: &Path) {
    let left = below(parent).unwrap_or_default().into_iter().filter(|cgroup| {
        let name = cgroup.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| name.starts_with(PREFIX))
    });
    for cgroup in left {
        if let Ok(_lock) = lock(&cgroup) {
            let _ = fs::remove_dir(&cgroup);
        }
    }
}

fn procs(cgroup: &Path) -> PathBuf {
    cgroup.join("cgroup.procs")
}

fn is_cgroup(directory: &Path) -> bool {
    procs(directory).exists()
}

/// The line of v2 in /proc/PID/cgroup: `0::path`.
pub fn parse_v2(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Where the cgroup `path` may be seen.
fn directories<'a>(mounts: &'a [Mount], path: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
    mounts.iter().filter_map(move |mount| {
        let below = Path::new(path).strip_prefix("/").ok()?;
        let root = mount.root.trim_start_matches('/');
        Some(mount.point.join(below.strip_prefix(root).ok()?))
    })
}

/// Moves every process in and below `cgroup`.
fn empty(cgroup: &Path, to: &Path) -> io::Result<()> {
    for below in below(cgroup)? {
        empty(&below, to)?;
    }
    for pid in fs::read_to_string(procs(cgroup))?.lines() {
        // It may have ended meanwhile.
        let _ = fs::write(procs(to), pid);
    }
    Ok(())
}

/// Removes `cgroup`, and what a command has left below it.
fn remove(cgroup: &Path) -> io::Result<()> {
    for below in below(cgroup)? {
        remove(&below)?;
    }
    match fs::remove_dir(cgroup) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn below(cgroup: &Path) -> io::Result<Vec<PathBuf>> {
    let is_directory = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let entries = match fs::read_dir(cgroup) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    Ok(entries.filter_map(Result::ok).filter(is_directory).map(|entry| entry.path()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_found_below_its_mount() {
        let table = "\
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
60 31 0:38 /docker/x /mnt/part rw,relatime - cgroup2 cgroup2 rw
";
        let mounts = parse_mounts(table);
        let found: Vec<_> = directories(&mounts, "/docker/x/y").collect();
        assert_eq!(
            found,
            [Path::new("/sys/fs/cgroup/unified/docker/x/y"), Path::new("/mnt/part/y")]
        );
        let found: Vec<_> = directories(&mounts, "/").collect();
        assert_eq!(found, [Path::new("/sys/fs/cgroup/unified")]);
    }

    #[test]
    fn the_line_of_v2() {
        assert_eq!(parse_v2("9:name=systemd:/\n0::/user.slice\n"), Some("/user.slice"));
        assert_eq!(parse_v2("9:name=systemd:/\n"), None);
    }
}
