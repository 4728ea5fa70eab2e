//! What `record` says of itself: one line while it runs, one at its end.

use std::{path::Path, time::Duration};

use super::text::{count, harmless_line, human_bytes};

/// How far a recording has come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recorded {
    /// Records taken in.
    pub events: u64,
    /// Records that found no room, in the ring or on their way to the file; `None` where
    /// nothing is traced.
    pub ring_full: Option<u64>,
    /// Times a program did not run; `None` where that is not counted.
    pub missed: Option<u64>,
    /// Seconds since it began.
    pub seconds: f64,
    /// Bytes written, or kept for a flight.
    pub bytes: u64,
    /// Files written.
    pub files: u64,
}

/// What is shown while it runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Running {
    /// How far it has come.
    pub so_far: Recorded,
    /// Records per second, over the last interval.
    pub events_per_s: f64,
    /// Seconds until it ends by itself, if it does.
    pub left_s: Option<f64>,
}

/// One line, with its end: where everything goes.
pub fn beginning(file: Option<&Path>, duration: Option<Duration>) -> String {
    let until = match duration {
        Some(duration) => format!("for {}", humantime::format_duration(duration)),
        None => "until Ctrl-C".to_owned(),
    };
    match file {
        Some(file) if file.as_os_str() == "-" => {
            format!("recording to the standard output {until}\n")
        }
        Some(file) => {
            format!("recording to {} {until}\n", harmless_line(&file.display().to_string()))
        }
        None => format!("keeping the last minutes {until}; SIGUSR2 writes them out\n"),
    }
}

/// One line, without an end, for a terminal where it will be written over.
pub fn progress(running: &Running) -> String {
    let Running { so_far, events_per_s, left_s } = running;
    let mut line = format!(
        "{:.0} s  {} events/s  {}  lost {}",
        so_far.seconds,
        count(*events_per_s as u64),
        human_bytes(so_far.bytes),
        lost(so_far).map_or("unavailable".to_owned(), count),
    );
    if let Some(left_s) = left_s {
        line += &format!("  {:.0} s left", left_s.ceil());
    }
    line
}

/// One line, with its end, whose numbers programs can read.
pub fn summary(recorded: &Recorded) -> String {
    let Recorded { events, ring_full, missed, seconds, bytes, .. } = recorded;
    let number = |count: &Option<u64>| count.map_or("unavailable".to_owned(), |it| it.to_string());
    format!(
        "{events} events, {} lost (ring_full {}, missed {}), {seconds:.1} s, {bytes} bytes\n",
        number(&lost(recorded)),
        number(ring_full),
        number(missed),
    )
}

fn lost(recorded: &Recorded) -> Option<u64> {
    recorded.ring_full.map(|ring_full| ring_full + recorded.missed.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: Recorded = Recorded {
        events: 250_123,
        ring_full: Some(1_002),
        missed: Some(1),
        seconds: 12.04,
        bytes: 3_141_592,
        files: 1,
    };

    #[test]
    fn it_is_said_where_everything_goes() {
        let to = |file: &str, seconds| beginning(Some(Path::new(file)), seconds);
        assert_eq!(to("a\x1b[2J.twt", None), "recording to a\u{fffd}[2J.twt until Ctrl-C\n");
        let minute = Some(Duration::from_secs(90));
        assert_eq!(to("-", minute), "recording to the standard output for 1m 30s\n");
    }

    #[test]
    fn what_was_recorded_is_one_line() {
        let line = "250123 events, 1003 lost (ring_full 1002, missed 1), 12.0 s, 3141592 bytes\n";
        assert_eq!(summary(&RECORDED), line);
    }

    #[test]
    fn what_nobody_counts_is_not_0() {
        let polled = Recorded { ring_full: None, missed: None, ..RECORDED };
        assert!(
            summary(&polled).contains("unavailable lost (ring_full unavailable, missed unavail")
        );
        let old_kernel = Recorded { missed: None, ..RECORDED };
        assert!(summary(&old_kernel).contains(" 1002 lost (ring_full 1002, missed unavailable)"));
    }

    #[test]
    fn progress_fits_a_narrow_terminal() {
        let running = Running { so_far: RECORDED, events_per_s: 250_999.7, left_s: Some(47.2) };
        let line = progress(&running);
        assert_eq!(line, "12 s  250,999 events/s  3.1 MB  lost 1,003  48 s left");
    }
}
