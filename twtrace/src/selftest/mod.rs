//! `twtrace selftest`: every way to close a connection, to fail a connect, to
//! search for a port and to end a mini-socket is played with real sockets in
//! network namespaces of our own; then what twtrace says of each is compared
//! with what was done, and with what the kernel counts there.

pub mod case;
mod connection;
mod run;
mod scene;
mod scenes;
mod seen;
mod segment;
mod stage;

pub use self::{
    run::{INTERVAL, Selftest},
    stage::Stage,
};
