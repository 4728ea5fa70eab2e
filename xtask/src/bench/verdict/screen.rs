//! Whether the screen is cheap, and answers at once.

use super::super::screen::{Load, Screen};
use super::{Unit, Verdict};

/// As many as the target is about, nearly.
const ENOUGH: u64 = 450_000;

/// All of the row's.
pub(super) fn verdicts(screen: &Screen) -> [Verdict; 4] {
    let (percent, ms) = (Unit { decimals: 2, name: " %" }, Unit { decimals: 1, name: " ms" });
    let refresh = |what| screen.refresh(what);
    let many = refresh(Load::Sockets).filter(|refresh| refresh.time_wait >= ENOUGH);
    let rows = refresh(Load::Rows).map(|refresh| refresh.screen_ms);
    [
        Verdict::at_most("screen, CPU on an idle host", Some(screen.idle_pct), 3.0, &percent),
        Verdict::at_most("  CPU to draw 10,000 rows", rows, 5.0, &ms),
        Verdict::at_most(
            "  CPU of a refresh, 500,000 TIME_WAITs",
            many.map(|refresh| refresh.cpu_ms),
            50.0,
            &ms,
        ),
        Verdict::at_most("  slowest answer to a key in churn", screen.slowest_ms(), 50.0, &ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::super::screen::tests::screen;
    use super::*;

    fn words(screen: &Screen) -> Vec<&'static str> {
        verdicts(screen).iter().map(Verdict::word).collect()
    }

    #[test]
    fn good_figures_meet_every_target() {
        assert_eq!(words(&screen()), ["met"; 4]);
    }

    #[test]
    fn each_figure_can_miss() {
        let mut screen = screen();
        screen.idle_pct = 3.1;
        screen.refreshes[0].screen_ms = 5.1;
        screen.refreshes[1].cpu_ms = 50.1;
        screen.answers_ms.push(50.1);
        assert_eq!(words(&screen), ["missed"; 4]);
    }

    #[test]
    fn too_few_sockets_are_no_answer() {
        let mut screen = screen();
        screen.refreshes[1].time_wait = 60_000;
        assert_eq!(words(&screen)[2], "not measured");
    }
}
