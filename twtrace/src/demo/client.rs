//! What clients do.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use rustix::net::sockopt;

use super::actor;

/// How long a client waits for an answer; it goes on without.
const PATIENCE: Duration = Duration::from_secs(1);

/// Calls so many times a second, one call after the other. A call that fails is one that failed:
/// the servers end when we do, and some before us.
pub(super) fn call_at(per_second: u32, mut call: impl FnMut(u64) -> io::Result<()>) -> Result<()> {
    actor::ready()?;
    let period = Duration::from_secs(1) / per_second;
    let mut due = Instant::now();
    for number in 0.. {
        let _ = call(number);
        // What could not be done in time is left out: nothing is ever done at full speed.
        due = (due + period).max(Instant::now() - period);
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// Connects; then a byte goes each way.
pub(super) fn ask(server: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"?")?;
    stream.read_exact(&mut [0])?;
    Ok(stream)
}

/// Waits until the server closes.
pub(super) fn expect_end(mut stream: TcpStream) -> io::Result<()> {
    stream.read(&mut [0]).map(drop)
}

/// Closes by RST, as SO_LINGER 0 has it.
pub(super) fn cut_off(stream: TcpStream) -> io::Result<()> {
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
    drop(stream);
    Ok(())
}
