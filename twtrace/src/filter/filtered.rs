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
        if filter.is_empty() {
            return Ok(Self { stage: None, pipeline: Pipeline::new(meta, max_connections, top) });
        }
        let stage = FilterStage::new(filter, &meta, max_connections)?;
        let pipeline = Pipeline::new(stage.meta(meta), max_connections, top);
        Ok(Self { stage: Some(stage), pipeline })
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
