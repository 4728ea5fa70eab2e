//! The search for a local port, bracketed from outside where no function may be
//! probed: each latency is an upper bound.
//!
//! - **connect** searches between its transition to SYN_SENT and the sockops
//!   callback that announces the SYN
//!   ([`tcp_v4_connect`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_ipv4.c#L296-L345),
//!   [`tcp_connect`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_output.c#L4099-L4107));
//! - **bind** searches between the cgroup hooks `bind` and `post_bind`
//!   ([`__inet_bind`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/af_inet.c#L450-L560));
//!   one that fails, or leaves the search to connect, has no `post_bind`.
//!
//! All of them allow what they see: 1 is what every other program leaves as it is.

#![expect(clippy::needless_pass_by_value, reason = "aya hands programs their context by value")]

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_ANY,
    helpers::{self, generated},
    macros::{cgroup_sock, cgroup_sock_addr, sock_ops},
    programs::{SockAddrContext, SockContext, SockOpsContext},
};
use twtrace_common::{RecordKind, Search, SearchRecord};

use crate::{
    connecting, emit, globals,
    maps::{BINDS, BindStart},
    memory::{Probed, Typed},
    process,
    sock::Sock,
    wanted,
};

/// `SK_PASS` of a cgroup hook: go on.
const ALLOW: i32 = 1;
/// `BPF_SOCK_OPS_TCP_CONNECT_CB`.
/// <https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/bpf.h#L6953-L6956>
const TCP_CONNECT_CB: u32 = 3;
const SOCK_STREAM: u32 = 1;
const IPPROTO_TCP: u32 = 6;

/// Runs some nine times per connection. It must never write `reply`, which
/// would overwrite what another program answered.
#[sock_ops]
fn connect_found(ctx: SockOpsContext) -> u32 {
    if ctx.op() == TCP_CONNECT_CB {
        found(&ctx);
    }
    1
}

#[inline(always)]
fn found(ctx: &SockOpsContext) {
    // SAFETY: the verifier knows the context.
    let sk = unsafe { (*ctx.ops).__bindgen_anon_2.sk };
    if sk.is_null() {
        return;
    }
    connecting::ends(sk as u64);
    // SAFETY: the verifier knows the context. Volatile keeps the loads whole: the kernel
    // refuses half of one.
    let (lport, rport) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*ctx.ops).local_port),
            u32::from_be(core::ptr::read_volatile(&raw const (*ctx.ops).remote_port)),
        )
    };
    if !wanted::rport(rport as u16) || !in_wanted_netns(sk.cast()) {
        return;
    }
    emit::connect(sk as u64, lport as u16);
}

#[inline(always)]
fn in_wanted_netns(sk: *mut c_void) -> bool {
    if globals::netns_filter() == 0 {
        return true;
    }
    // SAFETY: the helper checks the socket, and gives the pointer its type.
    let tcp = unsafe { generated::bpf_skc_to_tcp_sock(sk) };
    // SAFETY: the verifier knows the helper's pointer.
    !tcp.is_null() && wanted::netns(unsafe { Sock::<Typed>::new(tcp.cast()) }.netns())
}

#[cgroup_sock_addr(bind4)]
fn bind4(ctx: SockAddrContext) -> i32 {
    bind_begins(&ctx);
    ALLOW
}

#[cgroup_sock_addr(bind6)]
fn bind6(ctx: SockAddrContext) -> i32 {
    bind_begins(&ctx);
    ALLOW
}

#[cgroup_sock(post_bind4)]
fn post_bind4(ctx: SockContext) -> i32 {
    bind_ends(&ctx);
    ALLOW
}

#[cgroup_sock(post_bind6)]
fn post_bind6(ctx: SockContext) -> i32 {
    bind_ends(&ctx);
    ALLOW
}

#[inline(always)]
fn bind_begins(ctx: &SockAddrContext) {
    // SAFETY: the verifier knows the context.
    let (kind, protocol, port) = unsafe {
        let address = ctx.sock_addr;
        ((*address).type_, (*address).protocol, (*address).user_port)
    };
    if kind != SOCK_STREAM || protocol != IPPROTO_TCP {
        return;
    }
    let start = BindStart { time_ns: emit::now_ns(), explicit: u64::from(port != 0) };
    // A bind that finds no room is not reported; the table forgets the oldest instead.
    let _ = BINDS.insert(helpers::bpf_get_current_pid_tgid(), start, u64::from(BPF_ANY));
}

#[inline(always)]
fn bind_ends(ctx: &SockContext) {
    // SAFETY: the verifier knows the context.
    let (kind, protocol, lport) = unsafe {
        let sock = ctx.sock;
        ((*sock).type_, (*sock).protocol, (*sock).src_port)
    };
    if kind != SOCK_STREAM || protocol != IPPROTO_TCP {
        return;
    }
    let time_ns = emit::now_ns();
    let thread = helpers::bpf_get_current_pid_tgid();
    let Some(start) = BINDS.get_ptr(thread) else {
        return;
    };
    // SAFETY: only this thread writes its entry, and at worst the table has
    // given it to another one, whose numbers are as sound.
    let BindStart { time_ns: began_ns, explicit } = unsafe { *start };
    let _ = BINDS.remove(thread);
    // SAFETY: the context of this hook is the socket itself.
    // <https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/cgroup.c#L1514-L1521>
    let netns = unsafe { Sock::<Probed>::new(ctx.as_ptr().cast()) }.netns();
    let search = if explicit != 0 { Search::BindExplicit } else { Search::Bind };
    let owner = process::current::<Probed>();
    let record = SearchRecord {
        kind: RecordKind::Search as u8,
        search: search as u8,
        error: 0,
        netns,
        time_ns,
        latency_ns: time_ns.saturating_sub(began_ns),
        start_time_ns: owner.start_time_ns,
        sk: ctx.as_ptr() as u64,
        tgid: owner.tgid,
        lport: lport as u16,
        rport: 0,
        raddr: [0; 16],
        tried: 0,
        flags: 0,
        padding: [0; 3],
    };
    emit::bind_if_wanted(search, &record);
}
