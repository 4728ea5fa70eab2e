//! The search for a local port where functions may be probed: from the call of
//! the function that searches to its return, in one thread.

use aya_ebpf::{bindings::BPF_ANY, helpers};
use twtrace_common::{RecordKind, Search, SearchRecord, TcpState, search_flags};

use crate::{
    emit, globals,
    maps::{SEARCHING, SearchStart},
    memory::Probed,
    process,
    sock::Sock,
    wanted,
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
    begins(sk, is_search.then_some(Search::Connect), 0);
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
    begins(sk, search.filter(|_| sock.is_tcp()), wanted_port);
}

/// What is no search forgets one whose return was missed.
#[inline(always)]
fn begins(sk: u64, search: Option<Search>, wanted_port: u16) {
    let thread = helpers::bpf_get_current_pid_tgid();
    let Some(search) = search else {
        let _ = SEARCHING.remove(thread);
        return;
    };
    let start =
        SearchStart { time_ns: emit::now_ns(), sk, search: search as u16, wanted_port, tried: 0 };
    let _ = SEARCHING.insert(thread, start, u64::from(BPF_ANY));
}

/// The search of this thread looks at a port that others have
/// ([`__inet_hash_connect`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_hashtables.c#L1030-L1130),
/// [`inet_csk_find_open_port`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_connection_sock.c)).
#[inline(always)]
pub(crate) fn tries() {
    if let Some(start) = SEARCHING.get_ptr_mut(helpers::bpf_get_current_pid_tgid()) {
        // SAFETY: only this thread writes its entry, and at worst the table has given
        // it to another one, which then counts one port too many.
        unsafe { (*start).tried += 1 };
    }
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
    let start = unsafe { *start };
    let _ = SEARCHING.remove(thread);
    let Some(search) = Search::from_raw(start.search as u8) else {
        return;
    };
    over(start, search, status, time_ns);
}

#[inline(always)]
fn over(start: SearchStart, search: Search, status: i32, time_ns: u64) {
    let sock = sock(start.sk);
    let connects = matches!(search, Search::Connect);
    if connects && !wanted::rport(sock.remote_port()) {
        return;
    }
    let owner = process::current::<Probed>();
    let remote = if connects { sock.addresses().remote } else { [0; 2] };
    let record = SearchRecord {
        kind: RecordKind::Search as u8,
        search: search as u8,
        error: error(status),
        netns: sock.netns(),
        time_ns,
        latency_ns: time_ns.saturating_sub(start.time_ns),
        start_time_ns: owner.start_time_ns,
        sk: start.sk,
        tgid: owner.tgid,
        lport: if status == 0 { sock.bound_port() } else { start.wanted_port },
        rport: if connects { sock.remote_port() } else { 0 },
        // SAFETY: both are 16 bytes of plain data.
        raddr: unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>(remote) },
        tried: start.tried,
        flags: if globals::counts_tried() { search_flags::TRIED_KNOWN } else { 0 },
        padding: [0; 3],
    };
    emit::probed_search_if_wanted(search, &record);
}

/// `inet_csk_get_port` says 1 on kernels before 6.1 where later ones say EADDRINUSE.
/// <https://github.com/torvalds/linux/blob/v5.10/net/ipv4/inet_connection_sock.c#L359-L366>
#[inline(always)]
fn error(status: i32) -> u16 {
    if status > 0 { EADDRINUSE } else { status.unsigned_abs() as u16 }
}
