//! The side without rights.

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use foldhash::fast::FixedState;
use log::warn;
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketFlags, SocketType, socketpair,
        sockopt::{Timeout, set_socket_timeout},
    },
};

use super::{
    EVERYBODY, FAILED, LIST, MEASURE, MOST, NAMESPACES, OPEN, ROW,
    lane::{Lane, unexpected, words},
};
use crate::host::{
    netns::{Netns, NetnsList, namespace},
    opening::{Opened, Opening},
    socket_holders::Holder,
};

/// How long an answer may take: a second on a large host, and longer on a busy one.
const PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE_FOR_HOLDERS: Duration = Duration::from_secs(60);
/// How long it may take to end.
const END: Duration = Duration::from_secs(1);

/// The helper, as long as it is there; dropped, it ends.
#[derive(Debug)]
pub struct Helper {
    namespaces: Mutex<Option<Lane>>,
    holders: Mutex<Option<Lane>>,
    is_lost: AtomicBool,
    child: Mutex<Child>,
}

impl Helper {
    /// Starts this program once more, with the subcommand `name`. It has the rights that this
    /// process has now.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(name: &str) -> Result<Self> {
        let (namespaces, its_namespaces) = pair(PATIENCE)?;
        let (holders, its_holders) = pair(PATIENCE_FOR_HOLDERS)?;
        let child = Command::new("/proc/self/exe")
            .arg(name)
            .stdin(Stdio::from(its_namespaces))
            .stdout(Stdio::from(its_holders))
            // Ctrl-C is for us: it is still asked for what is told last.
            .process_group(0)
            .current_dir("/")
            .env_clear()
            .spawn()
            .context("cannot start the privileged helper: mount /proc, or use --privileges drop")?;
        Ok(Self {
            namespaces: Mutex::new(Some(namespaces)),
            holders: Mutex::new(Some(holders)),
            is_lost: AtomicBool::new(false),
            child: Mutex::new(child),
        })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).id()
    }

    /// Whether it has ended, or does not answer: then nothing can be asked any more.
    pub fn is_lost(&self) -> bool {
        let ended = || {
            let ended = self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait();
            ended.ok().flatten()
        };
        let is_lost = self.is_lost.load(Ordering::Relaxed);
        if let Some(status) = (!is_lost).then(ended).flatten() {
            self.lose(&status);
            return true;
        }
        is_lost
    }

    /// Says it, the first time.
    fn lose(&self, why: &dyn Display) {
        if !self.is_lost.swap(true, Ordering::Relaxed) {
            warn!(
                "the privileged helper is gone ({why}): other network namespaces and who holds \
                 sockets are unknown from now on; restart twtrace"
            );
        }
    }

    /// Every namespace that it can reach, open.
    pub(in crate::host) fn list(&self) -> Result<NetnsList> {
        let listed = self.ask(&self.namespaces, |lane| {
            lane.send(&[LIST], &[])?;
            let mut buffer = [0; 1024];
            let (answer, _) = lane.receive(&mut buffer)?;
            let ([count, unreadable], reason) = words(answer)?;
            if count == FAILED {
                return Ok(Err(String::from_utf8_lossy(reason).into_owned()));
            }
            let mut found = Vec::new();
            while found.len() < count as usize {
                let (_, files) = lane.receive(&mut buffer)?;
                let arrived = files.len();
                for file in files {
                    found.extend(namespace(File::from(file))?);
                }
                if !(1..=NAMESPACES).contains(&arrived) {
                    return Err(unexpected());
                }
            }
            Ok(Ok(NetnsList { found, unreadable: unreadable as usize }))
        })?;
        listed.map_err(|reason| anyhow!("{reason}"))
    }

    /// Opens it in the namespace `netns`.
    pub(in crate::host) fn open(
        &self,
        netns: &Netns,
        handle: BorrowedFd<'_>,
        opening: Opening,
    ) -> Result<Opened> {
        let entered = self.ask(&self.namespaces, |lane| {
            lane.send(&[OPEN + opening as u8], &[handle])?;
            let mut buffer = [0; 1024];
            let (answer, files) = lane.receive(&mut buffer)?;
            opened(answer, files, opening)
        })?;
        entered.map_err(|errno| {
            anyhow!("the privileged helper cannot enter network namespace {}: {errno}", netns.inode)
        })
    }

    /// What makes the kernel measure BPF programs as long as it is open.
    pub(in crate::host) fn measuring(&self) -> Result<OwnedFd> {
        let measuring = self.ask(&self.namespaces, |lane| {
            lane.send(&[MEASURE], &[])?;
            let mut buffer = [0; 4];
            let (_, mut files) = lane.receive(&mut buffer)?;
            Ok(files.pop())
        })?;
        measuring.context("the privileged helper has no CAP_SYS_ADMIN to measure programs with")
    }

    /// Who holds sockets, among `pids` or everybody; nothing is known without an answer.
    pub(in crate::host) fn holders(
        &self,
        pids: Option<&[u32]>,
        wanted: &HashSet<u32, FixedState>,
    ) -> HashMap<u32, Holder, FixedState> {
        let most = MOST as usize;
        let pids = pids.map(|pids| &pids[..pids.len().min(most)]);
        let wanted: Vec<u32> = wanted.iter().copied().take(most).collect();
        let asked = self.ask(&self.holders, |lane| {
            let of = pids.map_or(EVERYBODY, |pids| pids.len() as u32);
            lane.send_words(&[of, wanted.len() as u32])?;
            lane.send_words(pids.unwrap_or_default())?;
            lane.send_words(&wanted)?;
            let mut count = [0];
            lane.receive_words(&mut count)?;
            if count[0] > MOST {
                return Err(unexpected());
            }
            let mut rows = vec![0; count[0] as usize * ROW];
            lane.receive_words(&mut rows)?;
            Ok(rows)
        });
        let rows = asked.unwrap_or_default();
        let (rows, _) = rows.as_chunks::<ROW>();
        let holder = |&[inode, pid, low, high]: &[u32; ROW]| {
            (inode, Holder { started_ns: u64::from(low) | u64::from(high) << 32, pid })
        };
        rows.iter().map(holder).collect()
    }

    /// Asks on one lane. Whatever goes wrong there is its end.
    fn ask<T>(
        &self,
        lane: &Mutex<Option<Lane>>,
        question: impl FnOnce(&Lane) -> io::Result<T>,
    ) -> Result<T> {
        let mut lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
        let is_lost = self.is_lost.load(Ordering::Relaxed);
        let open = lane.as_ref().filter(|_| !is_lost).ok_or_else(lost)?;
        question(open).map_err(|error| {
            *lane = None;
            self.lose(&error);
            lost()
        })
    }
}

fn lost() -> anyhow::Error {
    anyhow!("the privileged helper is gone: restart twtrace")
}

/// What was opened: why the namespace could not be entered, or 0, and then the same of each thing.
fn opened(
    answer: &[u8],
    files: Vec<OwnedFd>,
    opening: Opening,
) -> io::Result<Result<Opened, Errno>> {
    let ([entered], answer) = words(answer)?;
    if entered != 0 {
        return Ok(Err(errno(entered)));
    }
    let (mut rest, mut files, mut opened) = (answer, files.into_iter(), Vec::new());
    while !rest.is_empty() {
        let ([outcome], after) = words(rest)?;
        rest = after;
        opened.push(match outcome {
            0 => Ok(files.next().ok_or_else(unexpected)?),
            other => Err(errno(other)),
        });
    }
    if opened.len() == opening.count() { Ok(Ok(opened)) } else { Err(unexpected()) }
}

fn errno(raw: u32) -> Errno {
    Errno::from_raw_os_error(i32::try_from(raw).unwrap_or(i32::MAX) & 0xfff)
}

/// Ours, and the helper's.
fn pair(patience: Duration) -> Result<(Lane, OwnedFd)> {
    let sockets =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let (ours, its) = sockets.context("cannot make a socket pair")?;
    for side in [Timeout::Recv, Timeout::Send] {
        set_socket_timeout(ours.as_fd(), side, Some(patience))
            .context("cannot set up a socket pair")?;
    }
    Ok((Lane::new(ours), its))
}

impl Drop for Helper {
    fn drop(&mut self) {
        for lane in [&mut self.namespaces, &mut self.holders] {
            *lane.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        }
        // That is what it ends by. One that was stopped is not waited for.
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + END;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }
}
