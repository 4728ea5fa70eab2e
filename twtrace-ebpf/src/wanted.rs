//! What is left out before anything is read of it, counted or written.
//!
//! No more than user space would leave out anyway (`twtrace/src/filter`): a record that
//! tells ends that are not wanted, and that nothing else depends on.

use twtrace_common::{TcpState, TimeWaitRecord, asked_ends};

use crate::{
    globals,
    memory::Memory,
    mini,
    sock::{self, Addresses, Sock},
};

/// Whether the namespace with this inode is wanted.
#[inline(always)]
pub(crate) fn netns(netns: u32) -> bool {
    let wanted = globals::netns_filter();
    wanted == 0 || wanted == netns
}

/// Whether the transition of a socket may be.
///
/// What a listener does is wanted always: from where it listens it is concluded that
/// other sockets were accepted.
#[inline(always)]
pub(crate) fn transition<M: Memory>(sock: &Sock<M>, old: TcpState, new: TcpState) -> bool {
    let asked = globals::asked_ends();
    if asked == 0 || matches!(old, TcpState::Listen) || matches!(new, TcpState::Listen) {
        return true;
    }
    if asked & asked_ends::RPORT != 0 && !globals::wants_rport(sock.remote_port()) {
        return false;
    }
    if asked & (asked_ends::IPV4 | asked_ends::IPV6) != 0 && !family(asked, &sock.addresses()) {
        return false;
    }
    asked & asked_ends::LPORT == 0 || lport(sock, old, new)
}

/// A connect has no local port until it was found, and what waits for it in user space
/// must hear which it is.
#[inline(always)]
fn lport<M: Memory>(sock: &Sock<M>, old: TcpState, new: TcpState) -> bool {
    if matches!(old, TcpState::SynSent) || matches!(new, TcpState::SynSent) {
        return true;
    }
    let lport = if matches!(new, TcpState::Close) { sock.last_port() } else { sock.bound_port() };
    lport == 0 || globals::wants_lport(lport)
}

/// Whether a mini-socket may be wanted, whose ends are all known.
#[inline(always)]
pub(crate) fn mini(record: &TimeWaitRecord) -> bool {
    if !netns(record.netns) {
        return false;
    }
    let asked = globals::asked_ends();
    if asked & asked_ends::RPORT != 0 && !globals::wants_rport(record.rport) {
        return false;
    }
    if asked & asked_ends::LPORT != 0 && !globals::wants_lport(record.lport) {
        return false;
    }
    let ends = Addresses { local: mini::words(record.laddr), remote: mini::words(record.raddr) };
    asked & (asked_ends::IPV4 | asked_ends::IPV6) == 0 || family(asked, &ends)
}

/// Whether the remote port of a connect is wanted.
#[inline(always)]
pub(crate) fn rport(rport: u16) -> bool {
    globals::asked_ends() & asked_ends::RPORT == 0 || globals::wants_rport(rport)
}

#[inline(always)]
fn family(asked: u32, ends: &Addresses) -> bool {
    let is_v4 = sock::is_mapped(ends.remote) || sock::is_mapped(ends.local);
    is_v4 == (asked & asked_ends::IPV4 != 0)
}
