//! The programs, one file per hook family.

mod nothing;
mod port_search;
pub(crate) mod time_wait;
mod transitions;
