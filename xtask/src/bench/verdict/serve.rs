//! Whether `twtrace serve` is cheap enough to run everywhere.

use super::super::number::megabytes;
use super::super::serve::Serve;
use super::{COUNT, ENOUGH, Unit, Verdict};

/// All of the row's.
pub(super) fn verdicts(serve: &Serve) -> [Verdict; 4] {
    let (ms, mb) = (Unit { decimals: 1, name: " ms" }, Unit { decimals: 0, name: " MB" });
    let percent = Unit { decimals: 2, name: " %" };
    let enough = serve.time_wait as f64 >= serve.wanted as f64 * ENOUGH;
    let rss = megabytes(serve.quiet_rss as f64);
    [
        Verdict::at_most(
            "scrape with many TIME_WAITs",
            serve.scrape_ms().filter(|_| enough),
            20.0,
            &ms,
        ),
        Verdict::at_most("  series", enough.then_some(serve.series as f64), 2_000.0, &COUNT),
        Verdict::at_most("serve, RSS on a quiet host", Some(rss), 64.0, &mb),
        Verdict::at_most("serve, CPU at 1,000 connections/s", Some(serve.busy_pct), 1.0, &percent),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::super::serve::tests::serve;
    use super::*;

    fn words(serve: &Serve) -> [&'static str; 4] {
        verdicts(serve).map(|verdict| verdict.word())
    }

    #[test]
    fn each_figure_can_miss() {
        assert_eq!(words(&serve()), ["met"; 4]);
        let bad = Serve {
            scrapes_ms: vec![30.0],
            series: 2_001,
            quiet_rss: 90_000_000,
            busy_pct: 1.5,
            ..serve()
        };
        assert_eq!(words(&bad), ["missed"; 4]);
    }

    #[test]
    fn too_few_sockets_are_no_measurement() {
        let few = Serve { time_wait: 1_000, ..serve() };
        assert_eq!(words(&few), ["not measured", "not measured", "met", "met"]);
    }
}
