//! One line per interval, as the shell monitors of old printed: for a
//! spreadsheet or gnuplot. Unknown is an empty field.

use crate::stats::snapshot::{Ended, Snapshot, TimeWait};

/// A column: its title, and its value in a Snapshot.
type Column = (&'static str, fn(&Snapshot) -> Option<String>);

/// The columns, in order. New ones are added at the end.
const COLUMNS: &[Column] = &[
    ("time", |s| Some(s.time.clone())),
    ("elapsed_s", |s| Some(format!("{:.3}", s.elapsed_s))),
    ("opens_per_s", |s| rate(s.rates.opens_per_s)),
    ("active_closes_per_s", |s| rate(s.rates.active_closes_per_s)),
    ("connects_ok", |s| count(s.connects.as_ref().map(|c| c.ok))),
    ("connects_refused", |s| count(s.connects.as_ref().and_then(|c| c.refused))),
    ("connects_timed_out", |s| count(s.connects.as_ref().and_then(|c| c.timed_out))),
    ("connects_no_port", |s| count(s.connects.as_ref().and_then(|c| c.no_port))),
    ("connects_other", |s| count(s.connects.as_ref().and_then(|c| c.other))),
    ("closes_active", |s| count(s.closes.as_ref().map(|c| c.active))),
    ("closes_passive", |s| count(s.closes.as_ref().map(|c| c.passive))),
    ("closes_simultaneous", |s| count(s.closes.as_ref().map(|c| c.simultaneous))),
    ("closes_reset", |s| count(s.closes.as_ref().map(|c| c.reset))),
    ("closes_reset_local", |s| count(s.closes.as_ref().and_then(|c| c.reset_local))),
    ("closes_reset_remote", |s| count(s.closes.as_ref().and_then(|c| c.reset_remote))),
    ("established", |s| state(s, "ESTABLISHED")),
    ("syn_sent", |s| state(s, "SYN_SENT")),
    ("syn_recv", |s| state(s, "SYN_RECV")),
    ("fin_wait1", |s| state(s, "FIN_WAIT1")),
    ("fin_wait2", |s| state(s, "FIN_WAIT2")),
    ("close_wait", |s| state(s, "CLOSE_WAIT")),
    ("last_ack", |s| state(s, "LAST_ACK")),
    ("closing", |s| state(s, "CLOSING")),
    ("listen", |s| state(s, "LISTEN")),
    ("time_wait", |s| count(s.time_wait.as_ref().and_then(|t| t.now))),
    ("ring_full", |s| count(s.loss.as_ref().map(|l| l.ring_full))),
    ("missed", |s| count(s.loss.as_ref().and_then(|l| l.missed))),
    ("unmatched", |s| count(s.loss.as_ref().map(|l| l.unmatched))),
    ("evicted", |s| count(s.loss.as_ref().map(|l| l.evicted))),
    ("tw_born", |s| time_wait(s, |t| t.born)),
    ("tw_refused", |s| time_wait(s, |t| t.refused)),
    ("tw_expired", |s| time_wait(s, |t| t.ended.expired)),
    ("tw_fin_wait2_timeout", |s| time_wait(s, |t| t.ended.fin_wait2_timeout)),
    ("tw_reused", |s| time_wait(s, |t| t.ended.reused)),
    ("tw_replaced", |s| time_wait(s, |t| t.ended.replaced)),
    ("tw_reset", |s| time_wait(s, |t| t.ended.reset)),
    ("tw_other_ends", |s| time_wait(s, |t| other_ends(&t.ended))),
    ("tw_lifetime_p50_s", |s| {
        let lifetimes = s.time_wait.as_ref()?.lifetime_s.as_ref()?;
        lifetimes.p50.map(|p50| format!("{p50:.3}"))
    }),
    ("connect_searches", |s| count(s.port_search.as_ref().map(|p| p.connect.count))),
    ("connect_search_failed", |s| {
        let failed = s.port_search.as_ref()?.connect.failed.as_ref()?;
        count(Some(failed.values().sum()))
    }),
    ("connect_search_p99_ns", |s| count(s.port_search.as_ref()?.connect.latency_ns.p99)),
    ("bind_searches", |s| count(s.port_search.as_ref().map(|p| p.bind.count))),
];

/// The titles, with their newline.
pub fn header() -> String {
    join(COLUMNS.iter().map(|(title, _)| (*title).to_owned()))
}

/// The values of `snapshot`, with their newline.
pub fn line(snapshot: &Snapshot) -> String {
    join(COLUMNS.iter().map(|(_, value)| value(snapshot).unwrap_or_default()))
}

/// No field holds a comma, a quote or a newline: numbers and one timestamp.
fn join(fields: impl Iterator<Item = String>) -> String {
    fields.collect::<Vec<_>>().join(",") + "\n"
}

fn count(count: Option<u64>) -> Option<String> {
    count.map(|count| count.to_string())
}

fn time_wait(s: &Snapshot, number: fn(&TimeWait) -> Option<u64>) -> Option<String> {
    count(s.time_wait.as_ref().and_then(number))
}

/// The ends that have no column; unknown as soon as one of them is.
fn other_ends(ended: &Ended) -> Option<u64> {
    let ends = [ended.rejected, ended.aborted, ended.purged, ended.other, ended.unseen];
    ends.into_iter().sum()
}

fn rate(rate: Option<f64>) -> Option<String> {
    rate.map(|rate| format!("{rate:.1}"))
}

fn state(snapshot: &Snapshot, state: &str) -> Option<String> {
    count(snapshot.states.get(state).copied().flatten())
}
