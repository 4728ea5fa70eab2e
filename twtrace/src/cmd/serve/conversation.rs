//! One connection without a server around it: what is served, over any stream. The fuzz targets have
//! such conversations.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    answers::answers,
    connections::Guest,
    moment::{self, Moment},
    server,
};
use crate::{
    stats::snapshot::Snapshot,
    view::prometheus::{self, Own},
};

/// Names that a label has.
const TOP: usize = 50;

/// Whoever answers.
#[derive(Clone, Debug)]
pub struct Conversation(Router);

impl Conversation {
    /// About the moment of `snapshot`, which stays fresh; before the first one there is none.
    pub fn about(snapshot: Option<Snapshot>) -> Self {
        let (sender, receiver) = moment::channel();
        if let Some(snapshot) = snapshot {
            let families = prometheus::families(&snapshot, &Own::default(), TOP);
            sender.tell(Arc::new(Moment::new(snapshot, families)));
        }
        Self(answers(receiver, Duration::MAX))
    }

    /// Answers all that comes, until either end is done.
    pub async fn hold<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        server::answer(stream, self.0.clone(), Guest::new(Instant::now())).await;
    }
}
