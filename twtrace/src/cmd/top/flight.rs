//! The last minutes, kept while the screen shows them, to be written out when somebody asks.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    cmd::run,
    decode,
    filter::Filter,
    frame::{Frame, Meta},
    pipeline::Pipeline,
    recorder::{self, Limits, Names, Next, Recorder, Settings},
    trace::End,
};

/// What the file is called.
const NAME: &str = "twtrace-%Y%m%d-%H%M%S.twt";
/// Rows in the arrays of the Snapshot at its end.
const ROWS: usize = 50;

/// See the module's documentation.
pub(super) struct Flight {
    recorder: Recorder,
    flight_ns: u64,
    /// Where the screen shows a part alone: what is there in all.
    all: Option<Pipeline>,
    /// Records that found no room on their way, since that was last said.
    lost: u64,
    part_started_ns: u64,
    /// It is to be written out after the next tick.
    is_asked: bool,
}

impl Flight {
    pub(super) fn start(
        flight_ns: u64,
        run: &Meta,
        max_connections: usize,
        netns: Option<u32>,
        filter: &Filter,
    ) -> Result<Self> {
        let settings = Settings {
            names: Names { pattern: PathBuf::from(NAME), force: false },
            limits: Limits::default(),
            flight_ns: Some(flight_ns),
        };
        let meta = recorder::first_file(run, max_connections, ROWS, netns);
        let all = (!filter.is_empty()).then(|| Pipeline::new(run.clone(), max_connections, ROWS));
        Ok(Self {
            recorder: Recorder::start(settings, meta)?,
            flight_ns,
            all,
            lost: 0,
            part_started_ns: run.started_ns,
            is_asked: false,
        })
    }

    /// What is kept will be written out.
    pub(super) fn ask(&mut self) {
        self.is_asked = true;
    }

    /// Keeps a frame.
    pub(super) fn take(&mut self, frame: &Frame) -> Result<()> {
        if let Some(all) = &mut self.all {
            run::decoded(all.apply(frame))?;
        }
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 && !matches!(frame, Frame::Records(_)) {
            self.recorder.offer(&Frame::Lost { records: lost });
        } else {
            self.lost = lost;
        }
        if !self.recorder.offer(frame) {
            match frame {
                Frame::Records(batch) => self.lost += decode::records(batch).count() as u64,
                // A look found no room: nothing is known of that moment.
                _ => drop(self.recorder.offer(&Frame::Polled(None))),
            }
        }
        Ok(())
    }

    /// A tick was taken, after which `shown` knows what is there.
    pub(super) fn tick(&mut self, time_ns: u64, shown: &Pipeline) {
        if std::mem::take(&mut self.is_asked) {
            self.recorder.dump();
        }
        let age_ns = time_ns.saturating_sub(self.part_started_ns);
        if recorder::is_part_over(age_ns, self.flight_ns) {
            let (run, carried) = self.all.as_ref().unwrap_or(shown).checkpoint(time_ns);
            let end = End { snapshot: None, events: 0, goes_on: true };
            self.recorder.next(Next { end, run, carried });
            self.part_started_ns = time_ns;
        }
    }

    /// The file that was written since this was asked last.
    pub(super) fn written(&mut self) -> Option<PathBuf> {
        self.recorder.progress().take_last_file()
    }

    /// Comes when nothing more can be kept.
    pub(super) async fn over(&mut self) -> Result<()> {
        self.recorder.over().await
    }

    /// Ends it, when all that was asked for is written.
    pub(super) async fn finish(mut self) -> Result<()> {
        if self.is_asked {
            self.recorder.dump();
        }
        self.recorder.finish(End { snapshot: None, events: 0, goes_on: false });
        self.recorder.over().await
    }
}
