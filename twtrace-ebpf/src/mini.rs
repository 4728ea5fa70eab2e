//! `struct inet_timewait_sock`, by its address or by way of its timer.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated;
use twtrace_common::{RecordKind, TcpState, TimeWaitRecord, time_wait_flags};

use crate::{
    emit,
    globals::offset,
    memory::{Copied, Load, Probed, Typed},
    sock::Sock,
};

/// What is copied of a mini-socket: it reaches to its timer on every kernel
/// since 5.8, and all that is read lies before it.
const COPIED_WORDS: usize = 20;

/// The timer of a mini-socket, as a timer hook hands it out.
#[derive(Clone, Copy)]
pub(crate) struct Timer(*const u8);

impl Timer {
    /// `None` if the timer is anybody else's.
    ///
    /// # Safety
    /// `timer` is the `struct timer_list *` argument of the running hook.
    #[inline(always)]
    pub(crate) unsafe fn of_mini(timer: *const u8) -> Option<Self> {
        // SAFETY: by the caller's promise.
        let function = unsafe { Typed::load::<u64>(timer, offset!(timer_function)) };
        (function == crate::globals::tw_timer_handler()).then_some(Self(timer))
    }

    /// Whether its time has come: then it was stopped to fire, as a rule.
    #[inline(always)]
    pub(crate) fn is_due(self) -> bool {
        // SAFETY: `of_mini` took the hook's timer; the helper takes no argument.
        let (expires, jiffies) = unsafe {
            (Typed::load::<u64>(self.0, offset!(timer_expires)), generated::bpf_jiffies64())
        };
        jiffies.wrapping_sub(expires) as i64 >= 0
    }

    /// The mini-socket around it.
    #[inline(always)]
    pub(crate) fn mini(self) -> Mini {
        Mini((self.0 as u64).wrapping_sub(offset!(tw_timer)))
    }
}

/// A mini-socket, by its address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mini(u64);

impl Mini {
    #[inline(always)]
    pub(crate) fn at(address: u64) -> Self {
        Self(address)
    }

    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.0
    }

    /// What the mini-socket says of itself; its time is now.
    #[inline(always)]
    pub(crate) fn record(self, kind: RecordKind) -> TimeWaitRecord {
        let mut copy = MaybeUninit::<[u64; COPIED_WORDS]>::uninit();
        let tw = self.address();
        // SAFETY: the helper copes with any address and fills the copy: on
        // failure with zeros, a namespace that does not exist.
        // <https://github.com/torvalds/linux/blob/v6.12/kernel/trace/bpf_trace.c#L240-L250>
        unsafe {
            generated::bpf_probe_read_kernel(
                copy.as_mut_ptr().cast(),
                size_of_val(&copy) as u32,
                tw as *const _,
            );
        }
        let address = copy.as_ptr().cast::<u8>();
        // SAFETY: a mini-socket begins with a `struct sock_common`, and user
        // space has checked that the offsets lie within the copy.
        let (sock, substate) = unsafe {
            (Sock::<Copied>::new(address), Copied::load::<u8>(address, offset!(tw_substate)))
        };
        let ends = sock.addresses();
        TimeWaitRecord {
            kind: kind as u8,
            end: 0,
            substate,
            padding: 0,
            netns: sock.netns(),
            time_ns: emit::now_ns(),
            tw,
            lport: sock.bound_port(),
            rport: sock.remote_port(),
            flags: if matches!(kind, RecordKind::Birth) { self.timestamps() } else { 0 },
            laddr: octets(ends.local),
            raddr: octets(ends.remote),
        }
    }

    /// Whether the peer sent timestamps, as flags. It lies behind what is copied, and
    /// is filled before a mini-socket is scheduled or can be found, whatever its
    /// substate
    /// ([`tcp_time_wait`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_minisocks.c)).
    #[inline(always)]
    fn timestamps(self) -> u32 {
        let offset = offset!(tw_ts_recent_stamp);
        if offset == 0 {
            return 0;
        }
        // SAFETY: the helper copes with any address. Seconds, so the lower half tells
        // where the field has 64 bits.
        let stamp = unsafe { Probed::load::<u32>(self.address() as *const u8, offset) };
        let found = if stamp != 0 { time_wait_flags::TIMESTAMPS } else { 0 };
        time_wait_flags::TIMESTAMPS_KNOWN | found
    }
}

/// The substate of a record of a mini-socket.
#[inline(always)]
pub(crate) fn substate(record: &TimeWaitRecord) -> TcpState {
    if record.substate == TcpState::FinWait2 as u8 {
        TcpState::FinWait2
    } else {
        TcpState::TimeWait
    }
}

#[inline(always)]
fn octets(words: [u64; 2]) -> [u8; 16] {
    // SAFETY: both are 16 bytes of plain data.
    unsafe { core::mem::transmute(words) }
}

/// An address of a record as words, to compare.
#[inline(always)]
pub(crate) fn words(octets: [u8; 16]) -> [u64; 2] {
    // SAFETY: both are 16 bytes of plain data.
    unsafe { core::mem::transmute(octets) }
}
