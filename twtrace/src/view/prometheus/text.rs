//! Prometheus' text format 0.0.4, for scrapers that know no OpenMetrics: counters are described
//! by the name that they are counted under, there are no units, and no end.
//! <https://github.com/prometheus/docs/blob/main/content/docs/instrumenting/exposition_formats.md>

use std::fmt::{self, Write as _};

use super::{Family, Kind, Sample, Value, buckets::Distribution, family::escaped};

/// The families as text.
pub(super) fn written(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families {
        // A String takes everything.
        let _ = write(&mut text, family);
    }
    text
}

fn write(text: &mut String, family: &Family) -> fmt::Result {
    let (suffix, kind) = match family.kind {
        Kind::Counter => ("_total", "counter"),
        Kind::Gauge => ("", "gauge"),
        Kind::Info => ("_info", "gauge"),
        Kind::Histogram => ("", "histogram"),
    };
    let name = family.full_name() + suffix;
    writeln!(text, "# HELP {name} {}", family.help)?;
    writeln!(text, "# TYPE {name} {kind}")?;
    for sample in &family.samples {
        match &sample.value {
            Value::Distribution(of) => histogram(text, &name, sample, of)?,
            Value::Whole(number) => line(text, &name, "", sample, None, number)?,
            Value::Real(number) => line(text, &name, "", sample, None, number)?,
        }
    }
    Ok(())
}

fn histogram(text: &mut String, name: &str, sample: &Sample, of: &Distribution) -> fmt::Result {
    let mut below = 0;
    for (bound, count) in of.classic() {
        below += count;
        line(text, name, "_bucket", sample, Some(&bounded(bound)), below)?;
    }
    line(text, name, "_bucket", sample, Some("+Inf"), of.count())?;
    line(text, name, "_sum", sample, None, of.sum())?;
    line(text, name, "_count", sample, None, of.count())
}

/// A bound as OpenMetrics has it, with a point: queries of `le` are then the same of both.
fn bounded(bound: f64) -> String {
    let text = bound.to_string();
    if text.contains('.') { text } else { text + ".0" }
}

fn line(
    text: &mut String,
    name: &str,
    suffix: &str,
    sample: &Sample,
    below: Option<&str>,
    number: impl fmt::Display,
) -> fmt::Result {
    write!(text, "{name}{suffix}")?;
    let labels = sample.labels.iter().map(|(name, value)| (*name, escaped(value)));
    let mut before = '{';
    for (label, value) in labels.chain(below.map(|bound| ("le", bound.into()))) {
        write!(text, "{before}{label}=\"{value}\"")?;
        before = ',';
    }
    let after = if before == ',' { "}" } else { "" };
    writeln!(text, "{after} {number}")
}
