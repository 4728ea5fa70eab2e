//! Network namespaces: finding them, naming them, working inside one.

use std::{
    collections::{BTreeMap, HashSet, btree_map::Entry},
    ffi::CStr,
    fmt::Write as _,
    fs::{self, File},
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd},
    panic,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::{
    fs::{AtFlags, CWD, Dir, Mode, OFlags},
    io::Errno,
    thread::LinkNameSpaceType,
};

use super::{
    facts::{Capability, capabilities},
    helper::{Helper, Patience},
    opening::{Opened, Opening},
};

/// The namespace of the calling thread, which `/proc/self` would not give:
/// that one is the thread group leader's.
const OWN: &str = "/proc/thread-self/ns/net";

/// Where `ip netns` keeps its names.
const NAMED: &str = "/run/netns";

/// `NSFS_MAGIC`, the file system of open namespaces:
/// [`magic.h`](https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/magic.h).
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// An open network namespace. It lives at least as long as this handle.
#[derive(Debug)]
pub struct Netns {
    /// Its inode on nsfs: the number that names it everywhere in twtrace, and
    /// in `ls -l /proc/PID/ns/net`. Unique among the namespaces that live.
    pub inode: u32,
    handle: File,
    /// Who enters it, and how long that may take; nobody but ourselves, if there is no one.
    helper: Option<(Arc<Helper>, Patience)>,
}

impl Netns {
    /// From now on it is entered through `helper`.
    pub(super) fn enter_through(&mut self, helper: &Arc<Helper>, patience: Patience) {
        self.helper = Some((Arc::clone(helper), patience));
    }

    /// Opens something inside, the way that leads there.
    ///
    /// # Errors
    /// If the namespace may not be entered, which takes `CAP_SYS_ADMIN`, or the helper is gone or
    /// late.
    pub(super) fn open(&self, opening: Opening) -> Result<Opened> {
        match &self.helper {
            Some((helper, patience)) if own_inode()? != self.inode => {
                helper.open(self, self.as_fd(), opening, *patience)
            }
            _ => within(self, || opening.open()),
        }
    }

    /// Says why nothing in it can be looked at, if that is so.
    ///
    /// # Errors
    /// The reason.
    pub fn reachable(&self) -> Result<()> {
        self.open(Opening::SockDiag).map(drop)
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// What [`list`] found.
#[derive(Debug)]
pub struct NetnsList {
    /// Each namespace once, by ascending inode; the caller's own is among them.
    pub found: Vec<Netns>,
    /// Processes whose namespace the caller may not see; a namespace that only
    /// such processes hold is missing in `found`. With `CAP_SYS_PTRACE` this is 0:
    /// nothing would show what the host hides even so.
    pub unreadable: usize,
}

/// The calling thread's own namespace.
///
/// # Errors
/// If /proc is not mounted or the process is out of file descriptors.
pub fn own() -> Result<Netns> {
    open_at(CWD, OWN).and_then(known_namespace).with_context(|| format!("cannot open {OWN}"))
}

/// Every network namespace that can be reached: the caller's, those of all
/// processes and threads, those of `ip netns`, and those that are mounted
/// anywhere in the caller's mount namespace (Docker and CNI keep theirs so).
///
/// One readlink and one stat per process, one readlink per thread; only a
/// namespace not seen before is opened, and stays open in the result.
///
/// # Errors
/// If /proc cannot be read or the process is out of file descriptors.
/// Processes that vanish meanwhile are no error.
pub(super) fn list() -> Result<NetnsList> {
    let mut finder = Finder::default();
    finder.keep(own()?);
    finder.mounted()?;
    finder.named()?;
    finder.processes()?;
    let sees_all = capabilities().has(Capability::SysPtrace);
    let unreadable = if sees_all { 0 } else { finder.unreadable };
    Ok(NetnsList { found: finder.found.into_values().collect(), unreadable })
}

/// The inode that a `--netns` argument means: an inode number, a name of
/// `ip netns`, `pid:N` or `self`.
///
/// A number is an inode first, and a name only if no namespace has that inode.
///
/// # Errors
/// If there is no such namespace now, or it may not be seen.
pub fn resolve(spec: &str) -> Result<u32> {
    if spec == "self" {
        return Ok(own()?.inode);
    }
    if let Some(pid) = spec.strip_prefix("pid:") {
        return of_process(pid);
    }
    match spec.parse() {
        Ok(inode) => of_inode(inode, spec),
        Err(_) => of_name(spec),
    }
}

/// Runs `f` inside `netns`, in a thread of its own that ends with it, so that
/// the caller never leaves its namespace. In the caller's own namespace `f`
/// runs right here and needs no privilege.
///
/// What `f` opens stays in that namespace wherever it is used later. /proc/net
/// and /proc/self/net are the thread group leader's: read /proc/thread-self/net.
///
/// # Errors
/// If the namespace may not be entered, which takes `CAP_SYS_ADMIN`.
///
/// # Panics
/// If `f` does.
pub fn within<T: Send>(netns: &Netns, f: impl FnOnce() -> T + Send) -> Result<T> {
    if own_inode()? == netns.inode {
        return Ok(f());
    }
    let inside = || enter(netns).map(|()| f());
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, inside)
            .context("cannot start a thread; raise the limit on tasks (ulimit -u, pids.max)")?;
        worker.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
    })
}

fn enter(netns: &Netns) -> Result<()> {
    rustix::thread::move_into_link_name_space(
        netns.handle.as_fd(),
        Some(LinkNameSpaceType::Network),
    )
    .map_err(|errno| match errno {
        Errno::PERM => anyhow!(
            "may not enter network namespace {}: run as root or give CAP_SYS_ADMIN, or use --netns self",
            netns.inode
        ),
        other => anyhow!("cannot enter network namespace {}: {other}", netns.inode),
    })
}

/// Collects namespaces, each once.
#[derive(Default)]
struct Finder {
    found: BTreeMap<u32, Netns>,
    unreadable: usize,
}

impl Finder {
    fn keep(&mut self, netns: Netns) {
        self.found.entry(netns.inode).or_insert(netns);
    }

    /// Opens `path` if it is a namespace that exists; the inode may have
    /// changed since it was looked at, so the open file's counts.
    fn open(&mut self, dir: impl AsFd, path: impl rustix::path::Arg) -> Result<()> {
        match open_at(dir, path).and_then(namespace) {
            Ok(Some(netns)) => self.keep(netns),
            Err(error) if out_of_files(&error) => {
                return Err(error).context("too many network namespaces; raise `ulimit -n`");
            }
            // Gone, a leftover, or not ours to see.
            Ok(None) | Err(_) => {}
        }
        Ok(())
    }

    fn mounted(&mut self) -> Result<()> {
        let table = fs::read("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
        for (inode, path) in mounted_namespaces(&String::from_utf8_lossy(&table)) {
            if !self.found.contains_key(&inode) {
                self.open(CWD, path)?;
            }
        }
        Ok(())
    }

    /// Mounts are found already; this is for links to them or to /proc/PID/ns/net.
    fn named(&mut self) -> Result<()> {
        let Ok(names) = fs::read_dir(NAMED) else {
            return Ok(());
        };
        for name in names.flatten() {
            self.open(CWD, name.path())?;
        }
        Ok(())
    }

    fn processes(&mut self) -> Result<()> {
        let proc = open_dir(CWD, "/proc").context("cannot read /proc: mount it")?;
        let mut path = String::new();
        for entry in Dir::read_from(&proc).context("cannot read /proc: mount it")? {
            // An error ends the listing; it never happens on a mounted /proc.
            let entry = entry.context("cannot list /proc")?;
            let Some(pid) = number(entry.file_name()) else {
                continue;
            };
            set(&mut path, format_args!("{pid}/ns/net"));
            if self.process(proc.as_fd(), &path)? {
                set(&mut path, format_args!("{pid}/task"));
                self.threads(proc.as_fd(), pid, &path)?;
            }
        }
        Ok(())
    }

    /// Returns whether its threads are worth a look, too.
    fn process(&mut self, proc: BorrowedFd<'_>, path: &str) -> Result<bool> {
        match link_inode(proc, path) {
            Ok(inode) => self.new_inode(inode, proc, path)?,
            Err(Errno::ACCESS | Errno::PERM) => {
                self.unreadable += 1;
                return Ok(false);
            }
            // A zombie leader has no namespace, but its threads may live on.
            Err(_) => {}
        }
        Ok(true)
    }

    fn threads(&mut self, proc: BorrowedFd<'_>, pid: u32, path: &str) -> Result<()> {
        if thread_count(proc, path) < 2 {
            return Ok(());
        }
        let Ok(tasks) = open_dir(proc, path) else {
            return Ok(());
        };
        let Ok(entries) = Dir::read_from(&tasks) else {
            return Ok(());
        };
        let mut link = String::new();
        for tid in entries.map_while(Result::ok).filter_map(|entry| number(entry.file_name())) {
            if tid == pid {
                continue;
            }
            set(&mut link, format_args!("{tid}/ns/net"));
            if let Ok(inode) = link_inode(tasks.as_fd(), &link) {
                self.new_inode(inode, tasks.as_fd(), &link)?;
            }
        }
        Ok(())
    }

    fn new_inode(&mut self, inode: u32, dir: BorrowedFd<'_>, path: &str) -> Result<()> {
        match self.found.entry(inode) {
            Entry::Occupied(_) => Ok(()),
            Entry::Vacant(_) => self.open(dir, path),
        }
    }
}

/// /proc/PID/task has two links and one for each thread
/// ([`proc_task_getattr`](https://github.com/torvalds/linux/blob/v6.12/fs/proc/base.c)),
/// so one stat spares the listing for the many processes with one thread.
fn thread_count(proc: BorrowedFd<'_>, task_dir: &str) -> u64 {
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_cast,
        reason = "st_nlink has another width on other architectures"
    )]
    rustix::fs::statat(proc, task_dir, AtFlags::empty())
        .map_or(0, |stat| (stat.st_nlink as u64).saturating_sub(2))
}

fn set(buffer: &mut String, text: std::fmt::Arguments<'_>) {
    buffer.clear();
    // Writing to a String cannot fail.
    let _ = buffer.write_fmt(text);
}

fn number(name: &CStr) -> Option<u32> {
    name.to_str().ok()?.parse().ok()
}

fn open_dir(dir: impl AsFd, path: &str) -> rustix::io::Result<rustix::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, path, flags, Mode::empty())
}

/// Non-blocking, since anything may lie in /run/netns, a FIFO for instance.
fn open_at(dir: impl AsFd, path: impl rustix::path::Arg) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(rustix::fs::openat(dir, path, flags, Mode::empty())?.into())
}

fn out_of_files(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// `None` if the file is not a namespace, such as the plain file that is left
/// of a name of `ip netns` when its mount is gone.
pub(super) fn namespace(handle: File) -> io::Result<Option<Netns>> {
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_lossless,
        reason = "f_type and st_ino have other widths on other architectures"
    )]
    let (magic, inode) =
        (rustix::fs::fstatfs(&handle)?.f_type as u64, rustix::fs::fstat(&handle)?.st_ino as u64);
    let inode = u32::try_from(inode).ok().filter(|_| magic == NSFS_MAGIC);
    Ok(inode.map(|inode| Netns { inode, handle, helper: None }))
}

fn known_namespace(handle: File) -> io::Result<Netns> {
    namespace(handle)?.ok_or_else(|| io::Error::other("not a namespace"))
}

fn own_inode() -> Result<u32> {
    link_inode(CWD, OWN).with_context(|| format!("cannot read {OWN}: mount /proc"))
}

/// Reads a /proc/PID/ns/net link without allocating: this runs once per thread of the host.
pub(super) fn link_inode(dir: impl AsFd, path: &str) -> rustix::io::Result<u32> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 32];
    let (target, _) = rustix::fs::readlinkat_raw(dir, path, &mut buffer)?;
    std::str::from_utf8(target).ok().and_then(label_inode).ok_or(Errno::INVAL)
}

/// The inode in `net:[4026531833]`, how the kernel writes it:
/// [`ns_get_name`](https://github.com/torvalds/linux/blob/v6.12/fs/nsfs.c).
pub fn label_inode(label: &str) -> Option<u32> {
    label.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// Inode and mount point of each network namespace in a mountinfo table
/// ([proc_pid_mountinfo(5)](https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html)):
/// the root of such a mount is the namespace's label.
pub fn mounted_namespaces(mountinfo: &str) -> Vec<(u32, PathBuf)> {
    let mut seen = HashSet::new();
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(3);
        let inode = label_inode(fields.next()?)?;
        Some((inode, PathBuf::from(unescape_mount(fields.next()?))))
    };
    mountinfo.lines().filter_map(mount).filter(|(inode, _)| seen.insert(*inode)).collect()
}

/// Undoes the octal escapes of mountinfo: space, tab, newline and backslash
/// ([`show_mountinfo`](https://github.com/torvalds/linux/blob/v6.12/fs/proc_namespace.c)).
pub fn unescape_mount(field: &str) -> String {
    let mut plain = String::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|code| u8::from_str_radix(code, 8).ok());
        let (character, length) = match code {
            Some(code) if code.is_ascii() => (char::from(code), 4),
            _ => ('\\', 1),
        };
        plain.push(character);
        rest = &rest[at + length..];
    }
    plain + rest
}

fn of_process(pid: &str) -> Result<u32> {
    let pid: u32 = pid
        .parse()
        .map_err(|_| anyhow!("`pid:{pid}` names no process: give pid:N with a process id"))?;
    link_inode(CWD, &format!("/proc/{pid}/ns/net")).map_err(|errno| match errno {
        Errno::ACCESS | Errno::PERM => {
            anyhow!("may not see the network namespace of process {pid}: run as root or give CAP_SYS_PTRACE")
        }
        Errno::NOENT => anyhow!("no process {pid}, or it has ended: `ps -e` shows process ids"),
        other => anyhow!("cannot read /proc/{pid}/ns/net: {other}"),
    })
}

fn of_inode(inode: u32, spec: &str) -> Result<u32> {
    let NetnsList { found, unreadable } = list()?;
    if found.iter().any(|netns| netns.inode == inode) {
        return Ok(inode);
    }
    if Path::new(NAMED).join(spec).exists() {
        return of_name(spec);
    }
    let hidden = match unreadable {
        0 => String::new(),
        count => format!(" ({count} processes could not be read: CAP_SYS_PTRACE shows theirs)"),
    };
    bail!(
        "no network namespace has inode {inode} now{hidden}: `ls -l /proc/PID/ns/net` shows one, or give pid:N, self or a name of `ip netns`"
    )
}

fn of_name(name: &str) -> Result<u32> {
    // A name is one path component; anything else would leave the folder.
    if matches!(name, "" | "." | "..") || name.contains('/') {
        bail!("`{name}` cannot name a network namespace: {HOW_TO_NAME}");
    }
    let path = Path::new(NAMED).join(name);
    match open_at(CWD, &path).and_then(namespace) {
        Ok(Some(netns)) => Ok(netns.inode),
        Ok(None) => bail!(
            "{} is left over from a network namespace that is gone: `ip netns delete {name}` removes it",
            path.display()
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("no network namespace `{name}`: {HOW_TO_NAME}")
        }
        Err(error) => Err(error).with_context(|| format!("cannot open {}", path.display())),
    }
}

const HOW_TO_NAME: &str = "`ip netns list` shows names, or give pid:N, self or an inode number";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_own_namespace_is_listed_and_resolved() {
        let own = own().unwrap().inode;
        assert!(list().unwrap().found.iter().any(|netns| netns.inode == own));
        assert_eq!(resolve("self").unwrap(), own);
        assert_eq!(resolve(&own.to_string()).unwrap(), own);
        assert_eq!(resolve(&format!("pid:{}", std::process::id())).unwrap(), own);
    }

    #[test]
    fn each_namespace_is_listed_once() {
        let found = list().unwrap().found;
        assert!(found.windows(2).all(|pair| pair[0].inode < pair[1].inode));
    }

    #[test]
    fn own_namespace_needs_no_thread() {
        let caller = thread::current().id();
        let inside = within(&own().unwrap(), || thread::current().id()).unwrap();
        assert_eq!(inside, caller);
    }

    #[test]
    fn what_names_nothing_is_refused_in_one_line() {
        for spec in ["", "..", "a/b", "no-such-name", "pid:", "pid:x", "pid:4294967295", "1", "-1"]
        {
            let error = format!("{:#}", resolve(spec).unwrap_err());
            assert!(!error.contains('\n') && error.contains(':'), "{spec}: {error}");
        }
        assert_eq!(
            resolve("foo-bar").unwrap_err().to_string(),
            "no network namespace `foo-bar`: `ip netns list` shows names, or give pid:N, self or an inode number"
        );
    }

    #[test]
    fn plain_files_are_no_namespaces() {
        assert!(namespace(File::open("/proc/self/stat").unwrap()).unwrap().is_none());
    }

    #[test]
    fn mounts_of_namespaces_are_found_once() {
        let table = "\
22 1 0:21 / /proc rw - proc proc rw
90 25 0:4 net:[4026532200] /run/docker/netns/default rw shared:5 - nsfs nsfs rw
91 25 0:4 net:[4026532201] /run/netns/with\\040space rw - nsfs nsfs rw
92 25 0:4 mnt:[4026532202] /run/mnt rw - nsfs nsfs rw
93 25 0:4 net:[4026532200] /run/netns/again rw - nsfs nsfs rw
94 25 0:4 net:[oops] /x rw - nsfs nsfs rw
95 25 0:4 net:[4026532209]
";
        assert_eq!(
            mounted_namespaces(table),
            [
                (4_026_532_200, PathBuf::from("/run/docker/netns/default")),
                (4_026_532_201, PathBuf::from("/run/netns/with space")),
            ]
        );
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape_mount(r"/a\040b\011c\134d"), "/a b\tc\\d");
        assert_eq!(unescape_mount(r"/cut\04"), r"/cut\04");
        assert_eq!(unescape_mount(r"\é\777\"), r"\é\777\");
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".*", label in "net:\\[.{0,12}\\]") {
            let _ = (unescape_mount(&text), mounted_namespaces(&text), label_inode(&label));
        }
    }
}
