//! A real Prometheus, as Debian packages it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::http;
use crate::wait_for;

/// Starting, and a first scrape, may take this long.
const READY: Duration = Duration::from_secs(30);

/// A Prometheus on loopback that scrapes every second; killed when dropped.
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    dir: TempDir,
}

/// One series of an answer.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its labels, `__name__` among them.
    pub labels: Value,
    /// Its number.
    pub value: f64,
}

impl Prometheus {
    /// Scrapes `target` as the job `twtrace`, with the rules of a file, and with `args` besides;
    /// waits for the first scrape. An alert waits no longer than a second, whatever its rule says.
    #[track_caller]
    pub fn scrape(target: SocketAddr, rules: &Path, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let address = free();
        let text = fs::read_to_string(rules).unwrap_or_else(|e| panic!("{}: {e}", rules.display()));
        fs::write(dir.path().join("rules.yml"), impatient(&text)).expect("writing rules");
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
             rule_files: [rules.yml]\n\
             scrape_configs:\n\
             - {{job_name: twtrace, static_configs: [{{targets: ['{target}']}}]}}\n"
        );
        fs::write(dir.path().join("prometheus.yml"), config).expect("writing a configuration");
        let log = fs::File::create(dir.path().join("log")).expect("a log");
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", dir.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("cannot start prometheus: {error}; install Debian's package prometheus")
        });
        let mut prometheus = Self { child, address, dir };
        wait_for("the first scrape", READY, || {
            if let Some(status) = prometheus.child.try_wait().expect("waiting for prometheus") {
                panic!("prometheus ended, {status}: {}", prometheus.log());
            }
            http::get(address, "/-/ready", "").ok().filter(|it| it.status == 200)?;
            prometheus.query("up == 1").first().cloned()
        });
        prometheus
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The series that a query gives now; panics if it is refused, or warned of.
    #[track_caller]
    pub fn query(&self, query: &str) -> Vec<Series> {
        let data = self.api(&format!("query?query={}", encoded(query)));
        let series = match data["resultType"].as_str() {
            Some("vector") => data["result"].as_array().cloned().unwrap_or_default(),
            _ => panic!("{query} is no vector: {data:#}"),
        };
        let value = |series: &Value| {
            let text = series["value"][1].as_str().expect("a number as text");
            text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
        };
        let series = series.iter();
        series.map(|it| Series { labels: it["metric"].clone(), value: value(it) }).collect()
    }

    /// The number of a query that gives one.
    #[track_caller]
    pub fn number(&self, query: &str) -> Option<f64> {
        let series = self.query(query);
        assert!(series.len() <= 1, "{query} gives {series:#?}");
        series.first().map(|series| series.value)
    }

    /// Whether an alert fires.
    #[track_caller]
    pub fn fires(&self, alert: &str) -> bool {
        let alerts = self.api("alerts");
        let alerts = alerts["alerts"].as_array().cloned().unwrap_or_default();
        alerts.iter().any(|it| it["labels"]["alertname"] == alert && it["state"] == "firing")
    }

    /// What part of its API says.
    #[track_caller]
    pub fn api(&self, path: &str) -> Value {
        let answer = http::get(self.address, &format!("/api/v1/{path}"), "");
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}: {}", self.log()));
        let json: Value = serde_json::from_str(answer.text())
            .unwrap_or_else(|error| panic!("{path}: {error}: {}", answer.text()));
        assert_eq!(json["status"], "success", "{path}: {json:#}");
        assert!(json["warnings"].is_null(), "{path}: {json:#}");
        json["data"].clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Rules whose alerts wait no longer than a second.
fn impatient(rules: &str) -> String {
    let line = |line: &str| match line.split_once("for: ") {
        Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 1s\n"),
        _ => format!("{line}\n"),
    };
    rules.lines().map(line).collect()
}

/// A port that nobody has. Somebody may take it before Prometheus does, which then says so.
fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address")
}

/// As a part of a URL.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
