//! Takes connections as they come, whatever becomes of them.

use std::{
    io,
    time::{Duration, Instant},
};

use log::warn;
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};

/// How long to wait when there is no file, or no memory, for one more.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
/// Want that comes back so soon is the same want.
const EPISODE: Duration = Duration::from_mins(1);

/// The next connection; `None` if there is no file, or no memory, for it. Then the next would
/// fail alike at once.
pub(super) async fn accept(listener: &TcpListener, want: &mut Want) -> Option<TcpStream> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Some(stream),
            Err(error) if is_want(&error) => {
                want.is_felt(&error);
                return None;
            }
            // It was gone before we came to it.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

fn is_want(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

/// Want of files or memory, which is said when it begins.
#[derive(Debug, Default)]
pub(super) struct Want {
    last: Option<Instant>,
}

impl Want {
    fn is_felt(&mut self, error: &io::Error) {
        let lasts = self.last.is_some_and(|last| last.elapsed() < EPISODE);
        self.last = Some(Instant::now());
        if !lasts {
            warn!(
                "cannot take a connection: {error}; others make room; raise the limit on open \
                 files (ulimit -n)"
            );
        }
    }
}
