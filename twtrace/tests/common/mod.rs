//! What the tests of the library share: a kernel made of paper, fixtures, and golden files.
#![allow(dead_code, reason = "each test binary takes what it needs")]

pub(crate) mod exported;
pub(crate) mod fixture;
pub(crate) mod golden;
pub(crate) mod kernel;
pub(crate) mod model;
pub(crate) mod page;
pub(crate) mod recording;
pub(crate) mod stream;
pub(crate) mod subset;
