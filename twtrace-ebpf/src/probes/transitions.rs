//! `sock:inet_sock_set_state`, three ways.
//!
//! The kernel fires it before it stores the new state, and also when nothing
//! changes; never for TIME_WAIT, whose mini-socket is another object.
//! <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/af_inet.c#L1326-L1330>

#![expect(clippy::needless_pass_by_value, reason = "aya hands programs their context by value")]

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint, tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext, TracePointContext},
};
use twtrace_common::{Change, ProcessKey, TcpState};

use crate::{
    connecting,
    emit::{self, Seen},
    globals,
    memory::{Memory, Probed, Typed},
    process,
    sock::{Addresses, Sock},
    wanted,
};

/// With kernel BTF: the socket's type is known, its fields are plain loads.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn state_tp_btf(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the tracepoint's first argument is a `struct sock *`.
    let sock = unsafe { Sock::<Typed>::new(ctx.arg(0)) };
    by_socket(&ctx, &sock, ctx.arg::<i32>(1), ctx.arg::<i32>(2));
    0
}

/// With offsets but without typed pointers.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
fn state_raw_tp(ctx: RawTracePointContext) -> i32 {
    // SAFETY: as above.
    let sock = unsafe { Sock::<Probed>::new(ctx.arg(0)) };
    by_socket(&ctx, &sock, ctx.arg::<i32>(1), ctx.arg::<i32>(2));
    0
}

/// Without kernel BTF: only what the tracepoint's own record tells.
#[tracepoint(category = "sock", name = "inet_sock_set_state")]
fn state_tp(ctx: TracePointContext) -> u32 {
    by_record(&ctx);
    0
}

#[inline(always)]
fn states(old: i32, new: i32) -> Option<(TcpState, TcpState)> {
    // A close() after a shutdown() sets the state it already has.
    if old == new {
        return None;
    }
    Some((TcpState::from_raw(old as u8)?, TcpState::from_raw(new as u8)?))
}

#[inline(always)]
#[cfg_attr(not(feature = "log"), expect(unused_variables, reason = "only the log needs it"))]
fn by_socket<C: aya_ebpf::EbpfContext, M: Memory>(ctx: &C, sock: &Sock<M>, old: i32, new: i32) {
    let Some((old, new)) = states(old, new) else {
        return;
    };
    if !sock.is_tcp() {
        return;
    }
    let netns = sock.netns();
    if !wanted::netns(netns) || !wanted::transition(sock, old, new) {
        return;
    }
    let closes = matches!(new, TcpState::Close);
    let change = Change {
        old,
        new,
        fields_known: true,
        process_context: Change::depends_on_context(old, new) && sock.in_process_context(),
        error: if closes { sock.error() } else { 0 },
        shutdown: if closes { sock.shutdown() } else { 0 },
        lport: if closes { sock.last_port() } else { sock.bound_port() },
    };
    // Not the socket's address: the verifier lets nobody take a typed pointer apart.
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(
        ctx,
        "netns {} port {}: {} > {}",
        netns,
        change.lport,
        old as u8,
        new as u8
    );
    match (old, new) {
        (_, TcpState::SynSent) => connecting::begins(sock, change.lport),
        (TcpState::SynSent, TcpState::Close) => connecting::forgets(sock.address()),
        _ => {}
    }
    if globals::is_light() {
        emit::counted(netns, &change);
        return;
    }
    let has_owner = change.has_owner();
    let owner = if has_owner { numbers(process::current::<M>()) } else { (0, 0) };
    emit::transition(&Seen {
        change,
        sk: sock.address(),
        netns,
        rport: sock.remote_port(),
        addresses: sock.addresses(),
        own_range: if matches!(new, TcpState::SynSent) { sock.own_range() } else { [0; 2] },
        has_owner,
        owner,
    });
}

#[inline(always)]
fn numbers(owner: ProcessKey) -> (u64, u32) {
    (owner.start_time_ns, owner.tgid)
}

/// The record's layout, the same on all kernels since 5.6; user space compares
/// it with the `format` file before it attaches.
/// <https://github.com/torvalds/linux/blob/v6.12/include/trace/events/sock.h#L139-L166>
mod record {
    pub(super) const SKADDR: usize = 8;
    pub(super) const OLDSTATE: usize = 16;
    pub(super) const NEWSTATE: usize = 20;
    pub(super) const SPORT: usize = 24;
    pub(super) const DPORT: usize = 26;
    pub(super) const PROTOCOL: usize = 30;
    pub(super) const SADDR_V6: usize = 40;
    pub(super) const DADDR_V6: usize = 56;
}

#[inline(always)]
fn by_record(ctx: &TracePointContext) -> Option<()> {
    const IPPROTO_TCP: u16 = 6;
    // SAFETY: each offset lies in the record, which the verifier checks.
    let (sk, old, new, lport, rport, protocol) = unsafe {
        (
            ctx.read_at::<u64>(record::SKADDR).ok()?,
            ctx.read_at::<i32>(record::OLDSTATE).ok()?,
            ctx.read_at::<i32>(record::NEWSTATE).ok()?,
            ctx.read_at::<u16>(record::SPORT).ok()?,
            ctx.read_at::<u16>(record::DPORT).ok()?,
            ctx.read_at::<u16>(record::PROTOCOL).ok()?,
        )
    };
    let (old, new) = states(old, new)?;
    if protocol != IPPROTO_TCP {
        return None;
    }
    // SAFETY: as above.
    let addresses = unsafe {
        Addresses {
            local: ctx.read_at(record::SADDR_V6).ok()?,
            remote: ctx.read_at(record::DADDR_V6).ok()?,
        }
    };
    let change = Change {
        old,
        new,
        fields_known: false,
        process_context: false,
        error: 0,
        shutdown: 0,
        lport,
    };
    if globals::is_light() {
        emit::counted(0, &change);
        return Some(());
    }
    let has_owner = change.has_owner();
    let owner = if has_owner { numbers(process::current_without_btf()) } else { (0, 0) };
    let own_range = [0; 2];
    emit::transition(&Seen { change, sk, netns: 0, rport, addresses, own_range, has_owner, owner });
    Some(())
}
