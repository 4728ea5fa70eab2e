//! Messages with descriptors, one at a time.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
        sockopt::{Timeout, set_socket_timeout},
    },
};
use zerocopy::{FromBytes, IntoBytes};

use super::NAMESPACES;

/// One end of a SOCK_SEQPACKET pair: a message comes whole, or not at all.
#[derive(Debug)]
pub(super) struct Lane(OwnedFd);

/// What has come, and the descriptors with it.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) files: Vec<OwnedFd>,
    /// Whether there were more descriptors than this process may have open.
    pub(super) files_are_missing: bool,
}

impl Lane {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    pub(super) fn send(&self, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(NAMESPACES))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
            return Err(io::Error::other("too many descriptors for a message"));
        }
        loop {
            match sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                sent => return Ok(sent.map(drop)?),
            }
        }
    }

    /// The same, unless that takes too long ([`Errno::AGAIN`]).
    pub(super) fn send_until(
        &self,
        until: Instant,
        bytes: &[u8],
        files: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        set_socket_timeout(&self.0, Timeout::Send, Some(left(until)))?;
        self.send(bytes, files)
    }

    /// A message of no more than `buffer` holds, unless that takes too long ([`Errno::AGAIN`]).
    pub(super) fn receive_until<'a>(
        &self,
        until: Instant,
        buffer: &'a mut [u8],
    ) -> io::Result<Message<'a>> {
        set_socket_timeout(&self.0, Timeout::Recv, Some(left(until)))?;
        self.receive(buffer)
    }

    /// A message of no more than `buffer` holds. That the other end is closed is an error, too.
    pub(super) fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Message<'a>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(NAMESPACES))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut parts = [IoSliceMut::new(buffer)];
            match recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                received => break received?,
            }
        };
        let mut files = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                files.extend(received);
            }
        }
        if received.flags.contains(ReturnFlags::TRUNC) {
            return Err(io::Error::other("a message is longer than any should be"));
        }
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let files_are_missing = received.flags.contains(ReturnFlags::CTRUNC);
        Ok(Message { bytes: &buffer[..received.bytes], files, files_are_missing })
    }

    /// A part of an answer; it says first whether there is more to come.
    pub(super) fn answer(
        &self,
        more: bool,
        bytes: &[u8],
        files: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        self.send(&[u32::from(more).as_bytes(), bytes].concat(), files)
    }

    /// A message of words, of exactly as many as `words` holds.
    pub(super) fn receive_words(&self, words: &mut [u32]) -> io::Result<()> {
        for chunk in words.chunks_mut(super::CHUNK) {
            let length = size_of_val(chunk);
            let message = self.receive(chunk.as_mut_bytes())?;
            if message.bytes.len() != length || !message.files.is_empty() {
                return Err(unexpected());
            }
        }
        Ok(())
    }
}

/// For a socket, for which no time at all would be for ever.
fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

/// The words that a message begins with.
pub(super) fn words<const N: usize>(bytes: &[u8]) -> io::Result<([u32; N], &[u8])> {
    <[u32; N]>::read_from_prefix(bytes).map_err(|_| unexpected())
}

pub(super) fn unexpected() -> io::Error {
    io::Error::other("a message is none that twtrace sends")
}
