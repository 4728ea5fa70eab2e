//! The life of timewait mini-sockets, by the events of their timers.
//!
//! These hooks run for every timer of the host, so each compares the timer's
//! function first and touches nothing else unless it is a mini-socket's:
//!
//! - a **birth** starts the timer
//!   ([`__inet_twsk_schedule`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_timewait_sock.c#L289-L325)),
//!   when the mini-socket has its identity already;
//! - **expiry** stops it and lets it fire at once, on one CPU with no other
//!   mini-socket in between
//!   ([`expire_timers`](https://github.com/torvalds/linux/blob/v6.12/kernel/time/timer.c#L1815-L1850));
//! - every **other end** stops it
//!   ([`inet_twsk_deschedule_put`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_timewait_sock.c#L280-L286)),
//!   and who called for that tells which end it is;
//! - a **re-arm** stops and starts it with interrupts off
//!   ([`__mod_timer`](https://github.com/torvalds/linux/blob/v6.12/kernel/time/timer.c#L1049-L1160)),
//!   or stays silent within a bucket of the timer wheel.
//!
//! So a timer stopped before its time has ended or was re-armed, which the call
//! stack tells, or the connect that runs; one stopped when it was due is left open until the CPU's next
//! event, which as a rule is that it fires.

#![expect(clippy::needless_pass_by_value, reason = "aya hands programs their context by value")]

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext, helpers::generated, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use twtrace_common::{End, Kills, RecordKind, TimeWaitRecord};

use crate::{
    connecting, emit, globals,
    maps::{PENDING, Pending},
    memory,
    mini::{self, Timer},
    processor,
};

/// Return addresses looked at: BPF's own, the timer code's, then the caller.
const FRAMES: usize = 16;

#[btf_tracepoint(function = "timer_start")]
fn tw_timer_start(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the tracepoint's first argument is a `struct timer_list *`.
    if let Some(timer) = unsafe { Timer::of_mini(ctx.arg(0)) }
        && let Some(pending) = pending()
    {
        started(&ctx, timer, pending);
    }
    0
}

#[btf_tracepoint(function = "timer_cancel")]
fn tw_timer_cancel(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: as above.
    if let Some(timer) = unsafe { Timer::of_mini(ctx.arg(0)) }
        && let Some(pending) = pending()
    {
        stopped(&ctx, timer, pending);
    }
    0
}

#[btf_tracepoint(function = "timer_expire_entry")]
fn tw_timer_expire(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: as above.
    if let Some(timer) = unsafe { Timer::of_mini(ctx.arg(0)) }
        && let Some(pending) = pending()
    {
        fired(timer, pending);
    }
    0
}

/// What is open on this CPU.
#[inline(always)]
fn pending() -> Option<&'static mut Pending> {
    // SAFETY: starts and stops run with interrupts off; what may interrupt a timer
    // that fires is no mini-socket's event, save on PREEMPT_RT, where an event of
    // another one costs this one's cause.
    unsafe { processor::own(&PENDING) }
}

#[inline(always)]
fn started(ctx: &BtfTracePointContext, timer: Timer, pending: &mut Pending) {
    let is_same = pending.record.tw == timer.mini().address();
    match pending.what {
        Pending::REARMED if is_same => {
            pending.what = Pending::NOTHING;
            return;
        }
        // It was due and is started again: re-armed in its last moment, where a
        // segment has just been looked at, or its memory has a new owner.
        Pending::DUE if is_same && matches!(caller(ctx, Kills::Rearm), Kills::Reset) => {
            pending.what = Pending::NOTHING;
            return;
        }
        _ => settle(pending),
    }
    emit::time_wait_if_wanted(&timer.mini().record(RecordKind::Birth));
}

#[inline(always)]
fn stopped(ctx: &BtfTracePointContext, timer: Timer, pending: &mut Pending) {
    settle(pending);
    pending.record = timer.mini().record(RecordKind::End);
    if let Some(end) = connecting::took(&pending.record, mini::words(pending.record.raddr)) {
        emit_end(&mut pending.record, end);
    } else if timer.is_due() {
        pending.what = Pending::DUE;
    } else {
        match caller(ctx, Kills::Nothing).end(mini::substate(&pending.record)) {
            Some(end) => emit_end(&mut pending.record, end),
            None => pending.what = Pending::REARMED,
        }
    }
}

#[inline(always)]
fn fired(timer: Timer, pending: &mut Pending) {
    if pending.what != Pending::DUE || pending.record.tw != timer.mini().address() {
        settle(pending);
        pending.record = timer.mini().record(RecordKind::End);
    }
    pending.what = Pending::NOTHING;
    let end = End::by_timer(mini::substate(&pending.record));
    emit_end(&mut pending.record, end);
}

/// A timer that was due and did not fire: somebody was faster than the wheel,
/// and too long ago to ask the stack who.
#[inline(always)]
fn settle(pending: &mut Pending) {
    let was_due = pending.what == Pending::DUE;
    pending.what = Pending::NOTHING;
    if was_due {
        emit_end(&mut pending.record, End::Other);
    }
}

#[inline(always)]
fn emit_end(record: &mut TimeWaitRecord, end: End) {
    record.end = end as u8;
    emit::time_wait_if_wanted(record);
}

/// Which of the functions that stop mini-sockets' timers is on the stack, those
/// aside that do what is `ignored`: the innermost, since a softirq may have
/// interrupted another.
#[inline(always)]
fn caller(ctx: &BtfTracePointContext, ignored: Kills) -> Kills {
    // The helper writes the frames there are, and no more.
    let mut room = MaybeUninit::uninit();
    let frames: &mut [u64; FRAMES] = memory::zero(&mut room);
    // SAFETY: the helper writes at most the size of the array.
    let _ = unsafe {
        generated::bpf_get_stack(
            ctx.as_ptr(),
            frames.as_mut_ptr().cast(),
            size_of_val(frames) as u32,
            0,
        )
    };
    for &mut frame in frames {
        for known in globals::tw_callers() {
            // A return address lies behind its call, which may be a function's last.
            let is_there = frame > known.start && frame <= known.end;
            if is_there && known.kills as u64 != ignored as u64 {
                return known.kills;
            }
        }
    }
    Kills::Nothing
}
