//! The socket that scrapers connect to.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
};

use anyhow::{Context as _, Result};

/// Connections that wait to be accepted: a storm of a thousand scrapes finds room.
const BACKLOG: i32 = 1_024;

/// Listens at `address`.
///
/// # Errors
/// It is taken, or may not be had.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .map_err(|error| {
            let fix = fix(error.kind(), address);
            anyhow::Error::from(error).context(fix)
        })
        .with_context(|| format!("cannot listen at {address}"))?;
    // The standard library's is 128; a socket may be asked again.
    rustix::net::listen(&listener, BACKLOG).context("cannot lengthen the queue of connections")?;
    listener.set_nonblocking(true).context("cannot wait for connections")?;
    Ok(listener)
}

fn fix(kind: ErrorKind, address: SocketAddr) -> String {
    let port = address.port();
    match kind {
        ErrorKind::AddrInUse => format!(
            "port {port} is taken: end who has it (ss -ltnp 'sport = :{port}') or name another with --listen"
        ),
        ErrorKind::AddrNotAvailable => {
            "this host has no such address: name one of its own (ip address) with --listen"
                .to_owned()
        }
        ErrorKind::PermissionDenied => {
            format!("port {port} needs CAP_NET_BIND_SERVICE: name one from 1024 on with --listen")
        }
        _ => "name another address with --listen".to_owned(),
    }
}
