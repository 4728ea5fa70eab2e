//! What the screen of `top` costs.

use serde_json::{Value, json};

use super::super::number::{grouped, median};
use super::super::screen::{Refresh, Screen};
use super::super::table;

const REFRESHES: [&str; 4] = ["a refresh of the screen with", "TIME_WAIT", "CPU ms", "to draw it"];

/// A table, and two figures.
pub(super) fn text(screen: &Screen) -> String {
    let rows: Vec<Vec<String>> = screen.refreshes.iter().map(row).collect();
    let shown = |ms: Option<f64>| ms.map_or_else(|| "-".into(), |ms| format!("{ms:.1}"));
    format!(
        "twtrace top on a terminal of 160 by 50, a refresh a second\n{}\
         idle: {:.2} % of a core; answers to {} keys beside connections at full speed: median {} ms,\n\
         slowest {} ms\n",
        table::render(&REFRESHES, &rows),
        screen.idle_pct,
        screen.answers_ms.len(),
        shown(median(screen.answers_ms.iter().copied())),
        shown(screen.slowest_ms()),
    )
}

fn row(refresh: &Refresh) -> Vec<String> {
    let Refresh { what, time_wait, cpu_ms, screen_ms } = refresh;
    let ms = [cpu_ms, screen_ms].map(|ms| format!("{ms:.1}"));
    [what.name().into(), grouped(*time_wait)].into_iter().chain(ms).collect()
}

/// Unrounded.
pub(super) fn json(screen: &Screen) -> Value {
    let refresh = |refresh: &Refresh| {
        json!({
            "with": refresh.what.name(),
            "time_wait": refresh.time_wait,
            "cpu_ms": refresh.cpu_ms,
            "screen_cpu_ms": refresh.screen_ms,
        })
    };
    json!({
        "idle_pct": screen.idle_pct,
        "refreshes": screen.refreshes.iter().map(refresh).collect::<Vec<_>>(),
        "answers_ms": screen.answers_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::screen::tests::screen;
    use super::*;

    #[test]
    fn every_figure_is_told() {
        let text = text(&screen());
        for figure in
            ["490,000", "30.0", "4.5", "0.90 %", "3 keys", "median 3.0 ms", "slowest 40.0 ms"]
        {
            assert!(text.contains(figure), "{figure} is not in {text}");
        }
        assert_eq!(json(&screen())["refreshes"][1]["time_wait"], 490_000);
    }
}
