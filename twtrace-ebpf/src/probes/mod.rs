//! The programs, one file per hook family.

mod cpu_sample;
mod functions;
mod nothing;
mod port_search;
mod time_wait;
mod transitions;
