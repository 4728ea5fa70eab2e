//! The search for a local port where functions may be probed: from the call of
//! the function that searches to its return, in one thread.

use aya_ebpf::{bindings::BPF_ANY, helpers};
use twtrace_common::{RecordKind, Search, SearchRecord, TcpState};

use crate::{
    emit,
    maps::{SEARCHING, SearchStart},
    memory::Probed,
    process,
    sock::Sock,
};

const EADDRINUSE: u16 = 98;

#[inline(always)]
fn sock(sk: u64) -> Sock<Probed> {
    // SAFETY: the probed function's argument, read by the helper.
    unsafe { Sock::new(sk as *const u8) }
}

/// `__inet_hash_connect`: a search, unless the socket has a port.
#[inline(always)]
pub(crate) fn connect_begins(sk: u64) {
    let sock = sock(sk);
    let is_search = sock.is_tcp() && sock.bound_port() == 0;
    begins(sk, is_search.then_some(Search::Connect));
}

/// `inet_csk_get_port`: for `bind()`, for `listen()` of a socket without a port,
/// and once more for `listen()` of one that has its port, which is no search.
/// <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_connection_sock.c#L1250-L1290>
#[inline(always)]
pub(crate) fn get_port_begins(sk: u64, wanted_port: u16) {
    let sock = sock(sk);
    let listens = sock.state() == TcpState::Listen as u8;
    let search = match (listens, wanted_port) {
        (false, 0) => Some(Search::Bind),
        (false, _) => Some(Search::BindExplicit),
        (true, 0) => Some(Search::Listen),
        (true, _) => None,
    };
    begins(sk, search.filter(|_| sock.is_tcp()));
}

/// What is no search forgets one whose return was missed.
#[inline(always)]
fn begins(sk: u64, search: Option<Search>) {
    let thread = helpers::bpf_get_current_pid_tgid();
    let Some(search) = search else {
        let _ = SEARCHING.remove(thread);
        return;
    };
    let start = SearchStart { time_ns: emit::now_ns(), sk, search: search as u64 };
    let _ = SEARCHING.insert(thread, start, u64::from(BPF_ANY));
}

/// The function returns `status`.
#[inline(always)]
pub(crate) fn ends(status: i32) {
    let time_ns = emit::now_ns();
    let thread = helpers::bpf_get_current_pid_tgid();
    let Some(start) = SEARCHING.get_ptr(thread) else {
        return;
    };
    // SAFETY: only this thread writes its entry, and at worst the table has given
    // it to another one, whose numbers are as sound.
    let SearchStart { time_ns: began_ns, sk, search } = unsafe { *start };
    let _ = SEARCHING.remove(thread);
    let Some(search) = Search::from_raw(search as u8) else {
        return;
    };
    over(sk, search, status, (began_ns, time_ns));
}

#[inline(always)]
fn over(sk: u64, search: Search, status: i32, (began_ns, time_ns): (u64, u64)) {
    let sock = sock(sk);
    let owner = process::current::<Probed>();
    let connects = matches!(search, Search::Connect);
    let remote = if connects { sock.addresses().remote } else { [0; 2] };
    let record = SearchRecord {
        kind: RecordKind::Search as u8,
        search: search as u8,
        error: error(status),
        netns: sock.netns(),
        time_ns,
        latency_ns: time_ns.saturating_sub(began_ns),
        start_time_ns: owner.start_time_ns,
        tgid: owner.tgid,
        lport: if status == 0 { sock.bound_port() } else { 0 },
        rport: if connects { sock.remote_port() } else { 0 },
        // SAFETY: both are 16 bytes of plain data.
        raddr: unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>(remote) },
    };
    emit::probed_search_if_wanted(search, &record);
}

/// `inet_csk_get_port` says 1 on kernels before 6.1 where later ones say EADDRINUSE.
/// <https://github.com/torvalds/linux/blob/v5.10/net/ipv4/inet_connection_sock.c#L359-L366>
#[inline(always)]
fn error(status: i32) -> u16 {
    if status > 0 { EADDRINUSE } else { status.unsigned_abs() as u16 }
}
