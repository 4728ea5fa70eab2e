//! What a scraper gets, before it is written in any format.

use std::borrow::Cow;

use super::buckets::Distribution;

/// One family: a name, and a number for each set of labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Without prefix, unit and what the format adds (`_total`, `_info`, `_bucket`).
    pub name: &'static str,
    /// What it is, in one line without quotes and backslashes.
    pub help: &'static str,
    /// Of the numbers.
    pub unit: Option<Unit>,
    /// What may be done with them.
    pub kind: Kind,
    /// No two with the same labels.
    pub samples: Vec<Sample>,
}

/// What may be done with the numbers of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It never goes down, but to 0 with twtrace.
    Counter,
    /// It goes up and down.
    Gauge,
    /// 1; the labels are what it is about.
    Info,
    /// How often which value was seen; it never goes down.
    Histogram,
}

/// Base units, as Prometheus wants them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A part of a whole, 0 to 1.
    Ratio,
}

impl Unit {
    /// As it ends a name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Ratio => "ratio",
        }
    }
}

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Names and values: these without control characters, and not escaped.
    pub labels: Vec<(&'static str, Cow<'static, str>)>,
    /// The number.
    pub value: Value,
}

/// A number, or a distribution of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A count.
    Whole(u64),
    /// In the family's unit.
    Real(f64),
    /// Of a histogram.
    Distribution(Distribution),
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl Family {
    pub(super) fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, help, unit: None, kind, samples: Vec::new() }
    }

    pub(super) fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Counter, help)
    }

    pub(super) fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Gauge, help)
    }

    pub(super) fn unit(self, unit: Unit) -> Self {
        Self { unit: Some(unit), ..self }
    }

    /// The one number of a family without labels; nothing if it is not known.
    pub(super) fn of(self, value: Option<impl Into<Value>>) -> Self {
        self.with([], value)
    }

    /// One number more; nothing if it is not known.
    pub(super) fn with<const N: usize>(
        mut self,
        labels: [(&'static str, &'static str); N],
        value: Option<impl Into<Value>>,
    ) -> Self {
        let labels = labels.into_iter().map(|(name, value)| (name, Cow::Borrowed(value))).collect();
        self.samples.extend(value.map(|value| Sample { labels, value: value.into() }));
        self
    }

    /// One number more, under a name that the host gave.
    pub(super) fn push(&mut self, label: &'static str, name: &str, value: impl Into<Value>) {
        let name = Cow::Owned(clean(name).into_owned());
        self.samples.push(Sample { labels: vec![(label, name)], value: value.into() });
    }

    /// What all of its series begin with.
    pub(super) fn full_name(&self) -> String {
        match self.unit {
            Some(unit) => format!("{}_{}_{}", super::PREFIX, self.name, unit.name()),
            None => format!("{}_{}", super::PREFIX, self.name),
        }
    }

    /// How many series it makes, written in classic buckets.
    pub fn series(&self) -> usize {
        let of = |sample: &Sample| match &sample.value {
            // With +Inf, _sum and _count.
            Value::Distribution(distribution) => distribution.classic().len() + 3,
            Value::Whole(_) | Value::Real(_) => 1,
        };
        self.samples.iter().map(of).sum()
    }
}

/// A name as it is told. Control characters are allowed in every format, and no good to whoever
/// looks at them in a terminal.
pub(super) fn clean(name: &str) -> Cow<'_, str> {
    if name.contains(char::is_control) {
        Cow::Owned(name.replace(char::is_control, "\u{fffd}"))
    } else {
        Cow::Borrowed(name)
    }
}

/// A label's value as both text formats want it.
pub(super) fn escaped(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', '"', '\n']) {
        return Cow::Borrowed(value);
    }
    let mut escaped = String::with_capacity(value.len() + 8);
    for c in value.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_cannot_end_early() {
        assert_eq!(escaped("nginx"), "nginx");
        assert_eq!(escaped("a\"} 1\nb\\"), "a\\\"} 1\\nb\\\\");
    }

    #[test]
    fn names_are_told_without_control_characters() {
        assert_eq!(clean("nginx \"a\""), "nginx \"a\"");
        assert_eq!(clean("\u{1b}[31m\r\n"), "\u{fffd}[31m\u{fffd}\u{fffd}");
    }
}
