//! Mini-sockets: how many, how they came, how long they lived and what ended them.

use super::{Family, Kind, Unit, Value, buckets::Distribution};
use crate::stats::snapshot::{FinWait2, Snapshot, TimeWait};

/// Upper bounds in seconds. A TIME_WAIT that expires lives 60 s and up to the timer wheel's step
/// more; the others are for those that something else ended.
const BOUNDS: &[f64] = &[
    0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 59.0, 60.0, 61.0, 62.0, 64.0,
    68.0, 120.0,
];
/// Lifetimes are kept in microseconds.
const MICROSECOND: f64 = 1e-6;

pub(super) fn families(snapshot: &Snapshot) -> Vec<Family> {
    let time_wait = snapshot.time_wait.as_ref();
    let of = |number: fn(&TimeWait) -> Option<u64>| time_wait.and_then(number);
    let in_fin_wait2 = |fin_wait2: &FinWait2| fin_wait2.now;
    vec![
        Family::gauge(
            "time_wait_sockets",
            "TIME_WAIT mini-sockets now, those in substate FIN_WAIT2 among them.",
        )
        .of(of(|it| it.now)),
        Family::gauge("fin_wait2_sockets", "Of these, those whose peer has not closed yet.")
            .of(snapshot.fin_wait2.as_ref().and_then(in_fin_wait2)),
        ended(time_wait),
        Family::counter(
            "time_wait_refused",
            "Mini-sockets that the kernel did not make: there were too many.",
        )
        .of(of(|it| it.refused)),
        Family::counter("time_wait_rearmed", "Timers of mini-sockets that were set back.")
            .of(of(|it| it.rearmed)),
        lifetime(snapshot),
    ]
}

fn ended(time_wait: Option<&TimeWait>) -> Family {
    let family = Family::counter("time_wait_ended", "Mini-sockets ended, by what ended them.");
    let Some(ended) = time_wait.map(|it| &it.ended) else { return family };
    [
        ("expired", ended.expired),
        ("fin_wait2_timeout", ended.fin_wait2_timeout),
        ("reused", ended.reused),
        ("replaced", ended.replaced),
        ("reset", ended.reset),
        ("rejected", ended.rejected),
        ("aborted", ended.aborted),
        ("purged", ended.purged),
        ("other", ended.other),
        ("unseen", ended.unseen),
    ]
    .into_iter()
    .fold(family, |family, (end, count)| family.with([("end", end)], count))
}

fn lifetime(snapshot: &Snapshot) -> Family {
    let family = Family::new(
        "time_wait_lifetime",
        Kind::Histogram,
        "How long mini-sockets lived that were born and ended since twtrace started.",
    );
    let kept = snapshot.hdr.as_ref().and_then(|hdr| hdr.time_wait_lifetime.as_ref());
    let summary = snapshot.time_wait.as_ref().and_then(|it| it.lifetime_s.as_ref());
    let distribution = kept.zip(summary).map(|(kept, summary)| {
        let sum = summary.mean.unwrap_or(0.0) * summary.count as f64;
        Value::Distribution(Distribution::new(kept, MICROSECOND, sum, BOUNDS))
    });
    family.unit(Unit::Seconds).of(distribution)
}
