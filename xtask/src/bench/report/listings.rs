//! What it takes to list many sockets.

use serde_json::{Value, json};

use super::super::number::grouped;
use super::super::states::{Listing, States};
use super::super::table;

const LISTINGS: [&str; 3] = ["lists all sockets", "s", "CPU s"];

/// A table.
pub(super) fn text(states: &States) -> String {
    let row = |what: &str, listings: &[Listing]| {
        let [seconds, cpu] = [|it: &Listing| it.seconds, |it: &Listing| it.cpu_s]
            .map(|what| States::of(listings, what))
            .map(|it| it.map_or_else(|| "-".to_owned(), |it| format!("{it:.2}")));
        vec![what.to_owned(), seconds, cpu]
    };
    let rows = [row("twtrace states --json", &states.ours), row("ss -Htan", &states.ss)];
    format!(
        "{} TIME_WAIT sockets, medians of {} listings in turn\n{}",
        grouped(states.time_wait),
        states.ours.len(),
        table::render(&LISTINGS, &rows),
    )
}

/// Unrounded.
pub(super) fn json(states: &States) -> Value {
    let listing = |it: &Listing| json!({ "seconds": it.seconds, "cpu_s": it.cpu_s });
    let listings = |all: &[Listing]| all.iter().map(listing).collect::<Vec<_>>();
    json!({
        "time_wait": states.time_wait,
        "twtrace": listings(&states.ours),
        "ss": listings(&states.ss),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::states::tests::states;
    use super::*;

    #[test]
    fn both_are_shown() {
        let text = text(&states());
        assert!(text.contains("499,990 TIME_WAIT sockets, medians of 3"), "{text}");
        assert!(text.contains("ss -Htan               0.80   0.70"), "{text}");
        assert_eq!(json(&states())["twtrace"][1]["seconds"], 0.3);
    }
}
