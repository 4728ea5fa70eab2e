//! What still needs rights when this process has none any more: a small process that has them, and
//! does nothing but list network namespaces, open what is on a list ([`super::opening`]) in one of
//! them, and tell who holds which sockets.
//!
//! It passes on what it opened, and reads nothing of it: whatever a namespace says is parsed where
//! there are no rights. It takes no path and no command, and it ends when nobody asks any more.
//!
//! There are two lanes, each with one question at a time, since who holds sockets may take a
//! second, and whoever empties the ring must not wait for that. Nor does it wait long for others
//! that ask on its own lane ([`Patience`]).
//!
//! Each message of an answer begins with a `u32` that says whether there is more of it to come.

mod asker;
mod client;
mod lane;
mod server;

pub(in crate::host) use self::asker::Patience;
pub use self::{
    client::Helper,
    server::{serve, serve_holders, serve_namespaces},
};

/// A question on the lane of namespaces: one of these, and the namespace for all but the first.
const LIST: u8 = 0;
/// The first of [`super::opening::Opening`], the others following.
const OPEN: u8 = 1;

/// What makes the kernel measure BPF programs; without a namespace.
const MEASURE: u8 = 255;

/// A question on the lane of holders: so many processes and so many sockets, as `u32`s, which
/// follow. [`EVERYBODY`] stands for all processes.
const EVERYBODY: u32 = u32::MAX;
/// As many of either may be asked for at once as sockets in CLOSE_WAIT are remembered, and more.
const MOST: u32 = 1 << 20;
/// So many `u32`s are sent at once.
const CHUNK: usize = 4096;
/// No message has more bytes than a chunk, and the word before.
const LONGEST: usize = (CHUNK + 1) * size_of::<u32>();
/// A row about a holder: inode, pid, and both halves of when it started.
const ROW: usize = 4;

/// So many namespaces are sent at once; the kernel takes 253 descriptors
/// ([`SCM_MAX_FD`](https://github.com/torvalds/linux/blob/v6.12/include/net/scm.h)).
const NAMESPACES: usize = 128;
/// That namespaces could not be listed; the reason follows.
const FAILED: u32 = u32::MAX;
