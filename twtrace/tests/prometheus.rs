//! What Prometheus gets: both text formats as golden files, the bounds of series, names that
//! mean harm, and that numbers are the Snapshot's. `UPDATE_GOLDEN=1` rewrites the files.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{fixture, golden::assert_golden};
use twtrace::{
    stats::snapshot::{CloseWait, Closer, Destination, Samples, Snapshot},
    view::prometheus::{Family, Floor, Format, Own, families},
};

/// As `serve` has it unless it is told otherwise.
const TOP: usize = 20;
/// The most that any Snapshot may make, by docs/serve.md.
fn most_series(top: usize) -> usize {
    214 + 6 * top
}

fn own() -> Own {
    Own {
        taken_s: 1_700_000_000.25,
        cpu_s: 1.5,
        rss_bytes: Some(50 << 20),
        bpf_cpu_ratio: Some(0.002),
        helper_up: Some(true),
        scrapes: 7,
        rendering_s: 0.003,
        crowded_out: 0,
        conntrack: Some((1_200, 262_144)),
    }
}

fn snapshot(name: &str) -> Snapshot {
    let found = fixture::all().into_iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("there is no fixture {name}")).1.snapshot()
}

fn written(families: &[Family], format: Format) -> String {
    String::from_utf8(format.write(families)).expect("it is text")
}

/// Every series and its number, as a reader of either format sees them.
fn read(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut read = BTreeMap::new();
    for line in lines {
        let (series, number) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let number = number.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(read.insert(in_order(series), number).is_none(), "{series} is there twice");
    }
    read
}

/// The series with its labels in order.
fn in_order(series: &str) -> String {
    let Some((name, labels)) = series.split_once('{') else { return series.to_owned() };
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{series}"));
    let mut labels = split(labels);
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}

/// The labels of a series; one that cannot be read is no label.
fn split(labels: &str) -> Vec<&str> {
    let (mut found, mut rest) = (Vec::new(), labels);
    while !rest.is_empty() {
        let begin = rest.find("=\"").unwrap_or_else(|| panic!("{rest}")) + 2;
        let mut escaped = false;
        let end = rest[begin..].find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let end = begin + end.unwrap_or_else(|| panic!("{rest} does not end")) + 1;
        found.push(&rest[..end]);
        rest = rest[end..].strip_prefix(',').unwrap_or(&rest[end..]);
    }
    found
}

#[test]
fn what_is_served_of_some_fixtures() {
    for name in ["01-client-closes-first", "27-classic-hook", "09-no-port", "31-two-namespaces"] {
        let families = families(&snapshot(name), &own(), TOP);
        let text = written(&families, Format::Text);
        let openmetrics = written(&families, Format::OpenMetrics);
        assert_golden(&format!("tests/golden/{name}.prometheus.txt"), &text);
        assert_golden(&format!("tests/golden/{name}.openmetrics.txt"), &openmetrics);
    }
}

#[test]
fn both_formats_tell_the_same() {
    for (name, fixture) in fixture::all() {
        let families = families(&fixture.snapshot(), &own(), TOP);
        let text = read(&written(&families, Format::Text));
        assert_eq!(text, read(&written(&families, Format::OpenMetrics)), "{name}");
        assert_eq!(text.len(), families.iter().map(Family::series).sum::<usize>(), "{name}");
    }
}

#[test]
fn formats_keep_their_own_rules() {
    let families = families(&snapshot("01-client-closes-first"), &own(), TOP);
    let text = written(&families, Format::Text);
    assert!(text.contains("# TYPE twtrace_closes_total counter\n"));
    assert!(text.contains("# TYPE twtrace_build_info gauge\n"));
    assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
    let openmetrics = written(&families, Format::OpenMetrics);
    assert!(openmetrics.contains("# TYPE twtrace_closes counter\n"));
    assert!(openmetrics.contains("# TYPE twtrace_build info\n"));
    assert!(openmetrics.contains("# UNIT twtrace_time_wait_lifetime_seconds seconds\n"));
    assert!(openmetrics.ends_with("# EOF\n"));
}

/// The families that the design names; `build_info` and those of destinations among them.
#[test]
fn every_family_is_there_where_its_number_is_known() {
    let mut seen = BTreeSet::new();
    let mut add = |snapshot: &Snapshot| {
        for series in read(&written(&families(snapshot, &own(), TOP), Format::Text)).into_keys() {
            seen.insert(series.split('{').next().unwrap_or_default().to_owned());
        }
    };
    fixture::all().iter().for_each(|(_, fixture)| add(&fixture.snapshot()));
    add(&crowd(1));
    for name in [
        "time_wait_sockets",
        "time_wait_born_total",
        "time_wait_ended_total",
        "time_wait_lifetime_seconds_bucket",
        "closes_total",
        "port_search_seconds_bucket",
        "port_search_cpu_seconds_total",
        "port_search_failures_total",
        "destination_ports_used_ratio",
        "destination_knee_in_seconds",
        "destination_exhausted_in_seconds",
        "close_wait_sockets",
        "lost_total",
        "hook_tier_info",
        "build_info",
        "cpu_seconds_total",
        "resident_memory_bytes",
        "bpf_cpu_ratio",
        "helper_up",
        "conntrack_entries",
        "conntrack_entries_limit",
        "time_wait_refused_total",
        "kernel_time_wait_overflow_total",
        "scrapes_total",
        "scrape_rendering_seconds_total",
        "snapshot_timestamp_seconds",
    ] {
        assert!(seen.contains(&format!("twtrace_{name}")), "no twtrace_{name} in {seen:#?}");
    }
    let docs = include_str!("../../docs/serve.md");
    for name in &seen {
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(name);
        assert!(docs.contains(&format!("`{name}`")), "docs/serve.md does not tell of {name}");
    }
}

#[test]
fn what_is_not_known_has_no_series() {
    let mut s = snapshot("01-client-closes-first");
    (s.loss, s.time_wait, s.fin_wait2, s.roles) = (None, None, None, None);
    (s.port_search, s.destinations, s.close_wait, s.closers) = (None, None, None, None);
    (s.connects, s.kernel, s.hdr, s.closes) = (None, None, None, None);
    s.states.values_mut().for_each(|count| *count = None);
    let own =
        Own { rss_bytes: None, bpf_cpu_ratio: None, helper_up: None, conntrack: None, ..own() };
    let text = written(&families(&s, &own, TOP), Format::Text);
    let known: BTreeSet<String> = read(&text)
        .into_keys()
        .map(|series| series.split('{').next().unwrap_or_default().to_owned())
        .collect();
    let expected = [
        "build_info",
        "cpu_seconds_total",
        "hook_tier_info",
        "host_info",
        "http_crowded_out_total",
        "scrape_rendering_seconds_total",
        "scrapes_total",
        "snapshot_timestamp_seconds",
    ];
    assert_eq!(known, expected.map(|name| format!("twtrace_{name}")).into());
}

#[test]
fn sums_are_the_snapshots() {
    for (name, fixture) in fixture::all() {
        if fixture.is_lossy() {
            continue;
        }
        let s = fixture.snapshot();
        let series = read(&written(&families(&s, &own(), TOP), Format::Text));
        let sum = |prefix: &str| -> f64 {
            let of = series.iter().filter(|(series, _)| series.starts_with(prefix));
            of.map(|(_, number)| number).sum()
        };
        if let Some(closes) = &s.closes {
            for (kind, count) in [
                ("active", closes.active),
                ("passive", closes.passive),
                ("simultaneous", closes.simultaneous),
                ("reset", closes.reset),
            ] {
                let seen = sum(&format!("twtrace_closes_total{{kind=\"{kind}\""));
                assert_eq!(seen, count as f64, "{name}: {kind}");
            }
        }
        let Some(time_wait) = &s.time_wait else { continue };
        if let Some(lifetime) = &time_wait.lifetime_s {
            assert_eq!(sum("twtrace_time_wait_lifetime_seconds_count"), lifetime.count as f64);
            let infinite = sum("twtrace_time_wait_lifetime_seconds_bucket{le=\"+Inf\"}");
            assert_eq!(infinite, lifetime.count as f64, "{name}");
        }
        let rows: u64 = s.destinations.iter().flatten().map(|row| row.ports_used).sum();
        assert_eq!(sum("twtrace_destination_ports_used{"), rows as f64, "{name}");
    }
}

/// So many destinations, processes with sockets in CLOSE_WAIT, and closers.
fn crowd(rows: u32) -> Snapshot {
    let mut s = snapshot("01-client-closes-first");
    let address = |n: u32| std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string();
    let destination = |n: u32| Destination {
        netns: Some(4_026_531_840),
        laddr: Some("10.255.0.1".to_owned()),
        raddr: Some(address(n)),
        rport: Some(443),
        ports_used: u64::from(rows - n),
        ports_available: Some(28_232),
        used_ratio: Some(f64::from(rows - n) / f64::from(rows + 1)),
        knee_in_s: Some(10.0),
        exhausted_in_s: Some(20.0),
        ..Destination::default()
    };
    s.destinations = Some((0..rows).map(destination).collect());
    let name = |n: u32| Some(format!("worker-{n}"));
    let waits =
        |n: u32| CloseWait { comm: name(n), count: u64::from(n) + 1, ..CloseWait::default() };
    s.close_wait = Some((0..rows).map(waits).collect());
    let closer = |n: u32| Closer {
        comm: name(n),
        time_wait_now: Some(u64::from(n) + 1),
        ..Closer::default()
    };
    s.closers = Some((0..rows).map(closer).collect());
    let samples = Samples { hz: 99, bind: 1, connect: 198 };
    s.port_search.as_mut().expect("searches are seen").samples = Some(samples);
    s
}

#[test]
fn series_are_bounded_whatever_happens() {
    for top in [TOP, 50] {
        let s = crowd(10_000);
        let families = families(&s, &own(), top);
        let series = read(&written(&families, Format::Text));
        assert!(series.len() <= most_series(top), "{} series", series.len());
        // Four families of destinations, two of names; three of the six have an `other`.
        let few = self::families(&crowd(1), &own(), top);
        let few = read(&written(&few, Format::Text)).len();
        assert_eq!(series.len() - few, 6 * (top - 1) + 3);
        let total: f64 = (1..=10_000).map(f64::from).sum();
        for family in ["destination_ports_used", "close_wait_sockets", "closer_time_wait_sockets"] {
            let of = |(name, _): &(&String, &f64)| name.starts_with(&format!("twtrace_{family}{{"));
            let sum: f64 = series.iter().filter(of).map(|(_, number)| number).sum();
            assert_eq!(sum, total, "{family}: nothing is lost in `other`");
        }
    }
}

#[test]
fn names_that_mean_harm_are_values_and_no_more() {
    let names = [
        "a\"} 1\ntwtrace_evil 1",
        "back\\slash\\",
        "quote\"",
        "tab\tcr\rescape\u{1b}[31m",
        "\u{fffd}\u{fffd}broken",
        "",
        "other",
        "{}=,",
        "ключ",
        // Told alike, hence one.
        "twins\t",
        "twins\r",
    ];
    let mut s = crowd(1);
    let waits = |name: &&str| CloseWait {
        comm: Some((*name).to_owned()),
        count: 1,
        ..CloseWait::default()
    };
    s.close_wait = Some(names.iter().map(waits).collect());
    for format in [Format::Text, Format::OpenMetrics] {
        let text = written(&families(&s, &own(), TOP), format);
        let series = read(&text);
        let found = series.keys().filter(|name| name.starts_with("twtrace_close_wait_sockets{"));
        // `other` is a name like any, and the sum of all that have none.
        assert_eq!(found.count(), names.len() - 1, "{text}");
        assert!(!series.keys().any(|name| name.starts_with("twtrace_evil")));
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text}");
    }
}

#[test]
fn never_a_process_number_or_a_local_port() {
    let allowed: BTreeSet<&str> = [
        "role",
        "kind",
        "end",
        "op",
        "errno",
        "result",
        "destination",
        "comm",
        "state",
        "loss",
        "capability",
        "tier",
        "version",
        "kernel",
    ]
    .into();
    for (name, fixture) in fixture::all() {
        for family in families(&fixture.snapshot(), &own(), TOP) {
            for (label, _) in family.samples.iter().flat_map(|sample| &sample.labels) {
                assert!(allowed.contains(label), "{name}: {} has a label {label}", family.name);
            }
        }
    }
}

#[test]
fn counters_never_go_down() {
    let (mut before, after) =
        (snapshot("11-simultaneous-close"), snapshot("11-simultaneous-close"));
    let mut floor = Floor::default();
    let mut held = |s: &Snapshot| {
        let mut families = families(s, &own(), TOP);
        floor.hold(&mut families);
        read(&written(&families, Format::Text))
    };
    // One more was active, until it turned out to be simultaneous.
    before.roles.as_mut().expect("they are known").client.active += 1;
    let (first, second) = (held(&before), held(&after));
    for (series, number) in &first {
        let is_counter = ["_total", "_bucket", "_sum", "_count"]
            .iter()
            .any(|suffix| series.split('{').next().is_some_and(|name| name.ends_with(suffix)));
        assert!(!is_counter || second[series] >= *number, "{series} went down");
    }
    assert_eq!(first, second);
}
