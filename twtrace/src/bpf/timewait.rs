//! Which kernel functions have to do with the end of mini-sockets, and where.

use twtrace_common::{CALLERS, Caller, Kills};

use super::refusal::Refusal;
use crate::host::{CodeRange, Symbols};

/// The function of every mini-socket's timer.
const HANDLER: &str = "tw_timer_handler";

/// The functions that stop a mini-socket's timer, by what that means. A part
/// that the compiler split off has the name with a suffix and counts as well.
///
/// All callers of `inet_twsk_deschedule_put` and `__inet_twsk_schedule`:
/// <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_timewait_sock.c#L280-L325>.
/// What a function calls last it may jump to, and leaves no frame: so does
/// `__inet_twsk_schedule` when it re-arms, and the timer code has to tell
/// ([`mod_timer_pending`](https://github.com/torvalds/linux/blob/v6.12/kernel/time/timer.c)).
///
/// A CPU that goes offline hands its timers on, stopping and starting each
/// ([`timers_dead_cpu`](https://github.com/torvalds/linux/blob/v6.12/kernel/time/timer.c)).
const FUNCTIONS: [(&str, Kills); 12] = [
    ("timers_dead_cpu", Kills::Rearm),
    ("__mod_timer", Kills::Rearm),
    ("mod_timer_pending", Kills::Rearm),
    ("__inet_twsk_schedule", Kills::Rearm),
    ("tcp_timewait_state_process", Kills::Reset),
    ("tcp_v4_rcv", Kills::Segment),
    ("tcp_v6_rcv", Kills::Segment),
    ("__inet_check_established", Kills::ConnectBound),
    ("__inet6_check_established", Kills::ConnectBound),
    ("__inet_hash_connect", Kills::ConnectSearch),
    ("tcp_abort", Kills::Abort),
    ("inet_twsk_purge", Kills::Purge),
];

/// Addresses in the running kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWaitSymbols {
    /// Of `tw_timer_handler`.
    pub handler: u64,
    /// The code that stops timers; unused slots are empty.
    pub callers: [Caller; CALLERS],
}

impl TimeWaitSymbols {
    /// What is to be looked up.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        FUNCTIONS.iter().map(|(name, _)| *name).chain([HANDLER])
    }

    /// Takes them from what was found.
    pub(super) fn find(symbols: &Symbols) -> Result<Self, Refusal> {
        let handler = symbols.address(HANDLER).ok_or_else(|| {
            Refusal::for_good(format!("this kernel has no function {HANDLER}, or several"))
        })?;
        Ok(Self { handler, callers: callers(|name| symbols.code(name).unwrap_or_default()) })
    }
}

/// The callers as the programs take them; what finds no slot counts as `other`.
fn callers<'a>(code: impl Fn(&str) -> &'a [CodeRange]) -> [Caller; CALLERS] {
    let mut found = FUNCTIONS.iter().flat_map(|&(name, kills)| {
        code(name).iter().map(move |range| Caller { start: range.start, end: range.end, kills })
    });
    std::array::from_fn(|_| found.next().unwrap_or(Caller::UNUSED))
}
