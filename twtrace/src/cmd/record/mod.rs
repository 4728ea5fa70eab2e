//! `twtrace record`.

mod progress;
mod session;

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::Signal;
use tokio::{
    signal::unix::{self, SignalKind, signal},
    sync::oneshot,
};

use self::session::{Asked, Session};
use super::{
    command::{self, Measured},
    run::{self, Ends},
};
use crate::{
    config,
    recorder::{self, Recorder},
    source::{Interval, Source},
    view::record as view,
};

/// A tick a second: what is known of the end of a file, or of a stretch, is as fine.
const INTERVAL: Duration = Duration::from_secs(1);
/// Rows in the arrays of the Snapshot at the end of a file.
const ROWS: usize = 50;
/// What a shell exits with after Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Records until it is told to end.
///
/// # Errors
/// A command that cannot be run, a file that cannot be made or written, nothing to trace
/// with where a tier was asked for.
pub fn run(config: config::Record) -> Result<ExitCode> {
    // As long as nothing is attached, and nothing caught, any signal ends us.
    let pipe = config.recorder.wait_for_reader()?;
    let runtime = run::runtime()?;
    // Before anything is attached: from now on a signal ends us cleanly.
    let signals = runtime.block_on(async { Signals::new() })?;
    let command = config.command.as_ref().map(Measured::new).transpose()?;
    let source = run::source(&config.trace, Interval::new(INTERVAL))?;
    let max_connections = config.trace.max_connections;
    let meta = recorder::first_file(&source.meta, max_connections, ROWS, config.trace.netns);
    let recorder = Recorder::start(config.recorder.clone(), meta.clone())?;
    drop(pipe);
    let _ = write!(io::stderr(), "{}", view::beginning(recorder.file(), config.duration));
    let session = Session::new(config, &meta, recorder, source.stopper());
    runtime.block_on(record(session, source, signals, command))
}

/// What is asked of a recording that goes on.
struct Signals {
    ends: Ends,
    hangup: unix::Signal,
    status: unix::Signal,
    dump: unix::Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        // A file that must not grow is an error of the write, and not the end of us.
        drop(catch(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
        Ok(Self {
            ends: Ends::but_for_hangup()?,
            hangup: catch(SignalKind::hangup())?,
            status: catch(SignalKind::user_defined1())?,
            dump: catch(SignalKind::user_defined2())?,
        })
    }
}

async fn record(
    mut session: Session,
    mut source: Source,
    signals: Signals,
    mut command: Option<Measured>,
) -> Result<ExitCode> {
    let Signals { mut ends, hangup, status, dump } = signals;
    let stop = source.stopper();
    let (seeded, ready) = oneshot::channel();
    let duration = session.duration();
    let mut failure = None;
    let given_up = async {
        failure = command::over(duration, command.as_mut(), &mut ends, ready).await.err();
        ends.ask(&stop).await;
    };
    let asked = Asked { hangup, status, dump };
    let recorded = tokio::select! {
        biased;
        () = given_up => None,
        recorded = session.pump(&mut source, asked, seeded) => Some(recorded),
    };
    // What failed is said after what was recorded until then.
    let finished = match recorded {
        Some(Ok(())) => session.finish(&mut ends, &stop).await,
        Some(Err(error)) => Err(error),
        None => Ok(()),
    };
    session.say_if_nothing_was_written();
    session.say_what_was_recorded();
    finished?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    source.join()?;
    let code = match &mut command {
        Some(command) => command.exit_code(&mut ends).await?.unwrap_or(INTERRUPTED),
        None => 0,
    };
    Ok(ExitCode::from(code))
}
