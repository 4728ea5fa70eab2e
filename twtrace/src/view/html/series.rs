//! The numbers behind a chart, for what is shown where the pointer is.

use serde::Serialize;

/// One line of a chart.
#[derive(Debug, Serialize)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) color: &'static str,
    pub(super) unit: &'static str,
    /// By bucket; `None` where it is not known.
    pub(super) values: Vec<Option<f64>>,
}

impl Series {
    /// Rounded to what can be read.
    pub(super) fn new(
        name: &str,
        color: &'static str,
        unit: &'static str,
        values: impl IntoIterator<Item = Option<f64>>,
    ) -> Self {
        let rounded = |value: f64| (value * 10.0).round() / 10.0;
        let values = values.into_iter().map(|value| value.map(rounded)).collect();
        Self { name: name.to_owned(), color, unit, values }
    }

    /// The largest of all of them; 0 if there is none.
    pub(super) fn highest(all: &[Self]) -> f64 {
        let values = all.iter().flat_map(|series| series.values.iter().flatten());
        values.copied().fold(0.0, f64::max)
    }

    pub(super) fn is_known(&self) -> bool {
        self.values.iter().any(Option::is_some)
    }
}

/// A chart, and the numbers behind it.
pub(super) struct Chart {
    pub(super) id: &'static str,
    pub(super) figure: maud::Markup,
    pub(super) series: Vec<Series>,
}
