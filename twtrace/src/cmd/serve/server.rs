//! The thread that answers.

use std::{
    net,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Error, Result, anyhow};
use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Method, Request, Response, StatusCode, header::CONNECTION},
    response::IntoResponse,
};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::oneshot,
};
use tokio_io_timeout::TimeoutStream;

use super::{
    accept::{PAUSE, Want, accept},
    answers::answers,
    connections::{Connections, Guest, Room},
    moment::{self, Receiver, Sender},
};

/// What a request's line and headers may take; more is answered 431.
pub(super) const BUFFER: usize = 16 << 10;
/// So many headers at most; more is answered 431.
const HEADERS: usize = 64;
/// A request has to be there so long after the one before, or after the connection. Longer than
/// scrapes are apart, so that it is the scraper who closes: whoever closes first keeps a TIME_WAIT.
const REQUEST: Duration = Duration::from_secs(150);
/// Somebody has to take a part of an answer so often.
const TAKEN: Duration = Duration::from_secs(10);
/// How often one more is asked to leave when all are busy.
const LOOK: Duration = Duration::from_millis(50);
/// A moment may come late by so many intervals, and so many seconds.
const LATE: (u32, Duration) = (3, Duration::from_secs(5));

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    moments: Sender,
    /// Ends it when it is dropped.
    stop: Option<oneshot::Sender<()>>,
    /// `None` when it has been waited for.
    thread: Option<JoinHandle<()>>,
    over: oneshot::Receiver<()>,
}

impl Server {
    /// Answers at `listener`, at first that it is not ready; a moment comes every `interval`.
    pub(super) fn start(listener: net::TcpListener, interval: Duration) -> Result<Self> {
        let (moments, receiver) = moment::channel();
        let (stop, stopped) = oneshot::channel();
        let (done, over) = oneshot::channel();
        let runtime =
            Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
        let freshness = interval.saturating_mul(LATE.0).saturating_add(LATE.1);
        let listener = registered(&runtime, listener)?;
        let work = move || {
            // Dropped when it ends, however that is.
            let _done: oneshot::Sender<()> = done;
            runtime.block_on(serve(listener, receiver, freshness, stopped));
        };
        let thread = thread::Builder::new().name("http".to_owned()).spawn(work);
        let thread =
            thread.context("cannot start a thread; raise the limit on tasks (ulimit -u)")?;
        Ok(Self { moments, stop: Some(stop), thread: Some(thread), over })
    }

    /// Where moments are told.
    pub(super) fn moments(&self) -> Sender {
        self.moments.clone()
    }

    /// Waits until it has failed.
    pub(super) async fn failed(&mut self) -> Error {
        // Nothing is ever sent.
        let _ = (&mut self.over).await;
        anyhow!("the thread that answers HTTP panicked")
    }

    /// Ends it, and waits for that.
    pub(super) fn stop(&mut self) -> Result<()> {
        self.stop = None;
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_| anyhow!("the thread that answers HTTP panicked"))
    }
}

fn registered(runtime: &Runtime, listener: net::TcpListener) -> Result<TcpListener> {
    let _entered = runtime.enter();
    TcpListener::from_std(listener).context("cannot wait for connections")
}

async fn serve(
    listener: TcpListener,
    moments: Receiver,
    freshness: Duration,
    mut stopped: oneshot::Receiver<()>,
) {
    let answers = answers(moments.clone(), freshness);
    let (mut connections, mut want) = (Connections::new(), Want::default());
    let crowd_out = |connections: &mut Connections| {
        let room = connections.crowd_out();
        if room != Room::Awaited {
            moments.costs.crowded_out();
        }
        room
    };
    loop {
        let accepted = tokio::select! {
            _ = &mut stopped => return,
            () = connections.ended() => continue,
            accepted = accept(&listener, &mut want) => accepted,
        };
        let Some(stream) = accepted else {
            crowd_out(&mut connections);
            tokio::select! {
                _ = &mut stopped => return,
                () = connections.ended() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
            continue;
        };
        while !connections.has_room() && crowd_out(&mut connections) != Room::Made {
            tokio::select! {
                _ = &mut stopped => return,
                () = connections.ended() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        let answers = answers.clone();
        connections.add(|guest| answer(stream, answers, guest));
    }
}

/// Answers one connection until it ends, which is nobody's failure.
pub(super) async fn answer<S>(stream: S, answers: Router, guest: Guest)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(TAKEN));
    let answers = TowerToHyperService::new(answers);
    let service = service_fn(move |request: Request<Incoming>| {
        guest.speaks();
        let (guest, answers) = (guest.clone(), answers.clone());
        // Nothing here takes a body, and it is not read: nothing can follow it.
        let has_body = !request.body().is_end_stream();
        let is_known = matches!(*request.method(), Method::GET | Method::HEAD);
        async move {
            let answer = if has_body && is_known {
                Ok((StatusCode::PAYLOAD_TOO_LARGE, "no request here has a body\n").into_response())
            } else {
                answers.call(request.map(|_| Body::empty())).await
            };
            let is_last = has_body || guest.leaves();
            answer.map(|answer| if is_last { last(answer) } else { answer })
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .max_buf_size(BUFFER)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let _ = served.await;
}

/// The connection ends with this answer.
fn last(mut answer: Response<Body>) -> Response<Body> {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}
