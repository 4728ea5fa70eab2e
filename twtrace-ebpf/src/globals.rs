//! What user space decides before loading. The kernel freezes these, so the
//! verifier folds them and prunes the branches they rule out.

use aya_ebpf::Global;
use twtrace_common::{
    CALLERS, Caller, Offsets, PORT_WORDS, PortBits, SAMPLED_CODES, SampledCode, port_bit,
};

/// Where this kernel keeps its fields; see [`crate::sock`].
#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets::UNRESOLVED;

/// Trace only the network namespace with this inode; 0 traces all.
#[unsafe(no_mangle)]
static NETNS_FILTER: Global<u32> = Global::new(0);

/// What is asked of a socket's ends: bits of [`twtrace_common::asked_ends`].
#[unsafe(no_mangle)]
static ASKED_ENDS: Global<u32> = Global::new(0);

/// The local ports asked for.
#[unsafe(no_mangle)]
static LPORTS: PortBits = [0; PORT_WORDS];

/// The remote ports asked for.
#[unsafe(no_mangle)]
static RPORTS: PortBits = [0; PORT_WORDS];

/// Address of the kernel's `tw_timer_handler`: the function of every
/// mini-socket's timer, and of no other.
#[unsafe(no_mangle)]
static TW_TIMER_HANDLER: Global<u64> = Global::new(0);

/// The kernel functions that stop a mini-socket's timer.
#[unsafe(no_mangle)]
static TW_CALLERS: [Caller; CALLERS] = [Caller::UNUSED; CALLERS];

/// The kernel functions by which a CPU sample is judged.
#[unsafe(no_mangle)]
static SAMPLED: [SampledCode; SAMPLED_CODES] = [SampledCode::UNUSED; SAMPLED_CODES];

/// Whether the ports that searches look at are counted: 1 or 0.
#[unsafe(no_mangle)]
static COUNT_TRIED: Global<u32> = Global::new(0);

/// Whether transitions are counted and not told: 1 or 0.
#[unsafe(no_mangle)]
static LIGHT: Global<u32> = Global::new(0);

/// Reads one field of [`OFFSETS`] alone, so that it reaches the verifier as a
/// constant in a register and not as a copy of the struct on the stack.
macro_rules! offset {
    ($field:ident) => {
        $crate::globals::load_offset(|offsets| &offsets.$field)
    };
}
pub(crate) use offset;

#[inline(always)]
pub(crate) fn load_offset(field: impl FnOnce(&Offsets) -> &u64) -> u64 {
    // SAFETY: a reference is valid for reads; volatile keeps the compiler from
    // folding the zeros it sees here.
    unsafe { core::ptr::read_volatile(field(&OFFSETS)) }
}

#[inline(always)]
pub(crate) fn netns_filter() -> u32 {
    NETNS_FILTER.load()
}

/// What is asked of a socket's ends: bits of [`twtrace_common::asked_ends`].
#[inline(always)]
pub(crate) fn asked_ends() -> u32 {
    ASKED_ENDS.load()
}

/// Whether a local port is asked for.
#[inline(always)]
pub(crate) fn wants_lport(port: u16) -> bool {
    holds(core::hint::black_box(&LPORTS), port)
}

/// Whether a remote port is asked for.
#[inline(always)]
pub(crate) fn wants_rport(port: u16) -> bool {
    holds(core::hint::black_box(&RPORTS), port)
}

#[inline(always)]
fn holds(ports: &'static PortBits, port: u16) -> bool {
    let (word, bit) = port_bit(port);
    // SAFETY: sixteen bits less six name one of 1,024 words.
    (unsafe { *ports.get_unchecked(word) }) & bit != 0
}

#[inline(always)]
pub(crate) fn tw_timer_handler() -> u64 {
    TW_TIMER_HANDLER.load()
}

/// The functions that stop a mini-socket's timer, as words `start, end, kills`.
#[inline(always)]
pub(crate) fn tw_callers() -> &'static [Caller; CALLERS] {
    core::hint::black_box(&TW_CALLERS)
}

/// The functions by which a CPU sample is judged, as words `start, end, doing`.
#[inline(always)]
pub(crate) fn sampled() -> &'static [SampledCode; SAMPLED_CODES] {
    core::hint::black_box(&SAMPLED)
}

/// Whether the ports that searches look at are counted.
#[inline(always)]
pub(crate) fn counts_tried() -> bool {
    COUNT_TRIED.load() != 0
}

/// Whether transitions are counted and not told.
#[inline(always)]
pub(crate) fn is_light() -> bool {
    LIGHT.load() != 0
}
