//! Histograms as other tools merge them.

use base64::{Engine, prelude::BASE64_STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Serializer as _, V2DeflateSerializer},
};
use serde::{Serialize, Serializer, ser::Error};

/// A histogram that is encoded when it is written, as most Snapshots never are: HdrHistogram
/// V2, deflated, base64.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded(pub Histogram<u64>);

impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        let written = V2DeflateSerializer::new().serialize(&self.0, &mut bytes);
        written.map_err(S::Error::custom)?;
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;

    use super::*;

    #[test]
    fn what_is_encoded_can_be_read_by_others() {
        let mut values = Histogram::new(3).expect("three figures are allowed");
        (1..=1000).for_each(|value: u64| values.record(value * 1000).expect("it grows"));
        let written = serde_json::to_value(Encoded(values)).expect("it can be written");
        let bytes = BASE64_STANDARD.decode(written.as_str().expect("text")).expect("base64");
        let read: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).expect("V2");
        assert_eq!(read.len(), 1000);
        assert!(read.equivalent(read.value_at_quantile(0.5), 500_000));
    }
}
