//! A second opinion on everything the tracker counts: slow, simple, and by the counting rules
//! alone. It shares nothing with the tracker but the types of events.
//!
//! [`life`] says what lives sockets lead, and what each step of one means; [`world`] leads many at the
//! same time, at addresses and ports that are taken again as soon as they are free; [`counts`] adds up
//! the meanings; [`delivery`] lets a paper kernel tell of it, as well or as badly as is asked for.

pub(crate) mod counts;
pub(crate) mod delivery;
pub(crate) mod life;
pub(crate) mod world;
