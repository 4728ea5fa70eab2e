//! Colours, by name: the style sheet has them for light and for dark pages.

use crate::stats::timeline::Count;

/// Things that are compared with each other. They differ in lightness too.
pub(super) const COMPARED: [&str; 6] =
    ["var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)", "var(--c6)"];

/// What ended a mini-socket has its colour, wherever it is shown.
pub(super) fn of_end(end: Count) -> &'static str {
    match end {
        Count::Expired => "var(--c1)",
        Count::Reused => "var(--c2)",
        Count::Replaced => "var(--c3)",
        Count::FinWait2Timeout => "var(--c4)",
        Count::Reset => "var(--c5)",
        Count::Rejected => "var(--c7)",
        Count::Aborted => "var(--c8)",
        Count::Unseen => "var(--ink)",
        _ => "var(--c6)",
    }
}
