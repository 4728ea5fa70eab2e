//! The side without rights.

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    fs::File,
    io,
    os::{
        fd::{BorrowedFd, OwnedFd},
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
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
};

use super::{
    EVERYBODY, FAILED, LIST, LONGEST, MEASURE, MOST, NAMESPACES, OPEN, ROW,
    asker::{Asker, Patience, Turns, is_passing},
    lane::{Lane, unexpected, words},
};
use crate::host::{
    netns::{Netns, NetnsList, namespace},
    opening::{Opened, Opening},
    socket_holders::Holder,
};

/// How long it may take to end.
const END: Duration = Duration::from_secs(1);

/// The helper, as long as it is there; dropped, it ends.
#[derive(Debug)]
pub struct Helper {
    namespaces: Turns,
    holders: Turns,
    /// Whether it was said that it does not answer for now.
    is_late: AtomicBool,
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
        let (namespaces, its_namespaces) = pair()?;
        let (holders, its_holders) = pair()?;
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
            namespaces: Turns::new(namespaces),
            holders: Turns::new(holders),
            is_late: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
            child: Mutex::new(child),
        })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).id()
    }

    /// Whether it has ended, or talks nonsense: then nothing can be asked any more.
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
    pub(in crate::host) fn list(&self, patience: Patience) -> Result<NetnsList> {
        let listed = self.ask(&self.namespaces, patience, |lane| {
            lane.ask(&[LIST], &[])?;
            let mut buffer = [0; 1024];
            let (answer, _) = lane.hear(&mut buffer)?;
            let ([unreadable], reason) = words(answer)?;
            if unreadable == FAILED {
                return Ok(Err(String::from_utf8_lossy(reason).into_owned()));
            }
            let mut found = Vec::new();
            while lane.is_owed() {
                let (_, files) = lane.hear(&mut buffer)?;
                if !(1..=NAMESPACES).contains(&files.len()) {
                    return Err(unexpected());
                }
                for file in files {
                    found.extend(namespace(File::from(file))?);
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
        patience: Patience,
    ) -> Result<Opened> {
        let entered = self.ask(&self.namespaces, patience, |lane| {
            lane.ask(&[OPEN + opening as u8], &[handle])?;
            let mut buffer = [0; 1024];
            let (answer, files) = lane.hear_last(&mut buffer)?;
            opened(answer, files, opening)
        })?;
        entered.map_err(|errno| {
            anyhow!("the privileged helper cannot enter network namespace {}: {errno}", netns.inode)
        })
    }

    /// What makes the kernel measure BPF programs as long as it is open; if that is had at once.
    pub(in crate::host) fn measuring(&self) -> Result<OwnedFd> {
        let measuring = self.ask(&self.namespaces, Patience::Moment, |lane| {
            lane.ask(&[MEASURE], &[])?;
            let mut buffer = [0; 8];
            let (_, mut files) = lane.hear_last(&mut buffer)?;
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
        let asked = self.ask(&self.holders, Patience::Long, |lane| {
            let of = pids.map_or(EVERYBODY, |pids| pids.len() as u32);
            lane.ask_words(&[&[of, wanted.len() as u32], pids.unwrap_or_default(), &wanted])?;
            rows(lane)
        });
        let rows = asked.unwrap_or_default();
        let (rows, _) = rows.as_chunks::<ROW>();
        let holder = |&[inode, pid, low, high]: &[u32; ROW]| {
            (inode, Holder { started_ns: u64::from(low) | u64::from(high) << 32, pid })
        };
        rows.iter().map(holder).collect()
    }

    /// Asks on one lane.
    fn ask<T>(
        &self,
        lane: &Turns,
        patience: Patience,
        question: impl FnOnce(&mut Asker) -> io::Result<T>,
    ) -> Result<T> {
        if self.is_lost.load(Ordering::Relaxed) {
            return Err(lost());
        }
        match lane.ask(patience, question) {
            Ok(answer) => {
                self.is_late.store(false, Ordering::Relaxed);
                Ok(answer)
            }
            Err(error) if is_passing(&error) => {
                self.say_late(&error, patience);
                Err(anyhow!("the privileged helper has not answered: {}", reason(&error)))
            }
            Err(error) => {
                self.lose(&error);
                Err(lost())
            }
        }
    }

    /// Says it, once until it answers again; that one could not wait is not worth a line.
    fn say_late(&self, why: &io::Error, patience: Patience) {
        if patience.is_long() && !self.is_late.swap(true, Ordering::Relaxed) {
            warn!(
                "the privileged helper does not answer ({}): other network namespaces and who \
                 holds sockets may be unknown until it does",
                reason(why)
            );
        }
    }
}

/// Why there is no answer this time.
fn reason(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::TOOMANYREFS) => {
            "out of file descriptors; raise `ulimit -n`"
        }
        Some(Errno::NOBUFS | Errno::NOMEM) => "out of memory",
        _ => "too late; `ps` shows whether it is stopped",
    }
}

/// The answer about holders.
fn rows(lane: &mut Asker) -> io::Result<Vec<u32>> {
    let (mut rows, mut buffer) = (Vec::new(), vec![0; LONGEST]);
    loop {
        let (part, _) = lane.hear(&mut buffer)?;
        let (words, rest) = part.as_chunks::<{ size_of::<u32>() }>();
        rows.extend(words.iter().map(|word| u32::from_ne_bytes(*word)));
        if !rest.is_empty() || rows.len() > MOST as usize * ROW {
            return Err(unexpected());
        }
        if !lane.is_owed() {
            return Ok(rows);
        }
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
    // No error has the number 0, and rustix takes none above the kernel's last.
    let known = |raw: &i32| (1..4096).contains(raw);
    Errno::from_raw_os_error(i32::try_from(raw).ok().filter(known).unwrap_or(4095))
}

/// Ours, and the helper's.
fn pair() -> Result<(Lane, OwnedFd)> {
    let sockets =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let (ours, its) = sockets.context("cannot make a socket pair")?;
    Ok((Lane::new(ours), its))
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.namespaces.end();
        self.holders.end();
        // That is what it ends by. One that was stopped is not waited for.
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + END;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_an_error() {
        let known = Errno::PERM.raw_os_error() as u32;
        assert_eq!(errno(known), Errno::PERM);
        for raw in [0, 4096, 0x1000_0000, u32::MAX] {
            assert_eq!(errno(raw).raw_os_error(), 4095, "{raw}");
        }
    }
}
