//! Kernel functions, probed two ways: each as a trampoline (`fentry`, `fexit`)
//! and as a breakpoint (`kprobe`, `kretprobe`), which share one body.
//!
//! A trampoline at a function's exit still has its arguments, and the returned
//! value behind the last of them; a breakpoint there has the value alone.

#![expect(clippy::needless_pass_by_value, reason = "aya hands programs their context by value")]

use core::arch::asm;

use aya_ebpf::{
    EbpfContext,
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};

use crate::{globals::offset, searching, verdict};

/// The entry of a function, with the numbers of the arguments that matter.
macro_rules! entry {
    ($fentry:ident, $kprobe:ident, |$($arg:ident: $n:literal),*| $body:expr) => {
        #[fentry]
        fn $fentry(ctx: FEntryContext) -> i32 {
            $(let $arg = ctx.arg::<u64>($n);)*
            $body;
            0
        }

        #[kprobe]
        fn $kprobe(ctx: ProbeContext) -> u32 {
            $(let $arg = ctx.arg::<u64>($n).unwrap_or_default();)*
            $body;
            0
        }
    };
}

/// The exit of a function that has so many arguments on this kernel.
macro_rules! exit {
    ($fexit:ident, $kretprobe:ident, $args:expr, |$status:ident| $body:expr) => {
        #[fexit]
        fn $fexit(ctx: FExitContext) -> i32 {
            if let Some($status) = returned(&ctx, $args) {
                $body;
            }
            0
        }

        #[kretprobe]
        fn $kretprobe(ctx: RetProbeContext) -> u32 {
            let $status = ctx.ret::<u64>();
            $body;
            0
        }
    };
}

/// What a function with `args` arguments returned: the verifier sees a constant
/// there, and none of the other branches.
#[inline(always)]
fn returned(ctx: &FExitContext, args: u64) -> Option<u64> {
    match args {
        2 => Some(word::<16>(ctx)),
        3 => Some(word::<24>(ctx)),
        4 => Some(word::<32>(ctx)),
        5 => Some(word::<40>(ctx)),
        6 => Some(word::<48>(ctx)),
        _ => None,
    }
}

/// A word of the context. By assembly, or the compiler would make one load of all
/// branches, at an address that it computes: the kernel takes constants alone.
#[inline(always)]
fn word<const OFFSET: i32>(ctx: &FExitContext) -> u64 {
    let word;
    // SAFETY: the kernel checks that the context is so long.
    unsafe {
        asm!(
            "{word} = *(u64 *)({ctx} + {offset})",
            word = lateout(reg) word,
            ctx = in(reg) ctx.as_ptr(),
            offset = const OFFSET,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    word
}

// inet_twsk_hashdance_schedule(tw, sk, …), before 6.12 inet_twsk_hashdance
entry!(fentry_tw_born, kprobe_tw_born, |tw: 0, sk: 1| verdict::born(tw, sk));
// inet_twsk_kill(tw)
entry!(fentry_tw_kill, kprobe_tw_kill, |tw: 0| verdict::killed(tw));
// tw_timer_handler(timer)
entry!(fentry_tw_fire, kprobe_tw_fire, |timer: 0| verdict::fires(timer));
// __inet_twsk_schedule(tw, timeo, rearm)
entry!(fentry_tw_rearm, kprobe_tw_rearm, |tw: 0, rearm: 2| if rearm & 0xff != 0 {
    verdict::rearmed(tw);
});
// tcp_timewait_state_process(tw, …)
entry!(fentry_tw_judge, kprobe_tw_judge, |tw: 0| verdict::judging(tw));
exit!(fexit_tw_judge, kretprobe_tw_judge, offset!(state_process_args), |status| {
    verdict::judged(status & 0xffff_ffff);
});
// tcp_abort(sk, err)
entry!(fentry_tw_abort, kprobe_tw_abort, |sk: 0| verdict::aborting(sk));
// inet_twsk_purge(…)
entry!(fentry_tw_purge, kprobe_tw_purge, |_hashinfo: 0| verdict::purging());
// __inet_hash_connect(death_row, sk, …)
entry!(fentry_connect, kprobe_connect, |sk: 1| searching::connect_begins(sk));
exit!(fexit_connect, kretprobe_connect, offset!(hash_connect_args), |status| {
    searching::ends(status as i32);
});
// inet_csk_get_port(sk, snum)
entry!(fentry_bind, kprobe_bind, |sk: 0, snum: 1| searching::get_port_begins(sk, snum as u16));
exit!(fexit_bind, kretprobe_bind, 2, |status| searching::ends(status as i32));
// __inet_check_established(…) and __inet6_check_established(…)
entry!(fentry_try_v4, kprobe_try_v4, |_death_row: 0| searching::tries());
entry!(fentry_try_v6, kprobe_try_v6, |_death_row: 0| searching::tries());
// inet_csk_bind_conflict(sk, …)
entry!(fentry_try_bind, kprobe_try_bind, |_sk: 0| searching::tries());

/// `inet_twsk_alloc(sk, death_row, state)`: no mini-socket for `sk`.
#[fexit]
fn fexit_tw_alloc(ctx: FExitContext) -> i32 {
    if ctx.arg::<u64>(3) == 0 {
        verdict::refused(ctx.arg(0));
    }
    0
}

/// `tcp_time_wait(sk, …)` wants a mini-socket; without one `tcp_done(sk)` comes next.
#[kprobe]
fn kprobe_tw_want(ctx: ProbeContext) -> u32 {
    verdict::wanted(ctx.arg(0).unwrap_or_default());
    0
}

/// `tcp_done(sk)`.
#[kprobe]
fn kprobe_tw_done(ctx: ProbeContext) -> u32 {
    verdict::done(ctx.arg(0).unwrap_or_default());
    0
}

/// `tcp_twsk_unique(sk, tw, twp)`: `twp` is null if the port is bound.
#[fexit]
fn fexit_tw_unique(ctx: FExitContext) -> i32 {
    if ctx.arg::<u64>(3) & 0xffff_ffff == 1 {
        verdict::taken(ctx.arg(1), ctx.arg::<u64>(2) == 0);
    }
    0
}

#[kprobe]
fn kprobe_tw_unique(ctx: ProbeContext) -> u32 {
    let is_bound = ctx.arg::<u64>(2).unwrap_or_default() == 0;
    verdict::asks(ctx.arg(1).unwrap_or_default(), is_bound);
    0
}

#[kretprobe]
fn kretprobe_tw_unique(ctx: RetProbeContext) -> u32 {
    verdict::answered(ctx.ret::<u64>() & 0xffff_ffff == 1);
    0
}

/// `tcp_abort(sk, …)`, and that its mini-socket is gone or could not be ended.
#[fexit]
fn fexit_tw_abort(_ctx: FExitContext) -> i32 {
    verdict::aborted();
    0
}

#[kretprobe]
fn kretprobe_tw_abort(_ctx: RetProbeContext) -> u32 {
    verdict::aborted();
    0
}

/// `inet_twsk_purge(…)`.
#[fexit]
fn fexit_tw_purge(_ctx: FExitContext) -> i32 {
    verdict::purged();
    0
}

#[kretprobe]
fn kretprobe_tw_purge(_ctx: RetProbeContext) -> u32 {
    verdict::purged();
    0
}
