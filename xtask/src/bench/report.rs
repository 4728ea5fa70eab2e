//! What is printed, text to paste or JSON, and the document.

mod comparison;
mod document;
mod endurances;
mod growth;
mod json;
mod listings;
mod models;
mod plots;
mod recordings;
mod screens;
mod searches;
mod serving;
mod text;
mod tiers;

pub(super) use document::write;
pub(super) use json::json;
pub(super) use text::text;
