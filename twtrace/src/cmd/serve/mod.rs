//! `twtrace serve`: metrics over HTTP.
//!
//! The main thread has pipeline and signals, as in every live run; HTTP has a thread and a
//! runtime of its own. Between them is one thing: the last moment, which never changes. So no
//! scraper can delay the pipeline, and no flood of events a scraper.

mod accept;
mod answers;
mod connections;
mod conversation;
mod listen;
mod moment;
mod negotiated;
mod observer;
mod server;

use std::{process::ExitCode, sync::Arc};

use anyhow::Result;
use log::info;

pub use self::conversation::Conversation;
use self::{observer::Observer, server::Server};
use super::run::{self, Ends};
use crate::{
    config::Serve,
    filter::Filtered,
    frame::Frame,
    source::{Interval, Source},
};

/// Serves until a signal comes.
///
/// # Errors
/// An address that cannot be listened at, which is known before anything is attached; nothing to
/// trace with where a tier was asked for.
pub fn run(config: &Serve) -> Result<ExitCode> {
    let runtime = run::runtime()?;
    // Before anything is attached: from now on a signal ends us cleanly.
    let ends = runtime.block_on(async { Ends::new() })?;
    let listener = listen::listen(config.listen)?;
    info!("listening at http://{}", listener.local_addr()?);
    let interval = Interval::new(config.interval);
    let source = run::confined(&config.trace, interval, config.privileges)?;
    // Not before: its thread has no rights either. Whoever connects until then waits.
    let server = Server::start(listener, config.interval)?;
    runtime.block_on(serve(config, source, server, ends))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(
    config: &Serve,
    mut source: Source,
    mut server: Server,
    mut ends: Ends,
) -> Result<()> {
    let (stop, moments) = (source.stopper(), server.moments());
    let served = tokio::select! {
        biased;
        _ = ends.next() => Ok(()),
        failed = server.failed() => Err(failed),
        told = tell(config, &mut source, moments) => told,
    };
    server.stop()?;
    tokio::select! {
        biased;
        () = ends.ask(&stop) => return served,
        () = drain(&mut source) => {}
    }
    source.join()?;
    served
}

/// Frames in, moments out.
async fn tell(config: &Serve, source: &mut Source, moments: moment::Sender) -> Result<()> {
    let (filter, meta) = (config.filter.clone(), source.meta.clone());
    let limit = config.trace.max_connections;
    let mut pipeline = Filtered::new(filter, meta, limit, config.rows)?;
    let mut observer = Observer::new(config.top, source.reach.clone());
    while let Some(frame) = source.frames.recv().await {
        let snapshot = run::apply(&mut pipeline, &frame)?;
        if let (Frame::Tick { wall_ns, .. }, Some(snapshot)) = (frame, snapshot) {
            let moment = observer.observe(snapshot, wall_ns, moments.costs());
            moments.tell(Arc::new(moment));
        }
    }
    Ok(())
}

/// What a source still delivers that was asked to end.
async fn drain(source: &mut Source) {
    while source.frames.recv().await.is_some() {}
}
