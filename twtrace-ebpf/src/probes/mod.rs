//! The programs, one file per hook family.

mod transitions;
