//! The side with rights.

use std::{
    collections::HashSet,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process, thread,
};

use anyhow::{Context as _, Result};
use foldhash::fast::FixedState;
use rustix::{
    io::Errno,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use zerocopy::IntoBytes;

use super::{
    CHUNK, EVERYBODY, FAILED, LIST, MEASURE, MOST, NAMESPACES, OPEN, ROW,
    lane::{Lane, unexpected, words},
};
use crate::host::{
    netns::{self, Netns},
    opening::Opening,
    socket_holders,
};

/// Answers on both sockets until nobody asks any more. What makes the kernel measure BPF programs
/// is had by `measure`.
///
/// # Errors
/// A question that is none: then somebody else asks than it was made for.
pub fn serve(
    namespaces: OwnedFd,
    holders: OwnedFd,
    measure: fn() -> Result<OwnedFd>,
) -> Result<()> {
    thread::Builder::new()
        .name("holders".to_owned())
        .spawn(move || end(&serve_holders(holders)))
        .context("cannot start a thread; raise the limit on tasks (ulimit -u)")?;
    serve_namespaces(namespaces, measure)
}

/// Answers on the lane of namespaces alone.
///
/// # Errors
/// As [`serve`].
pub fn serve_namespaces(lane: OwnedFd, measure: fn() -> Result<OwnedFd>) -> Result<()> {
    let home = netns::own()?;
    ended(loop_on(&Lane::new(lane), |lane| answer(lane, &home, measure)))
}

/// Answers on the lane of holders alone.
///
/// # Errors
/// As [`serve`].
pub fn serve_holders(lane: OwnedFd) -> Result<()> {
    ended(loop_on(&Lane::new(lane), answer_holders))
}

fn loop_on(lane: &Lane, mut answer: impl FnMut(&Lane) -> io::Result<()>) -> io::Error {
    loop {
        if let Err(error) = answer(lane) {
            return error;
        }
    }
}

/// Nobody asks any more, or something else is wrong.
fn ended(why: io::Error) -> Result<()> {
    match why.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset => Ok(()),
        _ => Err(why).context("the privileged helper ends"),
    }
}

/// The end of one lane is the end of all.
fn end(ended: &Result<()>) {
    if let Err(error) = ended {
        log::error!("{error:#}");
    }
    process::exit(if ended.is_ok() { 0 } else { 2 });
}

fn answer(lane: &Lane, home: &Netns, measure: fn() -> Result<OwnedFd>) -> io::Result<()> {
    // One more than any question has.
    let mut buffer = [0; 2];
    let mut question = lane.receive(&mut buffer)?;
    match (question.bytes, question.files.as_mut_slice()) {
        ([LIST], []) => list(lane),
        ([MEASURE], []) => {
            let measuring = measure().ok();
            let files: Vec<BorrowedFd<'_>> = measuring.iter().map(OwnedFd::as_fd).collect();
            lane.answer(false, &[], &files)
        }
        ([_], []) if question.files_are_missing => refuse(lane, Errno::MFILE),
        ([kind], [netns]) => {
            let opening = kind.checked_sub(OPEN).and_then(|at| Opening::ALL.get(usize::from(at)));
            open(lane, home, netns.as_fd(), *opening.ok_or_else(unexpected)?)
        }
        _ => Err(unexpected()),
    }
}

fn list(lane: &Lane) -> io::Result<()> {
    let listed = match netns::list() {
        Ok(listed) => listed,
        Err(error) => {
            let mut answer = FAILED.to_ne_bytes().to_vec();
            answer.extend(format!("{error:#}").bytes().take(512));
            return lane.answer(false, &answer, &[]);
        }
    };
    let unreadable = u32::try_from(listed.unreadable).unwrap_or(FAILED).min(FAILED - 1);
    let mut parts = listed.found.chunks(NAMESPACES).peekable();
    lane.answer(parts.peek().is_some(), &unreadable.to_ne_bytes(), &[])?;
    while let Some(part) = parts.next() {
        let handles: Vec<BorrowedFd<'_>> = part.iter().map(Netns::as_fd).collect();
        lane.answer(parts.peek().is_some(), &[], &handles)?;
    }
    Ok(())
}

/// The namespace could not be entered.
fn refuse(lane: &Lane, errno: Errno) -> io::Result<()> {
    lane.answer(false, &errno.raw_os_error().to_ne_bytes(), &[])
}

fn open(lane: &Lane, home: &Netns, netns: BorrowedFd<'_>, opening: Opening) -> io::Result<()> {
    let opened = match inside(home, netns, || opening.open()) {
        Ok(opened) => opened,
        Err(errno) => return refuse(lane, errno),
    };
    let mut answer = 0_i32.to_ne_bytes().to_vec();
    let mut files = Vec::new();
    for thing in &opened {
        let outcome = thing.as_ref().err().map_or(0, |errno| errno.raw_os_error());
        answer.extend(outcome.to_ne_bytes());
        files.extend(thing.as_ref().ok().map(OwnedFd::as_fd));
    }
    lane.answer(false, &answer, &files)
}

/// Does it in another namespace, which the kernel takes for nothing else than a network namespace.
fn inside<T>(home: &Netns, netns: BorrowedFd<'_>, work: impl FnOnce() -> T) -> Result<T, Errno> {
    let network = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(netns, network)?;
    let done = work();
    if move_into_link_name_space(home.as_fd(), network).is_err() {
        // Whatever is answered from here on would be of the wrong namespace.
        process::abort();
    }
    Ok(done)
}

fn answer_holders(lane: &Lane) -> io::Result<()> {
    let mut buffer = [0; 12];
    let question = lane.receive(&mut buffer)?;
    let ([of, wanted], rest) = words(question.bytes)?;
    if !rest.is_empty()
        || !question.files.is_empty()
        || wanted > MOST
        || (of > MOST && of != EVERYBODY)
    {
        return Err(unexpected());
    }
    let mut pids = vec![0; if of == EVERYBODY { 0 } else { of as usize }];
    lane.receive_words(&mut pids)?;
    let mut inodes = vec![0; wanted as usize];
    lane.receive_words(&mut inodes)?;
    let wanted: HashSet<u32, FixedState> = inodes.into_iter().collect();
    let found = if of == EVERYBODY {
        socket_holders::socket_holders(&wanted)
    } else {
        socket_holders::socket_holders_among(pids.into_iter(), &wanted)
    };
    let mut rows = Vec::with_capacity(found.len() * ROW);
    for (inode, holder) in found {
        let started = holder.started_ns;
        rows.extend([inode, holder.pid, started as u32, (started >> 32) as u32]);
    }
    let mut parts = rows.chunks(CHUNK).peekable();
    lane.answer(parts.peek().is_some(), &[], &[])?;
    while let Some(part) = parts.next() {
        lane.answer(parts.peek().is_some(), part.as_bytes(), &[])?;
    }
    Ok(())
}
