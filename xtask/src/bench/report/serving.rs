//! What `twtrace serve` costs.

use serde_json::{Value, json};

use super::super::number::{grouped, megabytes};
use super::super::serve::Serve;
use super::super::table;

const SERVING: [&str; 4] = ["twtrace serve", "CPU %", "RSS MB", "scrape ms"];

/// A table.
pub(super) fn text(serve: &Serve) -> String {
    let rss = |bytes: u64| format!("{:.0}", megabytes(bytes as f64));
    let percent = |share: f64| format!("{share:.2}");
    let none = || "-".to_owned();
    let scrape = serve.scrape_ms().map_or_else(none, |ms| format!("{ms:.1}"));
    let rows = [
        vec!["on a quiet host".into(), percent(serve.quiet_pct), rss(serve.quiet_rss), none()],
        vec!["1,000 connections/s".into(), percent(serve.busy_pct), none(), none()],
        vec![format!("{} TIME_WAITs", grouped(serve.time_wait)), none(), rss(serve.rss), scrape],
    ];
    format!(
        "{} series, {} bytes of OpenMetrics, medians of {} scrapes\n{}",
        grouped(serve.series),
        grouped(serve.bytes),
        serve.scrapes_ms.len(),
        table::render(&SERVING, &rows),
    )
}

/// Unrounded.
pub(super) fn json(serve: &Serve) -> Value {
    json!({
        "quiet_cpu_pct": serve.quiet_pct,
        "quiet_rss_bytes": serve.quiet_rss,
        "busy_cpu_pct": serve.busy_pct,
        "time_wait": serve.time_wait,
        "scrapes_ms": serve.scrapes_ms,
        "series": serve.series,
        "bytes": serve.bytes,
        "rss_bytes": serve.rss,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::serve::tests::serve;
    use super::*;

    #[test]
    fn everything_is_shown() {
        let text = text(&serve());
        assert!(text.contains("240 series, 15,000 bytes"), "{text}");
        assert!(text.contains("499,990 TIME_WAITs"), "{text}");
        assert_eq!(json(&serve())["scrapes_ms"][1], 3.0);
    }
}
