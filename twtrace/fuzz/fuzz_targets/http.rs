//! Whatever somebody sends to `serve`.
//!
//! The first byte says whether there is a moment to tell of yet; the rest comes over a stream in
//! memory. Time is not waited for: whoever falls silent is given up at once.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
    runtime::{Builder, Runtime},
};
use twtrace::cmd::serve::Conversation;
use twtrace_fuzz::some_snapshot;

/// What may be on its way in one direction.
const ROOM: usize = 64 << 10;
/// Everything that is ever answered.
const STATUS: [u16; 9] = [200, 400, 404, 405, 408, 413, 431, 500, 503];
const KINDS: [&str; 6] = [
    "text/html; charset=utf-8",
    "text/plain; charset=utf-8",
    "text/plain; version=0.0.4; charset=utf-8",
    "application/openmetrics-text; version=1.0.0; charset=utf-8",
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
    "application/json",
];

struct Served {
    runtime: Runtime,
    ready: Conversation,
    unready: Conversation,
}

static SERVED: LazyLock<Served> = LazyLock::new(|| Served {
    runtime: Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime"),
    ready: Conversation::about(Some(some_snapshot())),
    unready: Conversation::about(None),
});

fuzz_target!(|data: &[u8]| {
    let &[moment, ref sent @ ..] = data else { return };
    let is_ready = moment & 1 == 1;
    let conversation = if is_ready { &SERVED.ready } else { &SERVED.unready };
    let said = SERVED.runtime.block_on(converse(conversation, sent));
    let mut rest = &said[..];
    while !rest.is_empty() {
        rest = answer(rest, is_ready);
    }
});

async fn converse(conversation: &Conversation, sent: &[u8]) -> Vec<u8> {
    let (ours, its) = duplex(ROOM);
    let (mut reader, mut writer) = tokio::io::split(ours);
    let mut said = Vec::new();
    let speak = async {
        // It may have been closed by then.
        let _ = writer.write_all(sent).await;
    };
    let hear = reader.read_to_end(&mut said);
    let (_, heard, ()) = tokio::join!(speak, hear, conversation.hold(its));
    heard.expect("memory can be read");
    said
}

/// Takes off one answer, which is sound.
fn answer(said: &[u8], is_ready: bool) -> &[u8] {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(said).expect("what is answered is HTTP");
    let httparse::Status::Complete(length) = parsed else { panic!("an answer is cut") };
    let status = response.code.expect("it has a status");
    assert!(STATUS.contains(&status), "{status}");
    assert!(is_ready || status != 500, "{status}");
    let header = |name: &str| {
        let found = response.headers.iter().find(|it| it.name.eq_ignore_ascii_case(name));
        found.map(|it| str::from_utf8(it.value).expect("headers are text"))
    };
    if let Some(kind) = header("content-type") {
        assert!(KINDS.contains(&kind), "{kind}");
    }
    let long: usize =
        header("content-length").map_or(0, |length| length.parse().expect("a number"));
    let rest = &said[length..];
    // An answer to HEAD has the length and no body; no body begins as an answer does.
    if rest.is_empty() || rest.starts_with(b"HTTP/1.") {
        return rest;
    }
    assert!(long <= rest.len(), "a body is cut");
    let (body, rest) = rest.split_at(long);
    if header("content-type").is_some_and(|kind| kind.contains("openmetrics")) {
        assert!(body.ends_with(b"# EOF\n"), "metrics end");
    }
    rest
}
