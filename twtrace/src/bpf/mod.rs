//! The BPF programs at work: the only place that knows aya.
//!
//! [`preflight`] asks the host what it allows, [`plan`] turns that into what
//! to try in which order (pure data), [`ends`] says what the programs leave out,
//! [`attach`] tries it, [`counters`] reads
//! what the programs count, [`ring`] what they write, [`cost`] and
//! [`run_time`] what they cost.

pub mod attach;
pub mod cost;
pub mod counters;
pub mod ends;
mod log;
pub mod object;
pub mod offsets;
pub mod plan;
pub mod preflight;
pub mod refusal;
pub mod ring;
pub mod run_time;
mod sampling;
pub mod timewait;
