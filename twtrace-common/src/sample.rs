//! What the code tells in which a processor is found.

use zerocopy::{Immutable, IntoBytes};

/// What it means that a kernel function is on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(u64)]
pub enum Doing {
    /// Unused slot.
    Nothing = 0,
    /// It searches a port for a connect.
    Connect = 1,
    /// It searches, or checks, a port for a bind.
    Bind = 2,
    /// It handles softirqs, whatever they interrupted.
    Softirq = 3,
}

/// Code of a kernel function, from `start` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub struct SampledCode {
    /// The address of its first byte.
    pub start: u64,
    /// The address behind its last byte.
    pub end: u64,
    /// What it means to be there.
    pub doing: Doing,
}

/// Room for the functions and the parts that compilers split off them.
pub const SAMPLED_CODES: usize = 16;

impl SampledCode {
    /// A slot that no address is in.
    pub const UNUSED: Self = Self { start: 0, end: 0, doing: Doing::Nothing };
}
