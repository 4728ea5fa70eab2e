//! Prometheus' own protobuf, the one format that has native histograms: a length and a family
//! after the other. Messages as in
//! <https://github.com/prometheus/client_model/blob/v0.6.1/io/prometheus/client/metrics.proto>.

use prost::Message;

use super::{Family, Kind, Sample, Value, buckets::Distribution};

/// The families, each behind its length.
pub(super) fn written(families: &[Family]) -> Vec<u8> {
    families.iter().flat_map(|family| message(family).encode_length_delimited_to_vec()).collect()
}

fn message(family: &Family) -> MetricFamily {
    let (suffix, kind) = match family.kind {
        Kind::Counter => ("_total", MetricType::Counter),
        Kind::Gauge => ("", MetricType::Gauge),
        Kind::Info => ("_info", MetricType::Gauge),
        Kind::Histogram => ("", MetricType::Histogram),
    };
    MetricFamily {
        name: family.full_name() + suffix,
        help: family.help.to_owned(),
        kind: kind as i32,
        metric: family.samples.iter().map(|sample| metric(kind, sample)).collect(),
    }
}

fn metric(kind: MetricType, sample: &Sample) -> Metric {
    let label = |(name, value): &(&str, std::borrow::Cow<'_, str>)| LabelPair {
        name: (*name).to_owned(),
        value: value.to_string(),
    };
    let label = sample.labels.iter().map(label).collect();
    let number = match &sample.value {
        Value::Whole(number) => Number { value: *number as f64 },
        Value::Real(number) => Number { value: *number },
        Value::Distribution(of) => {
            return Metric { label, histogram: Some(histogram(of)), ..Metric::default() };
        }
    };
    match kind {
        MetricType::Counter => Metric { label, counter: Some(number), ..Metric::default() },
        _ => Metric { label, gauge: Some(number), ..Metric::default() },
    }
}

/// With both kinds of buckets; who knows native ones takes those.
fn histogram(of: &Distribution) -> Histogram {
    let mut below = 0;
    let classic = of.classic().into_iter().map(|(upper_bound, count)| {
        below += count;
        Bucket { cumulative_count: below, upper_bound }
    });
    let native = of.native();
    let mut histogram = Histogram {
        sample_count: of.count(),
        sample_sum: of.sum(),
        bucket: classic.collect(),
        schema: native.schema,
        zero_threshold: native.zero_threshold,
        zero_count: native.zeros,
        ..Histogram::default()
    };
    let (mut next, mut last) = (0, 0);
    for (index, count) in native.buckets {
        match histogram.positive_span.last_mut() {
            Some(span) if index == next => span.length += 1,
            _ => histogram.positive_span.push(BucketSpan { offset: index - next, length: 1 }),
        }
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        histogram.positive_delta.push(count - last);
        (next, last) = (index + 1, count);
    }
    histogram
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum MetricType {
    Counter = 0,
    Gauge = 1,
    Histogram = 4,
}

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(enumeration = "MetricType", tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Number>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// Counter and Gauge, which look alike.
#[derive(Clone, Copy, PartialEq, Message)]
struct Number {
    #[prost(double, tag = "1")]
    value: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    sample_count: u64,
    #[prost(double, tag = "2")]
    sample_sum: f64,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, tag = "5")]
    schema: i32,
    #[prost(double, tag = "6")]
    zero_threshold: f64,
    #[prost(uint64, tag = "7")]
    zero_count: u64,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<BucketSpan>,
    /// Each count less the one before.
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    positive_delta: Vec<i64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, tag = "1")]
    cumulative_count: u64,
    #[prost(double, tag = "2")]
    upper_bound: f64,
}

/// Buckets that follow each other; the offset is from the end of the span before, or from 0.
#[derive(Clone, Copy, PartialEq, Message)]
struct BucketSpan {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::snapshot::Encoded;

    #[test]
    fn labels_have_no_control_characters() {
        let mut family = Family::gauge("sockets", "");
        family.push("comm", "a\u{1b}[31m\n\"", 1_u64);
        let metric = &message(&family).metric[0];
        assert_eq!(metric.label[0].value, "a\u{fffd}[31m\u{fffd}\"");
    }

    #[test]
    fn native_buckets_hold_what_was_seen() {
        let mut kept = hdrhistogram::Histogram::new(3).expect("three figures are allowed");
        for value in [0, 1_000_000, 1_000_000, 1_050_000, 60_000_000_u64] {
            kept.record(value).expect("it grows");
        }
        let of = Distribution::new(&Encoded(kept), 1e-6, 63.05, &[1.0]);
        let family = Family {
            unit: Some(super::super::Unit::Seconds),
            ..Family::new("life", Kind::Histogram, "How long.")
        };
        let bytes = written(&[family.of(Some(Value::Distribution(of)))]);
        let read = MetricFamily::decode_length_delimited(&bytes[..]).expect("it can be read");
        assert_eq!((read.name.as_str(), read.kind), ("twtrace_life_seconds", 4));
        let histogram = read.metric[0].histogram.clone().expect("a histogram");
        assert_eq!((histogram.sample_count, histogram.zero_count), (5, 1));
        // 1 s is the upper bound of bucket 0; 1.05 s lies in bucket 1; 60 s in the one that ends at
        // 2^(48/8).
        let spans: Vec<(i32, u32)> =
            histogram.positive_span.iter().map(|span| (span.offset, span.length)).collect();
        assert_eq!(spans, [(0, 2), (46, 1)]);
        assert_eq!(histogram.positive_delta, [2, -1, 0]);
        assert_eq!(histogram.bucket[0].cumulative_count, 3);
    }
}
