//! What is printed: text to paste, or JSON.

mod json;
mod listings;
mod recordings;
mod screens;
mod searches;
mod serving;
mod text;

pub(super) use json::json;
pub(super) use text::text;
