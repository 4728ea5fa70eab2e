//! Messages with descriptors, one at a time.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};
use zerocopy::{FromBytes, IntoBytes};

use super::NAMESPACES;

/// One end of a SOCK_SEQPACKET pair: a message comes whole, or not at all.
#[derive(Debug)]
pub(super) struct Lane(OwnedFd);

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

    /// A message of no more than `buffer` holds, and the descriptors with it. That the other end
    /// is closed is an error, too.
    pub(super) fn receive<'a>(
        &self,
        buffer: &'a mut [u8],
    ) -> io::Result<(&'a mut [u8], Vec<OwnedFd>)> {
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
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::Error::other("a message is longer than any should be"));
        }
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((&mut buffer[..received.bytes], files))
    }

    pub(super) fn send_words(&self, words: &[u32]) -> io::Result<()> {
        words.chunks(super::CHUNK).try_for_each(|chunk| self.send(chunk.as_bytes(), &[]))
    }

    /// A message of words, of exactly as many as `words` holds.
    pub(super) fn receive_words(&self, words: &mut [u32]) -> io::Result<()> {
        for chunk in words.chunks_mut(super::CHUNK) {
            let length = size_of_val(chunk);
            let (bytes, files) = self.receive(chunk.as_mut_bytes())?;
            if bytes.len() != length || !files.is_empty() {
                return Err(unexpected());
            }
        }
        Ok(())
    }
}

/// The words that a message begins with.
pub(super) fn words<const N: usize>(bytes: &[u8]) -> io::Result<([u32; N], &[u8])> {
    <[u32; N]>::read_from_prefix(bytes).map_err(|_| unexpected())
}

pub(super) fn unexpected() -> io::Error {
    io::Error::other("a message is none that twtrace sends")
}
