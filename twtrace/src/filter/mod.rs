//! What is asked for of a run, and nothing else.
//!
//! A filter stands in front of the pipeline: frames in, frames out. What is behind it
//! counts as if there were no other sockets, so every key of the Snapshot but `host`,
//! `probes` and `loss` is about those that pass. All that is set must hold.
//!
//! **Ends.** `--netns`, `-L`, `-D`, `--raddr`, `-4` and `-6` ask for a socket's namespace and
//! ends, as the kernel tells them. A connect has no local port until it was found: until then
//! its records wait, and one that finds none passes no `-L`. A listener has no remote end, and
//! passes neither `-D` nor `--raddr`. A bind tells no remote end and no family: where one is
//! asked for, it waits for its socket to connect or to listen. An IPv4-mapped address is IPv4.
//!
//! **Processes.** `--pid`, `--comm` and `--cgroup` ask whose a socket is. It is a process's
//! that connected it or listens with it, and one's that closes it in its own context: sends
//! the first FIN or the second, or cuts it. So one that a process connected and another
//! closes is of both, and one that was accepted is of whoever closes it, but never of its
//! listener's: many processes may accept from one. A socket passes as a whole: what it told
//! before it was known whose it is waits, and passes with the rest, or never. A bind is of
//! the process that binds, a CPU sample of the one that searched. A mini-socket is of whom
//! its socket is.
//!
//! So nobody is credited with what he did not do; and what no process did anything with,
//! which is an accepted socket that is open or that the peer cut, and what was there
//! before us, counts for nobody (yet).
//!
//! A socket in CLOSE_WAIT, which nobody has closed, is in `close_wait` of who holds it, once
//! /proc has told that, and of nobody else.
//!
//! **Totals.** The kernel side counts by namespace. With `--netns` alone its totals stay, exact
//! whatever the ring lost; otherwise they are counted from the records that pass, by the
//! same functions ([`twtrace_common`]), and are as complete as these.
//!
//! **Files that go on from another.** What was there passes as it would have without the cut: a
//! socket with its state, now or when a process does something with it that is wanted, a
//! mini-socket now or never. What local ports are taken towards passes with whatever holds
//! one. Counts begin at the cut, so those of what was there are counted from the lists. Whoever
//! counts from later on ([`Filtered::later`]) makes such a cut.
//!
//! A filter in the kernel may only drop what this one would drop too: then the result is
//! the same, whoever does it.

mod filtered;
mod listeners;
mod processes;
mod records;
mod recount;
mod scope;
mod seeds;
mod sockets;
mod stage;
mod wanted;

pub use self::{
    filtered::Filtered,
    scope::Scope,
    stage::{CannotTell, FilterStage},
    wanted::{CgroupPath, Family, Filter, Network, Pid, PortSet, WrittenError},
};
