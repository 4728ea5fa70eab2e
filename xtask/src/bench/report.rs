//! What is printed: text to paste, or JSON.

mod json;
mod text;

pub(super) use json::json;
pub(super) use text::text;
