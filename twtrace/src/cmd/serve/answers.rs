//! What each path answers.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
    routing::get,
};

use super::{moment::Receiver, negotiated::negotiated};

const TEXT: &str = "text/plain; charset=utf-8";
const INDEX: &str = concat!(
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>twtrace</title></head>\n",
    "<body><h1>twtrace ",
    env!("CARGO_PKG_VERSION"),
    "</h1>\n<ul>\n",
    "<li><a href=\"/metrics\">/metrics</a> for Prometheus</li>\n",
    "<li><a href=\"/snapshot.json\">/snapshot.json</a> as top --json prints it</li>\n",
    "<li><a href=\"/healthz\">/healthz</a> it lives</li>\n",
    "<li><a href=\"/readyz\">/readyz</a> it traces, and what it tells is fresh</li>\n",
    "</ul></body></html>\n",
);

/// What answers know.
#[derive(Debug)]
struct Known {
    moments: Receiver,
    /// A moment that is older is none.
    freshness: Duration,
}

/// The paths; GET and HEAD alone.
pub(super) fn answers(moments: Receiver, freshness: Duration) -> Router {
    Router::new()
        .route("/", get(async || typed("text/html; charset=utf-8", INDEX)))
        .route("/metrics", get(metrics))
        .route("/snapshot.json", get(snapshot))
        .route("/healthz", get(async || typed(TEXT, "alive\n")))
        .route("/readyz", get(ready))
        .fallback(async || refused(StatusCode::NOT_FOUND, "there is /metrics and /snapshot.json"))
        .with_state(Arc::new(Known { moments, freshness }))
}

async fn metrics(State(known): State<Arc<Known>>, headers: HeaderMap) -> Response {
    let Some(moment) = known.moments.last() else { return unready() };
    let (format, costs) = (negotiated(&headers), &known.moments.costs);
    costs.scraped();
    typed(format.content_type(), moment.metrics(format, costs))
}

async fn snapshot(State(known): State<Arc<Known>>) -> Response {
    let Some(moment) = known.moments.last() else { return unready() };
    match moment.json() {
        Ok(json) => typed("application/json", json),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}")),
    }
}

async fn ready(State(known): State<Arc<Known>>) -> Response {
    let Some(moment) = known.moments.last() else { return unready() };
    let age = moment.age();
    if age > known.freshness {
        let seconds = age.as_secs();
        let why =
            format!("the last snapshot is {seconds} s old: twtrace gets too little CPU, or hangs");
        return refused(StatusCode::SERVICE_UNAVAILABLE, &why);
    }
    typed(TEXT, "ready\n")
}

fn unready() -> Response {
    let why = "not ready: hooks attach, and sockets that exist are read";
    refused(StatusCode::SERVICE_UNAVAILABLE, why)
}

fn refused(status: StatusCode, why: &str) -> Response {
    (status, typed(TEXT, format!("{why}\n"))).into_response()
}

fn typed(content_type: &'static str, body: impl IntoResponse) -> Response {
    ([(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")], body).into_response()
}
