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
        let pipeline = Pipeline::new(meta, max_connections, top);
        Ok(Self { stage, pipeline, max_connections, top })
    }

    /// The pipeline behind the filter.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The same, to tell it what no frame does.
    pub fn pipeline_mut(&mut self) -> &mut Pipeline {
        &mut self.pipeline
    }

    /// Counts anew from `time_ns` on, with all that is there. To be asked right after a tick.
    ///
    /// # Errors
    /// None that a pipeline can cause.
    pub fn count_from(&mut self, time_ns: u64) -> Result<(), DecodeError> {
        let (meta, carried) = self.pipeline.checkpoint(time_ns);
        let mut pipeline = Pipeline::new(meta, self.max_connections, self.top);
        if self.pipeline.timeline().is_some() {
            pipeline.keep_timeline();
        }
        if let Some(stage) = &self.stage {
            pipeline.filtered(stage.scope().clone());
        }
        for frame in &carried {
            pipeline.apply(frame)?;
        }
        self.pipeline = pipeline;
        Ok(())
    }

    /// Takes in one frame; a tick gives a Snapshot.
    ///
    /// # Errors
    /// As [`Pipeline::apply`].
    pub fn apply(&mut self, frame: &Frame) -> Result<Option<Snapshot>, DecodeError> {
        let Some(stage) = &mut self.stage else {
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
