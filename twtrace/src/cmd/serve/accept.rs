//! Takes connections as they come, whatever becomes of them.

use std::{io, time::Duration};

use log::warn;
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};

/// How long to wait when there is no file, or no memory, for one more.
const PAUSE: Duration = Duration::from_millis(100);

/// The next connection.
pub(super) async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_want(&error) => {
                warn!(
                    "cannot take a connection: {error}; raise the limit on open files (ulimit -n)"
                );
                tokio::time::sleep(PAUSE).await;
            }
            // It was gone before we came to it.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// Whether there is no room for one more: then the next would fail alike at once.
fn is_want(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}
