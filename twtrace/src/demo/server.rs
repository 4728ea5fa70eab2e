//! What servers do.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

use super::actor;

/// How long a server waits for a client before it turns to the next.
const PATIENCE: Duration = Duration::from_secs(1);

/// Listens at `addresses` and answers each client by a byte, one after the other; `then` has the
/// connection. The queue of a listener never overflows: its client has one question at a time.
pub(super) fn serve(
    addresses: &[SocketAddr],
    then: impl Fn(TcpStream) -> io::Result<()> + Sync,
) -> Result<()> {
    let listen = |address: &SocketAddr| {
        TcpListener::bind(address).with_context(|| format!("cannot listen at {address}"))
    };
    let listeners = addresses.iter().map(listen).collect::<Result<Vec<_>>>()?;
    actor::ready()?;
    thread::scope(|scope| {
        for listener in &listeners {
            scope.spawn(|| accept_from(listener, &then));
        }
    });
    Ok(())
}

fn accept_from(listener: &TcpListener, then: impl Fn(TcpStream) -> io::Result<()>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Out of files, and again at once.
            thread::sleep(PATIENCE);
            continue;
        };
        // A client may end at any time.
        let _ = answer(stream).and_then(&then);
    }
}

fn answer(mut stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.read_exact(&mut [0])?;
    stream.write_all(b"!")?;
    Ok(stream)
}

/// Closes when the client has closed.
pub(super) fn close_second(mut stream: TcpStream) -> io::Result<()> {
    stream.read(&mut [0]).map(drop)
}

/// Closes while the client waits for that.
pub(super) fn close_first(stream: TcpStream) -> io::Result<()> {
    drop(stream);
    Ok(())
}
