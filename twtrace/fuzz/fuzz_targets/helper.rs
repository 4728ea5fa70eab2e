//! What somebody without rights asks of the privileged helper.
//!
//! The first byte says on which lane. Then come messages: a length, what file comes with it, and
//! the bytes.
#![no_main]

use std::{
    fs::File,
    io::IoSlice,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use anyhow::{Result, bail};
use libfuzzer_sys::fuzz_target;
use rustix::{
    fs::{OFlags, fcntl_getfl, fstat},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recvmsg, sendmsg,
        shutdown, socketpair,
    },
};
use twtrace::host::{serve_holders, serve_namespaces};

/// Questions of one conversation: their answers wait until nobody asks any more.
const QUESTIONS: usize = 8;
/// No answer is longer.
const LONGEST: usize = 64 << 10;

fuzz_target!(|data: &[u8]| {
    let &[lane, ref messages @ ..] = data else { return };
    let (ours, its) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .expect("a socket pair");
    let asked = ask(&ours, messages);
    shutdown(&ours, Shutdown::Write).expect("it is open");
    let served = if lane & 1 == 0 { serve_namespaces(its, no_measure) } else { serve_holders(its) };
    if let Err(error) = &served {
        assert!(!format!("{error:#}").contains('\n'), "{error:#}");
    }
    let answered = hear(&ours);
    assert!(answered <= asked, "{answered} answers to {asked} messages");
    if served.is_ok() && lane & 1 == 0 {
        assert_eq!(answered, asked, "each question has an answer");
    }
});

fn no_measure() -> Result<OwnedFd> {
    bail!("not here")
}

fn ask(lane: &OwnedFd, mut messages: &[u8]) -> usize {
    let files = ["/proc/self/ns/net", "/dev/null", "/proc/self/ns/mnt", "/proc/self/ns/pid"];
    let mut asked = 0;
    while let &[length, file, ref rest @ ..] = messages
        && asked < QUESTIONS
    {
        let (bytes, rest) = rest.split_at(rest.len().min(length.into()));
        messages = rest;
        if bytes.is_empty() {
            continue;
        }
        let opened = files.get(usize::from(file)).map(|path| File::open(path).expect("a file"));
        let handles: Vec<BorrowedFd<'_>> = opened.iter().map(File::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !handles.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&handles)));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(lane, &[IoSlice::new(bytes)], &mut control, flags).expect("there is room");
        asked += 1;
    }
    asked
}

/// Answers, to their end; nothing that comes with them can be written.
fn hear(lane: &OwnedFd) -> usize {
    let mut answers = 0;
    let mut buffer = vec![0; LONGEST];
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(128))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [std::io::IoSliceMut::new(&mut buffer)];
        let heard = match recvmsg(lane, &mut parts, &mut control, RecvFlags::DONTWAIT) {
            Ok(heard) if heard.bytes > 0 => heard,
            Ok(_) | Err(Errno::CONNRESET) => return answers,
            Err(errno) => panic!("{errno}"),
        };
        let &[more, ..] = buffer[..heard.bytes].as_chunks::<4>().0 else {
            panic!("a word is first")
        };
        let more = u32::from_ne_bytes(more);
        assert!(more <= 1, "{more}");
        answers += usize::from(more == 0);
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                files.for_each(|file| is_harmless(&file));
            }
        }
    }
}

fn is_harmless(file: &OwnedFd) {
    let is_socket =
        rustix::fs::FileType::from_raw_mode(fstat(file).expect("it is open").st_mode).is_socket();
    let access = fcntl_getfl(file).expect("it is open") & (OFlags::RDWR | OFlags::WRONLY);
    assert!(is_socket || access.is_empty(), "a file can be written: {access:?}");
}
