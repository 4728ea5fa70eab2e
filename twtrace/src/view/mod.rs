//! How a Snapshot looks. A view is a pure function of what it shows.

pub mod check;
pub mod csv;
pub mod doctor;
pub mod html;
pub mod json;
pub mod prometheus;
pub mod record;
pub mod selftest;
pub mod states;
pub mod text;
pub mod tui;
pub mod verdict;
pub mod verify;
