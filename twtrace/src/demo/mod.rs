//! `twtrace top --demo`: what there is to see of TCP, played by processes of our own in network
//! namespaces of our own, for whoever has nothing to look at yet.
//!
//! `scenes/` says who plays what; each scene has a namespace. [`Stage`] makes these before
//! anything is attached, and lets the processes begin afterwards, so that every socket is seen
//! from its birth on. [`Demo`] ends them. Whatever becomes of twtrace, nothing is left: each
//! process has a `lease`, and a namespace goes with the last process in it.

mod actor;
mod client;
mod lease;
mod scenes;
mod server;
mod stage;

pub use self::{
    actor::act,
    stage::{Demo, Stage},
};
