//! The one thing that matters now, in plain words: what it is, its number, and the next step.
//!
//! A step is said only where the Snapshot itself shows that it would change something here.

use super::text::format::{count, endpoint, harmless_line, span, whole};
use crate::{
    probes::Tier,
    stats::{
        snapshot::{Closer, Destination, Snapshot},
        thresholds::{CHEAP_PCT, NEARLY_FULL, SOON_S, is_leak},
    },
};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is to be done.
    Fine,
    /// Something will fail, or costs more than it should.
    Watch,
    /// Something fails.
    Alarm,
}

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How bad it is.
    pub severity: Severity,
    /// In plain words.
    pub text: String,
}

/// Active closes per second from which on it is said who closes first.
const BUSY_PER_S: f64 = 20.0;
/// Part of the active closes that makes one process the one to talk about.
const MOST: f64 = 0.5;
/// The ports that a range can have: those below are for servers.
/// <https://docs.kernel.org/networking/ip-sysctl.html>
const ALL_PORTS: u64 = 65_535 - 1_023;

/// The first of these that holds.
const RULES: [fn(&Snapshot) -> Option<Verdict>; 9] = [
    exhausted,
    exhausted_soon,
    leak,
    past_the_knee,
    nearly_full,
    refused,
    untraced,
    searching,
    closes_first,
];

/// What matters now.
pub fn verdict(snapshot: &Snapshot) -> Verdict {
    RULES.iter().find_map(|rule| rule(snapshot)).unwrap_or_else(|| fine(snapshot))
}

fn watch(text: String) -> Option<Verdict> {
    Some(Verdict { severity: Severity::Watch, text })
}

fn alarm(text: String) -> Option<Verdict> {
    Some(Verdict { severity: Severity::Alarm, text })
}

/// Who closes first cannot be told at all.
fn untraced(s: &Snapshot) -> Option<Verdict> {
    let is_polled = s.probes.transitions.is_none_or(|tier| tier == Tier::None);
    if !is_polled {
        return None;
    }
    let now = s.time_wait.as_ref().and_then(|minis| minis.now);
    let now = now.map_or(String::new(), |now| format!("{} TIME_WAITs; ", count(now)));
    watch(format!(
        "{now}who closes first is unavailable: nothing is traced → run as root; \
         `twtrace check` says what is missing"
    ))
}

fn exhausted(s: &Snapshot) -> Option<Verdict> {
    let row = rows(s).find(|row| row.exhausted_in_s == Some(0.0))?;
    let failed: u64 = row.connect_errors.get("EADDRNOTAVAIL").copied().unwrap_or_default();
    let failed = match failed {
        0 => String::new(),
        failed => format!(", {} connects failed", count(failed)),
    };
    let who = process(row.comm.as_deref(), row.pid);
    let of = row.ports_available.map_or(String::new(), |of| format!(" of {}", count(of)));
    let used = count(row.ports_used);
    let waiting = count(row.ports_time_wait);
    alarm(format!(
        "{} has no port left: {used}{of} taken, {waiting} by TIME_WAIT{failed} → {}; \
         see Destinations",
        name(row)?,
        step(row, who.as_deref()),
    ))
}

fn exhausted_soon(s: &Snapshot) -> Option<Verdict> {
    let soon = |row: &&Destination| row.exhausted_in_s.is_some_and(|left| left < SOON_S);
    let earliest = |one: &&Destination, other: &&Destination| {
        let left = |row: &Destination| row.exhausted_in_s.unwrap_or(f64::MAX);
        left(one).total_cmp(&left(other))
    };
    let row = rows(s).filter(soon).min_by(earliest)?;
    let left_s = row.exhausted_in_s?;
    let knee = match row.knee_in_s {
        Some(knee_s) if knee_s <= 0.0 => "is past the knee, ".to_owned(),
        Some(knee_s) if knee_s < left_s => format!("passes the knee in {}, ", span(knee_s)),
        _ => "is ".to_owned(),
    };
    let left = span(left_s);
    let who = process(row.comm.as_deref(), row.pid);
    watch(format!(
        "{}{} {knee}exhausted in {left} → {}; see Destinations",
        closer(s).map_or(String::new(), |closer| format!("{closer}; ")),
        name(row)?,
        step(row, who.as_deref()),
    ))
}

/// What frees ports towards a destination.
fn step(row: &Destination, who: Option<&str>) -> String {
    let who = who.map_or(String::new(), |who| format!(" in {who}"));
    let is_narrow = |low: u16, high: u16| u64::from(high.saturating_sub(low)) + 1 < ALL_PORTS / 2;
    let range_can_grow =
        row.range.is_some_and(|range| !range.own && is_narrow(range.low, range.high));
    let range = if range_can_grow { ", or a wider ip_local_port_range" } else { "" };
    if row.ports_time_wait * 2 >= row.ports_used {
        format!("keep connections open (keep-alive, a larger pool){who}{range}")
    } else {
        format!("most are open connections: close idle ones{who}{range}")
    }
}

fn refused(s: &Snapshot) -> Option<Verdict> {
    let refused = s.time_wait.as_ref()?.refused.filter(|refused| *refused > 0)?;
    watch(format!(
        "{} TIME_WAITs were refused so far: tcp_max_tw_buckets was full, so late segments of these \
         connections meet nothing → raise it in that namespace, or close less; see Closers",
        count(refused)
    ))
}

fn leak(s: &Snapshot) -> Option<Verdict> {
    let leaks = s.close_wait.iter().flatten().filter(|row| is_leak(row));
    let mut named = leaks.filter_map(|row| Some((row, process(row.comm.as_deref(), row.pid)?)));
    let (row, who) = named.next()?;
    let growth = row.growth_per_min.filter(|growth| *growth >= 0.5);
    let growth = growth.map_or(String::new(), |it| format!(", {} more a minute", count(whole(it))));
    let oldest = row.oldest_s.map_or(String::new(), |it| format!(", the oldest for {}", span(it)));
    if row.unaccepted * 2 > row.count {
        return watch(format!(
            "{who} has not accepted {} connections that their peer has closed{growth}{oldest} → \
             it must accept() sooner; see Leaks",
            count(row.unaccepted)
        ));
    }
    watch(format!(
        "{who} leaks {} sockets in CLOSE_WAIT{growth}{oldest} → it must close() what its peer \
         has closed: no setting does that; see Leaks",
        count(row.count)
    ))
}

fn past_the_knee(s: &Snapshot) -> Option<Verdict> {
    let row = rows(s).find(|row| row.knee_in_s == Some(0.0))?;
    let full = row.used_ratio.map_or(String::new(), |it| format!(" ({:.0} % taken)", it * 100.0));
    let who = process(row.comm.as_deref(), row.pid);
    watch(format!(
        "{} is past the knee{full}: each connect searches the other half of the ports too → {}; \
         see Ports",
        name(row)?,
        step(row, who.as_deref()),
    ))
}

/// Where nobody can tell when it is full.
fn nearly_full(s: &Snapshot) -> Option<Verdict> {
    let row = rows(s).find(|row| row.used_ratio.is_some_and(|ratio| ratio >= NEARLY_FULL))?;
    let who = process(row.comm.as_deref(), row.pid);
    watch(format!(
        "{} takes {:.0} % of its ports → {}; see Destinations",
        name(row)?,
        row.used_ratio? * 100.0,
        step(row, who.as_deref()),
    ))
}

fn searching(s: &Snapshot) -> Option<Verdict> {
    let search = s.port_search.as_ref()?;
    let cpu = search.connect.cpu_core_pct.unwrap_or(0.0) + search.bind.cpu_core_pct.unwrap_or(0.0);
    if cpu < CHEAP_PCT {
        return None;
    }
    let most = search.by_process.iter().find(|row| !row.other);
    let who = most.and_then(|row| process(row.comm.as_deref(), row.pid));
    let who = who.map_or(String::new(), |who| format!(", most by {who}"));
    watch(format!("searching ports takes {cpu:.0} % of a core{who}; see Ports"))
}

fn closes_first(s: &Snapshot) -> Option<Verdict> {
    let text = closer(s)?;
    let role = first_closer(s)?.role;
    let meaning = match role {
        Some("client") => "its TIME_WAITs keep local ports → keep-alive, if a destination fills up",
        Some("server") => "its TIME_WAITs keep no local port: they cost memory alone",
        _ => "see Closers",
    };
    Some(Verdict { severity: Severity::Fine, text: format!("{text}; {meaning}") })
}

/// Who closes first, if that is one process, and often.
fn closer(s: &Snapshot) -> Option<String> {
    let row = first_closer(s)?;
    let share = row.share? * 100.0;
    let per_s = s.rates.active_closes_per_s?;
    let who = process(row.comm.as_deref(), row.pid)?;
    Some(format!("{who} closes first in {share:.0} % of {}/s", count(whole(per_s))))
}

fn first_closer(s: &Snapshot) -> Option<&Closer> {
    s.rates.active_closes_per_s.filter(|per_s| *per_s >= BUSY_PER_S)?;
    let row = s.closers.as_ref()?.iter().find(|row| !row.other)?;
    row.share.is_some_and(|share| share >= MOST).then_some(row)
}

fn fine(s: &Snapshot) -> Verdict {
    let now = s.time_wait.as_ref().and_then(|minis| minis.now);
    let now = now.map(|now| format!("{} TIME_WAITs", count(now)));
    let fullest = rows(s).find_map(|row| Some((name(row)?, row.used_ratio?)));
    let fullest = fullest.map(|(name, ratio)| {
        format!("the fullest destination, {name}, takes {:.1} % of its ports", ratio * 100.0)
    });
    if s.destinations.is_none() {
        let text = if s.probes.light {
            "who closes and how full ports are is left out → `twtrace top` without --light"
        } else {
            "how full ports are is unavailable → `twtrace check` says what is missing"
        };
        return Verdict { severity: Severity::Watch, text: text.to_owned() };
    }
    let words: Vec<String> = now.into_iter().chain(fullest).collect();
    let text = format!("nothing is wrong: {}", words.join(", "));
    Verdict { severity: Severity::Fine, text }
}

fn rows(s: &Snapshot) -> impl Iterator<Item = &Destination> {
    s.destinations.iter().flatten().filter(|row| !row.other)
}

fn name(row: &Destination) -> Option<String> {
    Some(harmless_line(&endpoint(row.raddr.as_deref()?, row.rport?)))
}

fn process(comm: Option<&str>, pid: Option<u32>) -> Option<String> {
    let comm = harmless_line(comm?);
    Some(pid.map_or(comm.clone(), |pid| format!("{comm} (pid {pid})")))
}
