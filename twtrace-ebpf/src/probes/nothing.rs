//! A program that does nothing, to measure the others by: what the kernel's
//! own statistics say of it is what they cost themselves.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

/// On a tracepoint that every host passes all the time.
#[btf_tracepoint(function = "timer_start")]
fn nothing(_ctx: BtfTracePointContext) -> i32 {
    0
}
