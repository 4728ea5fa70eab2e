//! Prometheus: a Snapshot as families of metrics, and those in the forms that scrapers ask for.
//!
//! What is unknown has no series. Counters never go down ([`Floor`]). Labels are bounded: what
//! has no place among the first `top` is in the one named [`OTHER`]; there is never a process
//! number or a local port. `docs/serve.md` tells every name.

mod buckets;
mod close_wait;
mod closes;
mod destinations;
mod family;
mod floor;
mod host;
mod openmetrics;
mod own;
mod port_search;
mod protobuf;
mod ranked;
mod text;
mod time_wait;

pub use self::{
    family::{Family, Kind, Sample, Unit, Value},
    floor::Floor,
    own::Own,
    ranked::OTHER,
};
use crate::stats::snapshot::Snapshot;

/// What every name begins with.
pub const PREFIX: &str = "twtrace";

/// All families of one moment: `top` is how many names a label has besides [`OTHER`].
pub fn families(snapshot: &Snapshot, own: &Own, top: usize) -> Vec<Family> {
    let mut families = time_wait::families(snapshot);
    families.extend(closes::families(snapshot));
    families.extend(port_search::families(snapshot));
    families.extend(destinations::families(snapshot, top));
    families.extend(close_wait::families(snapshot, top));
    families.extend(host::families(snapshot));
    families.extend(own::families(own));
    families.retain(|family| !family.samples.is_empty());
    families
}

/// How families are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' protobuf, which has native histograms.
    Protobuf,
}

impl Format {
    /// As HTTP names it.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; \
                 proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// The families in this format.
    pub fn write(self, families: &[Family]) -> Vec<u8> {
        match self {
            Self::Text => text::written(families).into_bytes(),
            Self::OpenMetrics => openmetrics::written(families).into_bytes(),
            Self::Protobuf => protobuf::written(families),
        }
    }
}
