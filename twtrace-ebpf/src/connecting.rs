//! The connect that may be searching a port on this CPU.
//!
//! A search that takes the port of a mini-socket ends that in the thread of the
//! connect. To know which is running is ten times cheaper than to walk the
//! stack, and on a host that reuses ports it is asked for each connection.

use aya_ebpf::helpers;
use twtrace_common::{End, TimeWaitRecord};

use crate::{
    globals,
    maps::{CONNECTING, Connecting},
    memory::{Memory, Probed},
    processor::{self, jiffies},
    sock::Sock,
};

/// A search that takes longer than this many jiffies is not remembered: its
/// thread may have gone to another CPU, and its end have been told there.
const LONGEST: u64 = 1;

#[inline(always)]
fn current() -> Option<&'static mut Connecting> {
    // SAFETY: a connect that interrupts another takes its place, which costs that
    // one its cause; see `Counting::of`.
    unsafe { processor::own(&CONNECTING) }
}

/// The connect of `sock` is about to look for its port, unless it has `lport`.
#[inline(always)]
pub(crate) fn begins<M: Memory>(sock: &Sock<M>, lport: u16) {
    if let Some(connecting) = current() {
        connecting.sk = sock.address();
        connecting.thread = helpers::bpf_get_current_pid_tgid();
        connecting.jiffies = jiffies();
        connecting.rport = sock.remote_port();
        connecting.bound = u16::from(lport != 0);
        connecting.remote = sock.addresses().remote;
    }
}

/// The connect of `sk` has its port.
#[inline(always)]
pub(crate) fn ends(sk: u64) {
    if let Some(connecting) = current() {
        connecting.is_told = 1;
    }
    forgets(sk);
}

/// The connect of `sk` searches no more.
#[inline(always)]
pub(crate) fn forgets(sk: u64) {
    if let Some(connecting) = current()
        && connecting.sk == sk
    {
        connecting.sk = 0;
    }
}

/// How the mini-socket of `record` ended, if by the search of the running
/// thread towards the same remote end.
#[inline(always)]
pub(crate) fn took(record: &TimeWaitRecord, remote: [u64; 2]) -> Option<End> {
    let connecting = current()?;
    // Where nobody asks for searches their ends are not told. It is another's port then,
    // if it took one.
    let searches = connecting.sk != 0
        && (connecting.is_told != 0 || globals::is_light())
        && connecting.rport == record.rport
        && connecting.remote[0] == remote[0]
        && connecting.remote[1] == remote[1]
        && connecting.thread == helpers::bpf_get_current_pid_tgid()
        && jiffies().wrapping_sub(connecting.jiffies) <= LONGEST;
    if !searches || bound_port(connecting.sk) != record.lport {
        return None;
    }
    Some(if connecting.bound != 0 { End::ReusedBound } else { End::Reused })
}

/// The port that the search has given its socket, before it ends the
/// mini-socket that had it: a segment that interrupts the search ends or re-arms
/// others towards the same remote end.
/// <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_hashtables.c#L576-L606>
#[inline(always)]
fn bound_port(sk: u64) -> u16 {
    // SAFETY: read by the helper, which copes with any address.
    unsafe { Sock::<Probed>::new(sk as *const u8) }.bound_port()
}
