//! The life of mini-sockets where functions may be probed: what each function's
//! call means, whichever kind of probe tells of it.
//!
//! Every end comes through `inet_twsk_kill`, and what was called shortly before
//! tells which end it is:
//!
//! - its **timer** ([`tw_timer_handler`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_timewait_sock.c#L155-L160))
//!   jumps there at once;
//! - a **segment** is judged by `tcp_timewait_state_process`, which ends the
//!   mini-socket itself on RST, or tells its caller, a few lines on, to answer with
//!   RST or to let a new connection in
//!   ([`tcp_v4_rcv`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_ipv4.c#L2375-L2420));
//!   all that with softirqs off, on one CPU;
//! - a **connect** asks `tcp_twsk_unique`, and ends the mini-socket later in the
//!   same thread, maybe on another CPU
//!   ([`__inet_hash_connect`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_hashtables.c#L1030-L1130));
//! - `tcp_abort` and `inet_twsk_purge` end it before they return.

use aya_ebpf::{bindings::BPF_ANY, helpers};
use twtrace_common::{End, RecordKind, TcpState};

use crate::{
    emit,
    globals::offset,
    maps::{ASKING, CLAIMS, PURGING, VERDICT, Verdict, WANTED},
    memory::{Load, Probed},
    mini::{self, Mini},
    processor::{self, jiffies},
    sock::Sock,
};

/// `enum tcp_tw_status`: what `tcp_timewait_state_process` tells its caller.
/// <https://github.com/torvalds/linux/blob/v6.12/include/net/tcp.h#L393-L398>
const TCP_TW_RST: u64 = 1;
const TCP_TW_SYN: u64 = 3;

/// A verdict that is older, in jiffies, was not carried out: there was no listener.
/// As a rule it takes microseconds, but a virtual CPU may be taken away meanwhile.
const FRESH: u64 = 25;

#[inline(always)]
fn verdict() -> Option<&'static mut Verdict> {
    // SAFETY: its users run with softirqs off; see the module's documentation.
    unsafe { processor::own(&VERDICT) }
}

#[inline(always)]
fn thread() -> u64 {
    helpers::bpf_get_current_pid_tgid()
}

/// A mini-socket was made for `sk` and is about to be found by others.
#[inline(always)]
pub(crate) fn born(tw: u64, sk: u64) {
    let _ = WANTED.remove(sk);
    // Whoever claimed the one that had this memory before came too late.
    let _ = CLAIMS.remove(tw);
    emit::time_wait_if_wanted(&Mini::at(tw).record(RecordKind::Birth));
}

/// The kernel is about to make a mini-socket for `sk`, if there is room.
#[inline(always)]
pub(crate) fn wanted(sk: u64) {
    let _ = WANTED.insert(sk, 0u8, u64::from(BPF_ANY));
}

/// `sk` is done for: if a mini-socket was wanted, it was not made.
#[inline(always)]
pub(crate) fn done(sk: u64) {
    if WANTED.remove(sk).is_ok() {
        refused(sk);
    }
}

/// The kernel did not make the mini-socket that it wanted for `sk`.
#[inline(always)]
pub(crate) fn refused(sk: u64) {
    // A mini-socket begins as a socket does, and the record reads no more of it
    // than that, save its substate.
    let mut record = Mini::at(sk).record(RecordKind::Refused);
    record.substate = TcpState::TimeWait as u8;
    record.tw = 0;
    emit::time_wait_if_wanted(&record);
}

/// The timer is started again: `tcp_timewait_state_process` judged a segment.
#[inline(always)]
pub(crate) fn rearmed(tw: u64) {
    let record = Mini::at(tw).record(RecordKind::Step);
    emit::rearmed_if_wanted(&record);
    if let Some(verdict) = verdict()
        && verdict.segment_tw == tw
        && verdict.substate == TcpState::FinWait2 as u64
        && record.substate != TcpState::FinWait2 as u8
    {
        verdict.substate = u64::from(record.substate);
        emit::time_wait_if_wanted(&record);
    }
}

/// Its timer fires, and ends it.
#[inline(always)]
pub(crate) fn fires(timer: u64) {
    if let Some(verdict) = verdict() {
        verdict.firing_tw = timer.wrapping_sub(offset!(tw_timer));
        verdict.fired = jiffies();
    }
}

/// A segment for it is about to be judged. If it ends meanwhile, RST did it.
#[inline(always)]
pub(crate) fn judging(tw: u64) {
    if let Some(verdict) = verdict() {
        verdict.segment_tw = tw;
        verdict.segment_end = End::Reset as u64;
        verdict.judged = jiffies();
        // SAFETY: the helper copes with any address, and the field is a byte.
        let substate = unsafe { Probed::load::<u8>(tw as *const u8, offset!(tw_substate)) };
        verdict.substate = u64::from(substate);
    }
}

/// The segment was judged: what its caller will do.
#[inline(always)]
pub(crate) fn judged(status: u64) {
    if let Some(verdict) = verdict() {
        match status {
            TCP_TW_RST => verdict.segment_end = End::Rejected as u64,
            TCP_TW_SYN => verdict.segment_end = End::Replaced as u64,
            _ => verdict.segment_tw = 0,
        }
    }
}

/// A connect will take its port, which is bound to it or found by search.
#[inline(always)]
pub(crate) fn taken(tw: u64, is_bound: bool) {
    let end = if is_bound { End::ReusedBound } else { End::Reused };
    claim(tw, end);
}

/// `ss -K` or BPF wants a socket gone, which may be a mini-socket.
#[inline(always)]
pub(crate) fn aborting(sk: u64) {
    // SAFETY: both kinds begin with a `struct sock_common`.
    let state = unsafe { Sock::<Probed>::new(sk as *const u8) }.state();
    if state == TcpState::TimeWait as u8 {
        let _ = ASKING.insert(thread(), sk, u64::from(BPF_ANY));
        claim(sk, End::Aborted);
    }
}

/// It is gone, or it could not be done.
#[inline(always)]
pub(crate) fn aborted() {
    if let Some(tw) = asked() {
        let _ = CLAIMS.remove(tw);
    }
}

#[inline(always)]
fn claim(tw: u64, end: End) {
    let _ = CLAIMS.insert(tw, end as u64, u64::from(BPF_ANY));
}

/// This thread clears away a network namespace's mini-sockets.
#[inline(always)]
pub(crate) fn purging() {
    let _ = PURGING.insert(thread(), 0u8, u64::from(BPF_ANY));
}

/// It has done so.
#[inline(always)]
pub(crate) fn purged() {
    let _ = PURGING.remove(thread());
}

/// A mini-socket ends.
#[inline(always)]
pub(crate) fn killed(tw: u64) {
    let mut record = Mini::at(tw).record(RecordKind::End);
    record.end = cause(tw, mini::substate(&record));
    emit::time_wait_if_wanted(&record);
}

/// The number of the [`End`]. The timer before all, since it may meet a claim that
/// came to nothing; a claim before a verdict that its caller has to carry out.
#[inline(always)]
fn cause(tw: u64, substate: TcpState) -> u8 {
    let verdict = verdict();
    if let Some(end) = verdict.as_ref().and_then(|verdict| ended_meanwhile(verdict, tw, substate)) {
        return end as u8;
    }
    if let Some(end) = claimed(tw) {
        return end;
    }
    match verdict {
        Some(verdict) if verdict.segment_tw == tw && is_fresh(verdict.judged) => {
            verdict.segment_tw = 0;
            verdict.segment_end as u8
        }
        _ if is_purging() => End::Purged as u8,
        _ => End::Other as u8,
    }
}

/// Its timer fires on this CPU, or a segment for it is being judged.
#[inline(always)]
fn ended_meanwhile(verdict: &Verdict, tw: u64, substate: TcpState) -> Option<End> {
    if verdict.firing_tw == tw && is_fresh(verdict.fired) {
        return Some(End::by_timer(substate));
    }
    (verdict.segment_tw == tw && verdict.segment_end == End::Reset as u64).then_some(End::Reset)
}

#[inline(always)]
fn is_fresh(since: u64) -> bool {
    jiffies().wrapping_sub(since) <= FRESH
}

#[inline(always)]
fn claimed(tw: u64) -> Option<u8> {
    let claim = CLAIMS.get_ptr(tw)?;
    // SAFETY: a value of the map; at worst it has just become another one's.
    let end = unsafe { *claim };
    let _ = CLAIMS.remove(tw);
    Some(end as u8)
}

#[inline(always)]
fn is_purging() -> bool {
    PURGING.get_ptr(thread()).is_some()
}

/// What to remember of a connect that asks whether it may take `tw`, where the
/// answer comes without its question.
#[inline(always)]
pub(crate) fn asks(tw: u64, is_bound: bool) {
    // Sockets are aligned: the lowest bit of their address is free.
    let question = tw | u64::from(is_bound);
    let _ = ASKING.insert(thread(), question, u64::from(BPF_ANY));
}

/// The answer.
#[inline(always)]
pub(crate) fn answered(may: bool) {
    if let Some(question) = asked()
        && may
    {
        taken(question & !1, question & 1 != 0);
    }
}

#[inline(always)]
fn asked() -> Option<u64> {
    let thread = thread();
    let question = ASKING.get_ptr(thread)?;
    // SAFETY: only this thread writes its entry.
    let question = unsafe { *question };
    let _ = ASKING.remove(thread);
    Some(question)
}
