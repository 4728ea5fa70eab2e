//! The page of a recording: well-formed, it loads nothing, says what is unknown, and takes whatever
//! a kernel or a file says as text. There is no golden file: a page is to be looked at, and
//! `tests/browser/page.py` looks.

mod common;

use std::{fs, path::Path};

use common::{
    fixture,
    kernel::{CLASSIC, TP_BTF, at},
    page::Page,
    recording::Recording,
};
use twtrace::{
    probes::Hooks,
    stats::{
        snapshot::{CloseWait, Closer, Destination, SearchOp},
        timeline::{Count, Timeline},
    },
};

const HOSTILE: &str = "</script><img src=x onerror=alert(1)>\"'&";
const CHARTS: [&str; 6] = ["population", "rates", "ends", "fullness", "heat-connect", "lifetimes"];

#[test]
fn example() {
    let html = Recording::example().page();
    let page = Page::parse(&html);
    for id in CHARTS.iter().chain(&["closers", "destinations", "searchers", "events", "theme"]) {
        assert!(page.with_id(id).is_some(), "there is no {id}");
    }
    assert!(page.with_id("leaks").is_none(), "everybody closes");
    assert!(page.text.contains("php-fpm (812)"));
    assert!(page.text.contains("~"), "what is inferred is marked");
    assert!(page.text.contains("≤"), "what is an upper bound is marked");
    assert!(html.len() < 600_000, "{} bytes", html.len());
    keep("report.html", &html);
}

#[test]
fn nothing_is_loaded() {
    let html = Recording::example().page();
    let page = Page::parse(&html);
    for element in &page.elements {
        for (name, value) in &element.attributes {
            let loads = ["src", "href", "srcset", "action", "data", "poster", "xlink:href"];
            assert!(!loads.contains(&name.as_str()) || value == "data:,", "{element:?}");
            assert!(!name.starts_with("on"), "a script in an attribute: {element:?}");
            assert!(!value.contains("//") && !value.contains("url("), "{element:?}");
        }
    }
    assert!(!html.contains("://"), "there is no address of anything");
    let code = page.styles.iter().chain(&page.scripts);
    for part in code {
        assert!(!part.contains("//") && !part.contains("url(") && !part.contains("@import"));
        assert!(!part.contains("fetch(") && !part.contains("innerHTML") && !part.contains("eval("));
    }
    let policy = page.named("meta").find_map(|meta| {
        meta.get("http-equiv").filter(|name| *name == "Content-Security-Policy")?;
        meta.get("content")
    });
    assert!(policy.is_some_and(|policy| policy.starts_with("default-src 'none'")));
}

#[test]
fn what_a_kernel_or_a_file_says_is_text() {
    let mut recording = Recording::example();
    recording.meta.hostname = HOSTILE.to_owned();
    recording.meta.kernel = format!("6.1{HOSTILE}");
    recording.notes = vec![HOSTILE.to_owned()];
    let hostile = Some(HOSTILE.to_owned());
    let (closer_name, place) = (hostile.clone(), hostile.clone());
    let snapshot = &mut recording.snapshot;
    let closer = Closer {
        comm: hostile.clone(),
        cgroup: Some("\u{1b}[2J\u{9b}\u{202e}/x".to_owned()),
        active_closes: 1,
        ..Closer::default()
    };
    snapshot.closers = Some(vec![closer]);
    let destination = Destination {
        raddr: hostile.clone(),
        laddr: hostile.clone(),
        comm: hostile,
        rport: Some(1),
        used_ratio: Some(0.99),
        exhausted_in_s: Some(0.0),
        ..Destination::default()
    };
    snapshot.destinations = Some(vec![destination]);
    let leak = CloseWait { oldest_s: Some(5.0), ..CloseWait::default() };
    snapshot.close_wait = Some(vec![CloseWait { comm: closer_name, cgroup: place, ..leak }]);
    recording.tick(601.0);
    let timeline = &mut recording.timeline;
    timeline.sysctl_changed(at(601.0), 1, HOSTILE, Some(HOSTILE), Some(HOSTILE));
    timeline.gap(at(1.0), at(2.0), HOSTILE);
    let html = recording.page();
    let page = Page::parse(&html);
    assert_eq!(page.named("img").count(), 0);
    assert_eq!(page.named("script").count(), 2);
    assert!(page.elements.iter().all(|element| element.get("onerror").is_none()));
    assert!(page.with_id("leaks").is_some(), "one does not close");
    // It is all there, as text, and in the numbers.
    assert!(page.text.matches(HOSTILE).count() >= 9, "{}", page.text.matches(HOSTILE).count());
    assert!(page.data().to_string().contains("onerror"));
    let raw = html.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(raw, None, "a control character reaches the page");
    assert!(!html.contains('\u{202e}'), "nothing turns the text around");
}

#[test]
fn every_fixture_makes_a_page_and_its_counts_are_in_the_timeline() {
    for (name, fixture) in fixture::all() {
        let recording = Recording::of(TP_BTF, fixture.snapshot());
        Page::parse(&recording.page());
        let buckets = recording.timeline.buckets();
        assert_eq!(buckets.len(), 1, "{name}");
        for count in Count::ALL {
            assert_eq!(buckets[0].grown(count), count.of(&recording.snapshot), "{name}: {count:?}");
        }
    }
}

#[test]
fn nothing_has_happened() {
    for hooks in [TP_BTF, CLASSIC, Hooks::POLLING] {
        let mut recording = Recording::quiet(hooks);
        let page = Page::parse(&recording.page());
        assert!(page.with_id("population").is_some());
        recording.snapshot.closers = Some(Vec::new());
        recording.snapshot.destinations = Some(Vec::new());
        Page::parse(&recording.page());
        Page::parse(&Recording::without_ticks(hooks).page());
    }
}

#[test]
fn what_nobody_knows_is_not_zero() {
    let mut recording = Recording::quiet(Hooks::POLLING);
    let snapshot = &mut recording.snapshot;
    snapshot.time_wait = None;
    snapshot.fin_wait2 = None;
    snapshot.destinations = None;
    snapshot.hdr = None;
    recording.tick(61.0);
    let html = recording.page();
    keep("report-unknown.html", &html);
    let page = Page::parse(&html);
    let unavailable = page.text.matches("unavailable").count();
    assert!(unavailable >= 8, "{unavailable}: {}", page.text);
    let figures = page.elements.iter().filter(|element| element.get("class") == Some("unknown"));
    assert!(figures.count() >= 6);
    for series in page.data()["charts"]["rates"].as_array().expect("there are lines") {
        assert!(
            series["values"]
                .as_array()
                .expect("a value each")
                .iter()
                .all(serde_json::Value::is_null)
        );
    }
}

#[test]
fn ten_thousand_rows_do_not_make_a_page_of_ten_thousand() {
    let mut recording = Recording::example();
    let snapshot = &mut recording.snapshot;
    let closer = snapshot.closers.as_ref().expect("there are some")[0].clone();
    snapshot.closers = Some(vec![closer; 10_000]);
    let destination = snapshot.destinations.as_ref().expect("there are some")[0].clone();
    let destinations = (0..10_000).map(|i| Destination {
        raddr: Some(format!("10.{}.{}.1", i / 256, i % 256)),
        ..destination.clone()
    });
    snapshot.destinations = Some(destinations.collect());
    recording.tick(601.0);
    let html = recording.page();
    let page = Page::parse(&html);
    assert!(page.text.contains("9,900 more rows"));
    assert!(html.len() < 1_000_000, "{} bytes", html.len());
}

#[test]
fn whatever_the_clocks_say() {
    const LAST: u64 = u64::MAX;
    for started_ns in [0, at(0.0), LAST] {
        for ticks in [[(0, 0), (0, LAST)], [(LAST, LAST), (0, 0)], [(at(1.0), 0), (LAST, 7)]] {
            let mut recording = Recording::quiet(TP_BTF);
            recording.meta.started_ns = started_ns;
            recording.timeline = Timeline::new(&recording.meta);
            for (time_ns, wall_ns) in ticks {
                recording.timeline.tick(time_ns, wall_ns, &recording.snapshot);
            }
            recording.timeline.gap(LAST, 0, "all of it");
            recording.timeline.sysctl_changed(0, 0, "", None, None);
            recording.timeline.sysctl_changed(LAST, 0, "", None, None);
            let html = recording.page();
            Page::parse(&html);
            assert!(
                !html.contains("NaN") && !html.contains("inf "),
                "from {started_ns}: {ticks:?}"
            );
        }
    }
}

#[test]
fn a_long_recording_makes_no_long_page() {
    let mut recording = Recording::quiet(TP_BTF);
    for minute in 1..=20_000 {
        recording.timeline.searched(SearchOp::Connect, 1_000 * (minute % 977 + 1));
        recording.tick(60.0 * minute as f64);
    }
    let html = recording.page();
    keep("report-long.html", &html);
    Page::parse(&html);
    assert!(html.len() < 500_000, "{} bytes", html.len());
}

/// To be looked at, and for tests/browser/page.py.
fn keep(name: &str, html: &str) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, html).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
