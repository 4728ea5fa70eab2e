//! The screen of `twtrace top`: what it shows is a pure function of a [`Moment`] and a
//! [`Model`], and all that comes back from it are [`Intent`]s.
//!
//! ```text
//! Moment ─┐
//!         ├→ Model → draw → screen
//! Input ──┘    └→ Intent
//! ```

mod bars;
mod cells;
mod detail;
mod draw;
mod footer;
mod header;
mod help;
mod history;
mod keys;
mod layout;
mod model;
mod moment;
mod tab;
mod table;
mod theme;

pub use self::{
    draw::draw,
    model::{Intent, Model, Notice},
    moment::{Cost, Moment, Playback},
    tab::closers::ClosersBy,
    theme::Theme,
};
