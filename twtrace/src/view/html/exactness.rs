//! How far each number can be trusted, and why.

use maud::{Markup, html};

use crate::{probes::Exactness, stats::snapshot::Snapshot};

pub(super) fn section(s: &Snapshot) -> Markup {
    let words = [
        (Some(Exactness::Exact), "exact", "to the unit, up to what was missed"),
        (Some(Exactness::Inferred), "~ inferred", "concluded from what was seen around it"),
        (Some(Exactness::UpperBound), "≤ upper bound", "the truth is this or less"),
        (None, "– unavailable", "these hooks cannot tell; see `twtrace check`"),
    ];
    html! {
        dl.exactness {
            @for (word, name, meaning) in words {
                @let keys = keys(s, word);
                @if !keys.is_empty() {
                    dt { strong { (name) } " " (meaning) }
                    dd { @for key in keys { code { (key) } " " } }
                }
            }
        }
    }
}

fn keys(s: &Snapshot, word: Option<Exactness>) -> Vec<&str> {
    let exactness = s.probes.exactness.iter();
    exactness.filter(|(_, found)| **found == word).map(|(key, _)| key.as_str()).collect()
}
