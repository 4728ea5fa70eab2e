//! The one thing that is said to matter: what it is, by which rule, and that nothing is advised
//! that would change nothing.

mod common;

use common::{
    fixture,
    kernel::{STARTED_NS, TP_BTF, meta},
};
use twtrace::{
    frame::Frame,
    pipeline::Pipeline,
    probes::{Hooks, Tier},
    stats::snapshot::{CloseWait, Closer, Destination, SearchRange, Snapshot},
    view::{
        text,
        verdict::{Severity, verdict},
    },
};

/// A host on which nothing is wrong.
fn quiet() -> Snapshot {
    let (_, fixture) = fixture::all().into_iter().find(|(name, _)| name.starts_with("62")).unwrap();
    let mut s = fixture.snapshot();
    s.destinations = Some(vec![destination()]);
    s.close_wait = Some(Vec::new());
    s.rates.active_closes_per_s = Some(3.0);
    s
}

fn destination() -> Destination {
    Destination {
        raddr: Some("10.0.0.5".to_owned()),
        rport: Some(6_379),
        ports_used: 100,
        ports_time_wait: 90,
        ports_available: Some(28_232),
        used_ratio: Some(0.0035),
        range: Some(SearchRange { low: 32_768, high: 60_999, own: false, step: Some(2) }),
        pid: Some(812),
        comm: Some("nginx".to_owned()),
        ..Destination::default()
    }
}

fn with(change: impl FnOnce(&mut Destination)) -> Snapshot {
    let mut s = quiet();
    s.destinations.iter_mut().flatten().for_each(|row| *row = destination());
    change(&mut s.destinations.as_mut().expect("they are known")[0]);
    s
}

fn busy(s: &mut Snapshot, role: &'static str) {
    s.rates.active_closes_per_s = Some(4_210.4);
    s.closers = Some(vec![Closer {
        pid: Some(812),
        comm: Some("nginx".to_owned()),
        role: Some(role),
        share: Some(0.97),
        ..Closer::default()
    }]);
}

#[track_caller]
fn assert_said(s: &Snapshot, severity: Severity, words: &[&str]) {
    let said = verdict(s);
    assert_eq!(said.severity, severity, "{}", said.text);
    for word in words {
        assert!(said.text.contains(word), "\"{word}\" is not in \"{}\"", said.text);
    }
}

#[test]
fn nothing_is_wrong_on_a_quiet_host() {
    let words = ["nothing is wrong", "100 TIME_WAITs", "10.0.0.5:6379, takes 0.4 %"];
    assert_said(&quiet(), Severity::Fine, &words);
}

#[test]
fn a_destination_without_ports_comes_before_everything_else() {
    let mut s = with(|row| {
        (row.knee_in_s, row.exhausted_in_s, row.used_ratio) = (Some(0.0), Some(0.0), Some(1.0));
        (row.ports_used, row.ports_time_wait) = (28_232, 28_100);
        row.connect_errors.insert("EADDRNOTAVAIL", 4_210);
    });
    busy(&mut s, "client");
    let words = [
        "10.0.0.5:6379 has no port left: 28,232 of 28,232 taken, 28,100 by TIME_WAIT",
        "4,210 connects failed",
        "keep connections open (keep-alive, a larger pool) in nginx (pid 812)",
        "ip_local_port_range",
        "see Destinations",
    ];
    assert_said(&s, Severity::Alarm, &words);
}

#[test]
fn a_destination_that_runs_out_is_named_with_its_clock_and_who_closes_first() {
    let mut s = with(|row| (row.knee_in_s, row.exhausted_in_s) = (Some(40.0), Some(95.0)));
    busy(&mut s, "client");
    let words = [
        "nginx (pid 812) closes first in 97 % of 4,210/s",
        "10.0.0.5:6379 passes the knee in 40.0 s, exhausted in 95.0 s",
    ];
    assert_said(&s, Severity::Watch, &words);
    let far = with(|row| row.exhausted_in_s = Some(3_000.0));
    assert_said(&far, Severity::Fine, &[]);
}

#[test]
fn where_the_range_cannot_grow_nobody_is_told_to_widen_it() {
    let full = |row: &mut Destination| row.exhausted_in_s = Some(0.0);
    let own = with(|row| {
        full(row);
        row.range = Some(SearchRange { low: 1, high: 9, own: true, step: None });
    });
    let whole = with(|row| {
        full(row);
        row.range = Some(SearchRange { low: 1_024, high: 65_535, own: false, step: Some(2) });
    });
    for s in [own, whole] {
        assert!(!verdict(&s).text.contains("ip_local_port_range"), "{}", verdict(&s).text);
    }
    // Nor are TIME_WAITs blamed where open connections take the ports.
    let open = with(|row| {
        full(row);
        row.ports_time_wait = 3;
    });
    assert_said(&open, Severity::Alarm, &["most are open connections"]);
}

#[test]
fn no_setting_of_the_myths_is_ever_advised() {
    let full = with(|row| row.exhausted_in_s = Some(0.0));
    let mut refused = quiet();
    refused.time_wait.as_mut().expect("it is known").refused = Some(7);
    for s in [full, refused, quiet()] {
        let text = verdict(&s).text;
        for myth in ["tcp_fin_timeout", "tcp_tw_recycle", "tcp_tw_reuse", "SO_LINGER", "lower"] {
            assert!(!text.contains(myth), "{text}");
        }
    }
}

#[test]
fn refused_births_are_told_with_the_limit_that_was_met() {
    let mut s = quiet();
    s.time_wait.as_mut().expect("it is known").refused = Some(12_345);
    assert_said(&s, Severity::Watch, &["12,345 TIME_WAITs were refused", "tcp_max_tw_buckets"]);
}

#[test]
fn a_leak_is_old_or_grows_and_is_no_accident() {
    let leak = |count, oldest_s, growth_per_min| {
        let mut s = quiet();
        s.close_wait = Some(vec![CloseWait {
            other: false,
            pid: Some(1_234),
            comm: Some("gorouter".to_owned()),
            cgroup: None,
            container: None,
            netns: None,
            count,
            unaccepted: 0,
            oldest_s: Some(oldest_s),
            growth_per_min,
        }]);
        s
    };
    let words =
        ["gorouter (pid 1234) leaks 412 sockets in CLOSE_WAIT, 12 more a minute", "close()"];
    assert_said(&leak(412, 3.0, Some(12.3)), Severity::Watch, &words);
    assert_said(&leak(412, 3_700.0, None), Severity::Watch, &["the oldest for 3,700 s"]);
    assert_said(&leak(412, 3.0, Some(-5.0)), Severity::Fine, &[]);
    assert_said(&leak(19, 3_700.0, Some(2.0)), Severity::Fine, &[]);
    let mut unaccepted = leak(412, 3_700.0, None);
    unaccepted.close_wait.as_mut().expect("they are known")[0].unaccepted = 400;
    let words = ["gorouter (pid 1234) has not accepted 400 connections", "accept()"];
    assert_said(&unaccepted, Severity::Watch, &words);
}

#[test]
fn past_the_knee_nearly_full_and_what_searches_cost() {
    let past = with(|row| (row.knee_in_s, row.used_ratio) = (Some(0.0), Some(0.6)));
    let words = ["10.0.0.5:6379 is past the knee (60 % taken)", "see Ports"];
    assert_said(&past, Severity::Watch, &words);
    let nearly = with(|row| row.used_ratio = Some(0.83));
    assert_said(&nearly, Severity::Watch, &["takes 83 % of its ports"]);
    let mut searching = quiet();
    let search = searching.port_search.as_mut().expect("it is known");
    search.connect.cpu_core_pct = Some(31.4);
    assert_said(&searching, Severity::Watch, &["searching ports takes 31 % of a core", "curl"]);
}

#[test]
fn who_closes_first_is_told_with_what_that_means() {
    let mut client = quiet();
    busy(&mut client, "client");
    assert_said(&client, Severity::Fine, &["nginx (pid 812) closes first in 97 %", "local ports"]);
    let mut server = quiet();
    busy(&mut server, "server");
    assert_said(&server, Severity::Fine, &["keep no local port"]);
}

#[test]
fn where_nothing_is_traced_that_is_said() {
    let mut s = quiet();
    s.probes.transitions = Some(Tier::None);
    assert_said(&s, Severity::Watch, &["who closes first is unavailable", "twtrace check"]);
}

#[test]
fn what_is_light_says_how_to_ask_for_more() {
    let hooks = Hooks { light: true, port_search: None, ..TP_BTF };
    let mut pipeline = Pipeline::new(meta(hooks), 1_000, 10);
    let tick = Frame::Tick { time_ns: STARTED_NS + 1_000_000_000, wall_ns: 1 };
    let s = pipeline.apply(&tick).expect("a tick").expect("it gives a Snapshot");
    assert_said(&s, Severity::Watch, &["is left out", "without --light"]);
    let text = text::snapshot(&s);
    for line in ["probes tracepoint, light", "closers    unavailable: left out by --light", "≤0"]
    {
        assert!(text.contains(line), "{text}");
    }
}
