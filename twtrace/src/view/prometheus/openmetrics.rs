//! OpenMetrics 1.0, by prometheus-client.

use std::{collections::HashMap, fmt};

use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet, text,
    },
    metrics::{MetricType, exemplar::Exemplar},
    registry::{self, Registry},
};

use super::{Family, Kind, PREFIX, Sample, Unit, Value, family::escaped};

/// The families as text.
pub(super) fn written(families: &[Family]) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Families(families.to_vec())));
    let mut text = String::new();
    // A String takes everything.
    let _ = text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for family in &self.0 {
            let unit = family.unit.map(unit);
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Info => MetricType::Info,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut encoder =
                encoder.encode_descriptor(family.name, family.help, unit.as_ref(), kind)?;
            for sample in &family.samples {
                if family.kind == Kind::Info {
                    encoder.encode_info(&Labels(sample))?;
                } else if sample.labels.is_empty() {
                    encode(&mut encoder, family.kind, &sample.value)?;
                } else {
                    let labels = Labels(sample);
                    encode(&mut encoder.encode_family(&labels)?, family.kind, &sample.value)?;
                }
            }
        }
        Ok(())
    }
}

fn unit(unit: Unit) -> registry::Unit {
    match unit {
        Unit::Seconds => registry::Unit::Seconds,
        Unit::Bytes => registry::Unit::Bytes,
        Unit::Ratio => registry::Unit::Other(unit.name().to_owned()),
    }
}

/// No number has an example.
const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, f64>> = None;
const NO_EXEMPLARS: Option<&HashMap<usize, Exemplar<NoLabelSet, f64>>> = None;

fn encode(encoder: &mut MetricEncoder<'_>, kind: Kind, value: &Value) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Whole(number)) => encoder.encode_counter(number, NO_EXEMPLAR),
        (Kind::Counter, Value::Real(number)) => encoder.encode_counter(number, NO_EXEMPLAR),
        (_, Value::Whole(number)) => match i64::try_from(*number) {
            Ok(number) => encoder.encode_gauge(&number),
            Err(_) => encoder.encode_gauge(&(*number as f64)),
        },
        (_, Value::Real(number)) => encoder.encode_gauge(number),
        (_, Value::Distribution(of)) => {
            let mut buckets = of.classic();
            let below: u64 = buckets.iter().map(|(_, count)| count).sum();
            // What the crate writes as +Inf.
            buckets.push((f64::MAX, of.count().saturating_sub(below)));
            encoder.encode_histogram(of.sum(), of.count(), &buckets, NO_EXEMPLARS)
        }
    }
}

/// The crate writes label values as they come: they are escaped here.
#[derive(Debug)]
struct Labels<'a>(&'a Sample);

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let pairs = self.0.labels.iter();
        let pairs: Vec<(&str, _)> = pairs.map(|(name, value)| (*name, escaped(value))).collect();
        pairs.encode(encoder)
    }
}
