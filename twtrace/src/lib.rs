//! twtrace: who closes first, how long TIME_WAIT sockets live, what the search
//! for a free port costs, and which destination runs out of ports.
//!
//! ```text
//! source → Frame → decode → Event → tracker → Transition → stats → Snapshot → view
//! ```
//!
//! [`event`], [`decode`], [`frame`], [`filter`], [`probes`], [`pipeline`], [`trace`], [`tracker`],
//! [`stats`], [`census`], [`doctor`] and [`export`] are pure: they read no clock, no file and no kernel, and a test
//! keeps it so. [`bpf`] is the only place that knows aya.

pub mod bpf;
pub mod census;
pub mod cli;
pub mod cmd;
pub mod config;
pub mod decode;
pub mod demo;
pub mod doctor;
pub mod event;
pub mod export;
pub mod filter;
pub mod frame;
pub mod host;
pub mod log_lines;
pub mod pipeline;
pub mod privileges;
pub mod probes;
pub mod recorder;
pub mod selftest;
pub mod source;
pub mod stats;
pub mod trace;
pub mod tracker;
pub mod view;
