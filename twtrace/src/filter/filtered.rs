//! A pipeline behind a filter.

use super::{CannotTell, Filter, FilterStage};
use crate::{
    decode::DecodeError,
    frame::{Frame, Meta},
    pipeline::Pipeline,
    stats::snapshot::Snapshot,
};

/// A pipeline and the filter in front of it, if there is one.
#[derive(Debug)]
pub struct Filtered {
    stage: Option<FilterStage>,
    pipeline: Pipeline,
    /// Where counting begins later: everything is followed until then.
    later: Option<Limits>,
}

/// How much a pipeline remembers and shows.
#[derive(Clone, Copy, Debug)]
struct Limits {
    max_connections: usize,
    top: usize,
}

impl Filtered {
    /// A pipeline for what `filter` leaves of the run `meta`; the rest as in
    /// [`Pipeline::new`].
    ///
    /// # Errors
    /// The run tells too little for this filter.
    pub fn new(
        filter: Filter,
        meta: Meta,
        max_connections: usize,
        top: usize,
    ) -> Result<Self, CannotTell> {
        let stage = if filter.is_empty() {
            None
        } else {
            Some(FilterStage::new(filter, &meta, max_connections)?)
        };
        let meta = match &stage {
            Some(stage) => stage.meta(meta),
            None => meta,
        };
        Ok(Self { stage, pipeline: Pipeline::new(meta, max_connections, top), later: None })
    }

    /// The same, that begins to count at [`Self::count_from`]. Until then nothing is left out:
    /// what is there then has to pass as what another file tells of.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn later(
        filter: Filter,
        meta: Meta,
        max_connections: usize,
        top: usize,
    ) -> Result<Self, CannotTell> {
        let pipeline = Pipeline::new(meta.clone(), max_connections, top);
        let later = Some(Limits { max_connections, top });
        Ok(Self { pipeline, later, ..Self::new(filter, meta, max_connections, top)? })
    }

    /// Counts from `time_ns` on, with all that is there, as if the recording had gone on in
    /// another file then; one that counts already does so still. To be asked right after a
    /// tick.
    ///
    /// # Errors
    /// None that a pipeline can cause.
    pub fn count_from(&mut self, time_ns: u64) -> Result<(), DecodeError> {
        let Some(Limits { max_connections, top }) = self.later.take() else { return Ok(()) };
        let (meta, frames) = self.pipeline.checkpoint(time_ns);
        let meta = match &self.stage {
            Some(stage) => stage.meta(meta),
            None => meta,
        };
        let mut pipeline = Pipeline::new(meta, max_connections, top);
        if self.pipeline.timeline().is_some() {
            pipeline.keep_timeline();
        }
        self.pipeline = pipeline;
        for frame in &frames {
            self.apply(frame)?;
        }
        Ok(())
    }

    /// The pipeline behind the filter.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The same, to tell it what no frame does.
    pub fn pipeline_mut(&mut self) -> &mut Pipeline {
        &mut self.pipeline
    }

    /// Takes in one frame; a tick gives a Snapshot.
    ///
    /// # Errors
    /// As [`Pipeline::apply`].
    pub fn apply(&mut self, frame: &Frame) -> Result<Option<Snapshot>, DecodeError> {
        let Some(stage) = self.stage.as_mut().filter(|_| self.later.is_none()) else {
            return self.pipeline.apply(frame);
        };
        let frames = stage.apply(frame);
        if let Some(scope) = stage.news() {
            self.pipeline.filtered(scope);
        }
        let mut snapshot = None;
        for frame in &frames {
            snapshot = self.pipeline.apply(frame)?.or(snapshot);
        }
        Ok(snapshot)
    }
}
