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
    http::{Request, Response, StatusCode, header::CONNECTION},
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
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::oneshot,
};
use tokio_io_timeout::TimeoutStream;

use super::{
    accept::accept,
    answers::answers,
    connections::{Connections, Heard},
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
/// How often is looked for room when nobody can be crowded out.
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
    let mut connections = Connections::new();
    loop {
        let stream = tokio::select! {
            _ = &mut stopped => return,
            () = connections.ended() => continue,
            stream = accept(&listener) => stream,
        };
        while !connections.has_room() {
            if connections.crowd_out() {
                moments.costs.crowded_out();
                break;
            }
            tokio::select! {
                _ = &mut stopped => return,
                () = connections.ended() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        let answers = answers.clone();
        connections.add(|heard| answer(stream, answers, heard));
    }
}

/// Answers one connection until it ends, which is nobody's failure.
async fn answer(stream: TcpStream, answers: Router, heard: Heard) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(TAKEN));
    let answers = TowerToHyperService::new(answers);
    let service = service_fn(move |request: Request<Incoming>| {
        heard.now();
        let answers = answers.clone();
        async move {
            if !request.body().is_end_stream() {
                return Ok(without_body());
            }
            answers.call(request.map(Body::new)).await
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

/// Nothing here takes a body, and it is not read.
fn without_body() -> Response<Body> {
    let why = "no request here has a body\n";
    (StatusCode::PAYLOAD_TOO_LARGE, [(CONNECTION, "close")], why).into_response()
}
