//! What a real Prometheus makes of `twtrace serve`: its rules, an alert that fires at the knee
//! and resolves, and every query of the dashboard.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use twtrace_tests::conntrack;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::prometheus::Prometheus;
use twtrace_tests::scenario::Pair;
use twtrace_tests::serve::Serve;
use twtrace_tests::snapshot::number;
use twtrace_tests::tool::Run;
use twtrace_tests::wait_for;

/// Scrapes, rules and alerts follow each other every second.
const SOON: Duration = Duration::from_secs(30);

fn contrib(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib").join(name)
}

#[track_caller]
fn promtool(args: &[&str]) {
    let output = Command::new("promtool")
        .args(args)
        .current_dir(contrib("prometheus"))
        .output()
        .expect("promtool is in Debian's package prometheus");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {args:?}: {said}");
}

#[test]
fn promtool_agrees_with_the_rules() {
    promtool(&["check", "rules", "twtrace.rules.yml"]);
    promtool(&["test", "rules", "twtrace.test.yml"]);
}

#[test]
fn promtool_agrees_with_the_metrics() {
    let netns = PrivateNetns::new();
    let serve = Serve::start(&["--netns", &netns.selector()]);
    let text = serve.get("/metrics");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &text.body).expect("writing a file");
    let read = std::fs::File::open(file.path()).expect("reading it");
    let output = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(read)
        .output()
        .expect("promtool is in Debian's package prometheus");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "promtool check metrics: {said}");
}

/// Connections of one client to one port, which closes first: as long as there is a port.
fn connect_and_close(connections: u32, per_second: f64) -> u32 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 8_080)).expect("binding a listener");
    let address = listener.local_addr().expect("its address");
    for opened in 0..connections {
        let Ok(client) = TcpStream::connect(address) else { return opened };
        let (server, _) = listener.accept().expect("accepting");
        Pair { client, server }.close_client_first();
        thread::sleep(Duration::from_secs_f64(1.0 / per_second));
    }
    connections
}

/// Every query of the dashboard, as Grafana would send it.
fn dashboard() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(contrib("grafana/twtrace.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("it has panels");
    let of = |panel: &Value| -> Vec<(String, String)> {
        let title = panel["title"].as_str().expect("a panel has a title").to_owned();
        let targets = panel["targets"].as_array().expect("a panel has queries").iter();
        let query = |target: &Value| target["expr"].as_str().expect("a query").to_owned();
        targets.map(|target| (title.clone(), query(target))).collect()
    };
    let filled = |query: &str| {
        let filled = query
            .replace("$instance", ".*")
            .replace("$__rate_interval", "10s")
            .replace("$__range", "1m");
        assert!(!filled.contains('$'), "{filled}");
        filled
    };
    panels.iter().flat_map(of).map(|(title, query)| (title, filled(&query))).collect()
}

#[test]
fn an_alert_fires_at_the_knee_and_resolves() {
    let netns = PrivateNetns::new();
    netns.sysctl_set("net.ipv4.ip_local_port_range", "40000 40199");
    // Who asks for an entry makes the kernel load what tracks connections: there is a panel of it.
    netns.run(|| conntrack::fill(1));
    let mut serve = Serve::start(&["--netns", &netns.selector()]);
    let prometheus =
        Prometheus::scrape(serve.address(), &contrib("prometheus/twtrace.rules.yml"), &[]);
    let alert = |name: &str| prometheus.fires(name);
    assert!(!alert("TwtracePortsPastKnee"), "nothing is taken yet");

    // A process that leaks: its peer has closed, and it has not.
    let (leak, _peer) = netns.run(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 9_090)).expect("a listener");
        let client = TcpStream::connect(listener.local_addr().expect("its address"));
        let (server, _) = listener.accept().expect("accepting");
        drop(server);
        (client.expect("a connection"), listener)
    });
    let opened = thread::scope(|scope| {
        let opened = scope.spawn(|| netns.run(|| connect_and_close(90, 15.0)));
        wait_for("ports to be running out", SOON, || {
            alert("TwtracePortsExhaustedSoon").then_some(())
        });
        assert!(!alert("TwtracePortsNearlyUsed"), "fewer than half are taken");
        opened.join().expect("the client does not panic")
    });
    assert_eq!(opened, 90);
    assert!(!alert("TwtracePortsPastKnee"), "90 of 200 are not half of them");

    netns.run(|| connect_and_close(15, 15.0));
    wait_for("the alert at the knee", SOON, || alert("TwtracePortsPastKnee").then_some(()));
    assert!(!alert("TwtracePortsNearlyUsed"), "half is not 80 %");

    let opened = netns.run(|| connect_and_close(200, 40.0));
    assert!(opened < 100, "a range of 200 ports gave {opened} more");
    wait_for("the alert at 80 %", SOON, || alert("TwtracePortsNearlyUsed").then_some(()));
    wait_for("the alert of a connect without a port", SOON, || {
        alert("TwtraceNoPort").then_some(())
    });
    every_query_gives_data(&prometheus);
    merged_as_told(&prometheus, &mut serve);

    // Somebody ends the mini-sockets.
    drop(leak);
    netns.run(|| Run::of(Command::new("ss").args(["-K", "-t", "state", "time-wait"])));
    assert_eq!(netns.sockstat_tw(), 0, "ss -K has ended them");
    for name in ["TwtracePortsPastKnee", "TwtracePortsNearlyUsed", "TwtracePortsExhaustedSoon"] {
        wait_for(&format!("{name} to resolve"), SOON, || (!alert(name)).then_some(()));
    }
    assert!(!alert("TwtraceDown") && !alert("TwtraceStale"));
    let (status, _) = serve.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0));
    wait_for("the alert of a twtrace that is down", SOON, || alert("TwtraceDown").then_some(()));
}

/// Of all else that has an alert, in one namespace: what serves and what scrapes are in it too, since
/// connection tracking is looked at where twtrace is.
#[test]
fn each_trouble_fires_its_alert() {
    let netns = PrivateNetns::new();
    netns.run(|| {
        // A ring of a page takes some fifty transitions, and a burst has thousands.
        let serve = Serve::start(&["--netns", "self", "--ring-size", "4096"]);
        let rules = contrib("prometheus/twtrace.rules.yml");
        let prometheus = Prometheus::scrape(serve.address(), &rules, &[]);
        let troubles = [
            "TwtraceConntrackNearlyFull",
            "TwtraceCloseWaitGrows",
            "TwtraceTimeWaitOverflow",
            "TwtraceLosses",
        ];
        for name in troubles {
            assert!(!prometheus.fires(name), "{name}: nothing is wrong yet");
        }
        let fires = |name: &str| wait_for(name, SOON, || prometheus.fires(name).then_some(()));

        let max: u64 =
            netns.sysctl_get("net.netfilter.nf_conntrack_max").parse().expect("a number");
        conntrack::fill(u32::try_from(max * 81 / 100).expect("a number of entries"));
        fires("TwtraceConntrackNearlyFull");
        conntrack::flush();

        let mut leaks = leak(40);
        wait_for("the first of those that nobody closes", SOON, || {
            prometheus.number("sum(twtrace_close_wait_sockets) >= 40")
        });
        leaks.extend(leak(120));
        fires("TwtraceCloseWaitGrows");
        drop(leaks);

        netns.sysctl_set("net.ipv4.tcp_max_tw_buckets", "5");
        connect_and_close(50, 1_000.0);
        fires("TwtraceTimeWaitOverflow");

        connect_and_close(1_000, 1_000_000.0);
        fires("TwtraceLosses");
        wait_for("connection tracking to be well again", SOON, || {
            (!prometheus.fires("TwtraceConntrackNearlyFull")).then_some(())
        });
    });
}

/// Connections whose server has closed, and whose client does not.
fn leak(connections: usize) -> Vec<TcpStream> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let address = listener.local_addr().expect("its address");
    let leaked = |_| {
        let client = TcpStream::connect(address).expect("a connection");
        drop(listener.accept().expect("accepting"));
        client
    };
    (0..connections).map(leaked).collect()
}

#[track_caller]
fn every_query_gives_data(prometheus: &Prometheus) {
    let queries = dashboard();
    assert!(queries.len() > 20, "the dashboard has {} queries", queries.len());
    for (title, query) in queries {
        let given = wait_for(&format!("data of {title}: {query}"), SOON, || {
            Some(prometheus.query(&query)).filter(|series| !series.is_empty())
        });
        let is_number = |value: f64| value.is_finite() || query.contains("histogram_quantile");
        assert!(given.iter().all(|series| is_number(series.value)), "{title}: {given:#?}");
    }
}

/// What Prometheus has is what twtrace told.
#[track_caller]
fn merged_as_told(prometheus: &Prometheus, serve: &mut Serve) {
    for (query, key) in [
        ("sum(twtrace_closes_total{kind=\"active\"})", "closes.active"),
        ("sum(twtrace_connects_total{result=\"no_port\"})", "connects.no_port"),
        ("fleet:twtrace_time_wait_sockets:sum", "time_wait.now"),
    ] {
        wait_for(&format!("{query} to be {key}"), SOON, || {
            // Anew each time: mini-sockets end meanwhile.
            let told = number(&serve.snapshot(), key) as f64;
            (prometheus.number(query) == Some(told)).then_some(())
        });
    }
}

/// With protobuf Prometheus asks for native histograms, and gets them.
#[test]
fn histograms_are_native_where_prometheus_asks_for_them() {
    let netns = PrivateNetns::new();
    let mut serve = Serve::start(&["--netns", &netns.selector()]);
    let rules = contrib("prometheus/twtrace.rules.yml");
    let prometheus =
        Prometheus::scrape(serve.address(), &rules, &["--enable-feature=native-histograms"]);
    netns.run(|| connect_and_close(50, 1_000.0));
    let searches = |snapshot: &Value| number(snapshot, "port_search.connect.latency_ns.count");
    let snapshot = serve.wait_for("all searches", |snapshot| {
        searches(snapshot) + twtrace_tests::snapshot::missed(snapshot) >= 50
    });
    let told = searches(&snapshot) as f64;
    let family = "twtrace_port_search_seconds{op=\"connect\"}";
    wait_for("all of them in Prometheus", SOON, || {
        let seen = prometheus.number(&format!("histogram_count({family})"));
        (seen == Some(told)).then_some(())
    });
    let half = prometheus.number(&format!("histogram_quantile(0.5, {family})"));
    let half = half.expect("there is a median");
    let told = twtrace_tests::snapshot::seconds(&snapshot, "port_search.connect.latency_ns.p50");
    // A bucket ends 9 % above the one before.
    let told = told / 1e9;
    assert!((half / told - 1.0).abs() < 0.1, "half took {half} s, and {told} s by twtrace");
    // They are native alone, and everything else is there too.
    assert!(prometheus.query("twtrace_port_search_seconds_bucket").is_empty());
    assert_eq!(prometheus.query("twtrace_build_info").len(), 1);
}
