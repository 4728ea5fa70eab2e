//! A Snapshot for people: aligned, at most 80 columns, unknown named as such.
//!
//! `~` marks what is inferred, `≤` what is an upper bound.

mod close_wait;
pub(super) mod format;
mod histogram;
mod ports;
mod ranges;
mod tables;

use std::fmt;

use self::format::{flow, line, maybe, rate, seconds, shortened, span, wrapped};
pub use self::ports::{Whose, report as ports};
pub(in crate::view) use self::{
    close_wait::{signed, slow},
    format::{count, harmless_line, human_bytes},
};
use crate::{
    probes::{Exactness, Tier},
    stats::snapshot::{Ended, PortSearchKind, Snapshot, Summary},
};

/// Rows in tables of many things: who pays most is among the first, or nobody does.
const MAX_SEARCHERS: usize = 5;
const MAX_DESTINATIONS: usize = 5;
const MAX_LEAKS: usize = 5;

/// `snapshot` as a block of lines, ended by an empty one.
pub fn snapshot(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_snapshot(&mut out, snapshot);
    out
}

fn write_snapshot(out: &mut String, s: &Snapshot) -> fmt::Result {
    header(out, s)?;
    loss(out, s)?;
    closes(out, s)?;
    connects(out, s)?;
    time_wait(out, s)?;
    port_searches(out, s)?;
    ranges::failures(out, s)?;
    ranges::clients(out, s)?;
    reconcile(out, s)?;
    states(out, s)?;
    tables::closers(out, s)?;
    close_wait::leaks(out, s, MAX_LEAKS)?;
    tables::searchers(out, s, MAX_SEARCHERS)?;
    ranges::destinations(out, s, MAX_DESTINATIONS)?;
    out.push('\n');
    Ok(())
}

/// When, where, by which hooks, and what of it alone.
fn title(out: &mut String, s: &Snapshot, tier: &str) -> fmt::Result {
    let title = format!(
        "{}  {}  Linux {}  probes {tier}",
        // Milliseconds and zone are for machines.
        s.time.get(..19).unwrap_or(&s.time).replace('T', " "),
        shortened(&s.host.hostname, 12),
        shortened(&s.host.kernel, 14),
    );
    line(out, &title)?;
    let Some(filter) = &s.filter else { return Ok(()) };
    line(out, &format!("only       {}", shortened(filter, 69)))
}

fn header(out: &mut String, s: &Snapshot) -> fmt::Result {
    let tier = match s.probes.transitions {
        Some(tier) => tier.name(),
        None => "none (sock_diag)",
    };
    let light = if s.probes.light { ", light" } else { "" };
    title(out, s, &format!("{tier}{light}"))?;
    let rates = [
        format!("after {:.1} s", s.elapsed_s),
        format!("opens {}/s", rate(s.rates.opens_per_s)),
        format!("active closes {}/s", rate(s.rates.active_closes_per_s)),
        format!("born {}/s", marked(s, "rates.births_per_s", rate(s.rates.births_per_s))),
        format!("ends {}/s", marked(s, "rates.ends_per_s", rate(s.rates.ends_per_s))),
    ];
    flow(out, String::new(), &rates)
}

/// What stands before the value of `key`, if it is not exact.
pub(in crate::view) fn mark(s: &Snapshot, key: &str) -> &'static str {
    match s.probes.exactness.get(key) {
        Some(Some(Exactness::Inferred)) => "~",
        Some(Some(Exactness::UpperBound)) => "≤",
        _ => "",
    }
}

/// `number` with its mark, if it is known.
fn marked(s: &Snapshot, key: &str, number: String) -> String {
    if number == format::UNKNOWN { number } else { mark(s, key).to_owned() + &number }
}

fn loss(out: &mut String, s: &Snapshot) -> fmt::Result {
    let Some(loss) = &s.loss else {
        return line(out, "loss       unavailable: nothing is traced");
    };
    let words = [
        format!("ring_full {}", count(loss.ring_full)),
        format!("missed {}", maybe(loss.missed)),
        format!("unmatched {}", count(loss.unmatched)),
        format!("evicted {}", count(loss.evicted)),
    ];
    wrapped(out, "loss", &words)
}

/// Why something is not known: it was not asked for, or for want of a hook.
pub(in crate::view) fn why(s: &Snapshot, no_hook: &'static str) -> &'static str {
    if s.probes.light { "left out by --light" } else { no_hook }
}

fn closes(out: &mut String, s: &Snapshot) -> fmt::Result {
    let Some(closes) = &s.closes else {
        return line(out, "closes     unavailable: only transitions tell; see `twtrace check`");
    };
    let words = [
        format!("active {}", marked(s, "closes.active", count(closes.active))),
        format!("passive {}", count(closes.passive)),
        format!("simultaneous {}", count(closes.simultaneous)),
        format!("reset {}", count(closes.reset)),
        format!("(local {}, remote {})", maybe(closes.reset_local), maybe(closes.reset_remote)),
    ];
    wrapped(out, "closes", &words)
}

fn connects(out: &mut String, s: &Snapshot) -> fmt::Result {
    let Some(connects) = &s.connects else {
        return line(out, "connects   unavailable: only transitions tell; see `twtrace check`");
    };
    let words = [
        format!("ok {}", count(connects.ok)),
        format!("refused {}", maybe(connects.refused)),
        format!("timed out {}", maybe(connects.timed_out)),
        format!("no port {}", maybe(connects.no_port)),
        format!("other {}", maybe(connects.other)),
    ];
    wrapped(out, "connects", &words)
}

fn time_wait(out: &mut String, s: &Snapshot) -> fmt::Result {
    let Some(time_wait) = &s.time_wait else {
        return line(out, "time_wait  unavailable: nothing sees it; see `twtrace check`");
    };
    let number = |key: &str, number| marked(s, &format!("time_wait.{key}"), maybe(number));
    let now = format!("now {}", number("now", time_wait.now));
    if time_wait.born.is_none() {
        let why = "(births and ends unavailable; see `twtrace check`)".to_owned();
        return wrapped(out, "time_wait", &[now, why]);
    }
    let words = [
        now,
        format!("seeded {}", number("seeded", time_wait.seeded)),
        format!("born {}", number("born", time_wait.born)),
        format!("refused {}", number("refused", time_wait.refused)),
    ];
    wrapped(out, "time_wait", &words)?;
    wrapped(out, "  ended", &ends(s, &time_wait.ended))?;
    if let Some(lifetimes) = time_wait.lifetime_s.as_ref().filter(|lived| lived.count > 0) {
        wrapped(out, "  lifetime", &quantiles(lifetimes, mark(s, "time_wait.lifetime_s"), span))?;
    }
    if let Some(remaining) = time_wait.remaining_s.as_ref().filter(|left| left.count > 0) {
        wrapped(out, "  to live", &quantiles(remaining, mark(s, "time_wait.remaining_s"), span))?;
    }
    fin_wait2(out, s)
}

/// What ended mini-sockets, as far as anything did.
fn ends(s: &Snapshot, ended: &Ended) -> Vec<String> {
    let bound = ended.reused_bound.filter(|bound| *bound > 0);
    let reused = bound.map_or(String::new(), |bound| format!(" ({} bound)", count(bound)));
    let causes = [
        ("expired", ended.expired, ""),
        ("fin_wait2_timeout", ended.fin_wait2_timeout, ""),
        ("reused", ended.reused, &*reused),
        ("replaced", ended.replaced, ""),
        ("reset", ended.reset, ""),
        ("rejected", ended.rejected, ""),
        ("aborted", ended.aborted, ""),
        ("purged", ended.purged, ""),
        ("other", ended.other, ""),
        ("unseen", ended.unseen, ""),
    ];
    let mut words: Vec<String> = causes
        .iter()
        .filter_map(|(name, number, more)| Some((name, number.filter(|n| *n > 0)?, more)))
        .map(|(name, number, more)| {
            let number = marked(s, &format!("time_wait.ended.{name}"), count(number));
            format!("{name} {number}{more}")
        })
        .collect();
    if words.is_empty() {
        words.push("none yet".to_owned());
    }
    if causes.iter().any(|(_, number, _)| number.is_none()) {
        words.push("(other causes unavailable)".to_owned());
    }
    words
}

fn quantiles<T: Copy>(values: &Summary<T>, mark: &str, shown: impl Fn(T) -> String) -> Vec<String> {
    let named = [("p50", values.p50), ("p99", values.p99), ("max", values.max)];
    let known = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
    known.map(|(name, value)| format!("{name} {mark}{}", shown(value))).collect()
}

/// Only where a peer was late to close.
fn fin_wait2(out: &mut String, s: &Snapshot) -> fmt::Result {
    let Some(fin_wait2) = s.fin_wait2.as_ref().filter(|kept| kept.born.is_some_and(|n| n > 0))
    else {
        return Ok(());
    };
    let number = |key: &str, number| marked(s, &format!("fin_wait2.{key}"), maybe(number));
    let mut words = vec![
        format!("born {}", number("born", fin_wait2.born)),
        format!("became TIME_WAIT {}", number("to_time_wait", fin_wait2.to_time_wait)),
    ];
    if fin_wait2.now.is_some() {
        words.insert(0, format!("now {}", number("now", fin_wait2.now)));
    }
    wrapped(out, "fin_wait2", &words)
}

fn port_searches(out: &mut String, s: &Snapshot) -> fmt::Result {
    let Some(search) = &s.port_search else {
        let why = why(s, "nothing sees searches; see `twtrace check`");
        return line(out, &format!("ports      unavailable: {why}"));
    };
    wrapped(out, "ports", &searches(s, "connect", &search.connect))?;
    let mut bind = searches(s, "bind", &search.bind);
    if search.bind_explicit.count > 0 {
        let key = "port_search.bind_explicit.count";
        let checks = marked(s, key, count(search.bind_explicit.count));
        bind.push(format!("(and {checks} of a chosen port)"));
    }
    wrapped(out, "", &bind)
}

fn searches(s: &Snapshot, op: &str, kind: &PortSearchKind) -> Vec<String> {
    let key = |name: &str| format!("port_search.{op}.{name}");
    let mut words = vec![format!("{op} {}", marked(s, &key("count"), count(kind.count)))];
    if kind.count > 0 {
        let failed = kind.failed.as_ref().map(|failed| failed.values().sum());
        words.push(format!("failed {}", marked(s, &key("failed"), maybe(failed))));
    }
    let latency = |latency_ns| span(seconds(latency_ns));
    words.extend(quantiles(&kind.latency_ns, mark(s, &key("latency_ns")), latency));
    words
}

/// Only where the kernel's counters and ours differ, or nobody knows.
fn reconcile(out: &mut String, s: &Snapshot) -> fmt::Result {
    let Some(differences) = &s.reconcile else {
        let followed = s.probes.end_cause.is_some_and(|tier| tier != Tier::None);
        let why = "reconcile  unavailable: the kernel's counters cannot be read";
        return if followed { line(out, why) } else { Ok(()) };
    };
    let differences = [
        ("now", differences.time_wait_now_minus_sockstat),
        ("born", differences.births_minus_tw),
        ("reused", differences.reused_minus_twrecycled),
        ("refused", differences.refused_minus_overflow),
    ];
    if differences.iter().all(|(_, difference)| *difference == Some(0)) {
        return Ok(());
    }
    let signed = |(name, difference): &(&str, Option<i64>)| match difference {
        None => format!("{name} {}", format::UNKNOWN),
        Some(0) => format!("{name} 0"),
        Some(n) => {
            format!("{name} {}{}", if *n < 0 { '-' } else { '+' }, count(n.unsigned_abs()))
        }
    };
    let mut words: Vec<String> = differences.iter().map(signed).collect();
    words.push("(ours minus the kernel's)".to_owned());
    wrapped(out, "reconcile", &words)
}

/// States that some socket is in, the fullest first; then those nobody counts.
fn states(out: &mut String, s: &Snapshot) -> fmt::Result {
    if s.states.values().all(Option::is_none) {
        let why = why(s, "sock_diag does not answer");
        return line(out, &format!("states     unavailable: {why}"));
    }
    let mut known: Vec<(&str, u64)> = s
        .states
        .iter()
        .filter_map(|(state, count)| Some((*state, (*count)?)))
        .filter(|(_, count)| *count > 0)
        .collect();
    known.sort_by_key(|(state, count)| (std::cmp::Reverse(*count), *state));
    let mut words: Vec<String> =
        known.iter().map(|(state, n)| format!("{state} {}", count(*n))).collect();
    if words.is_empty() {
        words.push("no sockets".to_owned());
    }
    let unknown: Vec<&str> =
        s.states.iter().filter(|(_, count)| count.is_none()).map(|(state, _)| *state).collect();
    if !unknown.is_empty() {
        words.push(format!("({} unavailable)", unknown.join(", ")));
    }
    wrapped(out, "states", &words)
}
