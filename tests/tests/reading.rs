//! What others read of a recording: data frames the exports, a browser the page.
//!
//! `cargo xtask test` installs what reads them; without it these tests fail and say so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::scenario::{Pair, connect_refused, no_port_left};
use twtrace_tests::tool::{Run, program};
use twtrace_tests::traffic::{End, Family, Traffic};

/// The checkout.
fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the crate is below the checkout").to_owned()
}

/// Runs `twtrace` with `args`; it must have nothing to complain about.
#[track_caller]
fn twtrace(args: &[&str]) -> String {
    let run = Run::of(Command::new(program()).args(args));
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{args:?}");
    run.stdout
}

/// A recording, in a folder of its own, of closes of each kind, failed connects, port
/// searches and TIME_WAITs that end.
fn recorded() -> (TempDir, String) {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("trace.twt").display().to_string();
    let netns = PrivateNetns::new();
    let mut recorder = Command::new(program())
        .args(["record", "-o", &file, "--netns", &netns.selector()])
        .stderr(fs::File::create(folder.path().join("stderr")).expect("a file"))
        .spawn()
        .expect("starting the recorder");
    twtrace_tests::wait_for("the recording to begin", std::time::Duration::from_secs(20), || {
        // Header, META twice, and what is there: then all hooks are attached.
        fs::metadata(&file).ok().filter(|it| it.len() > 1_500)
    });
    netns.run(|| scene(&netns));
    let pid = rustix::process::Pid::from_child(&recorder);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signalling it");
    assert_eq!(twtrace_tests::tool::exit_status(&mut recorder).code(), Some(0));
    (folder, file)
}

fn scene(netns: &PrivateNetns) {
    Traffic::closed_by(End::Client, 300).run();
    Traffic::closed_by(End::Server, 200).run();
    let listener = Family::V6.listen();
    (0..20).for_each(|_| Pair::open(&listener, Family::V6).abort());
    (0..3).for_each(|_| drop(connect_refused()));
    let listener = Family::V4.listen();
    drop(no_port_left(netns, &listener));
}

#[test]
fn data_frames_find_the_sums_of_the_report_in_every_export() {
    let python = root().join("target/data-frames/bin/python");
    assert!(python.is_file(), "no {}: run `cargo xtask test`", python.display());
    let (folder, file) = recorded();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("report.json"), twtrace(&["report", &file, "--json"])).expect("writing");
    for format in ["parquet", "arrow", "csv", "jsonl"] {
        let out = path(&format!("events.{format}"));
        twtrace(&["export", &file, "--format", format, "-o", &out]);
        let out = path(&format!("connections.{format}"));
        twtrace(&["export", &file, "--format", format, "--connections", "-o", &out]);
    }
    twtrace(&["export", &file, "--format", "perfetto", "-o", &path("timeline.json")]);
    let sums = root().join("tests/dataframes/sums.py");
    let read = Run::of(Command::new(python).arg(sums).arg(folder.path()));
    assert_eq!(read.code, Some(0), "{}\n{}", read.stdout, read.stderr);
    // Nothing is compared where nothing happened.
    let report: Value =
        serde_json::from_str(&fs::read_to_string(path("report.json")).unwrap()).unwrap();
    assert!(report["closes"]["active"].as_u64() >= Some(500), "{report:#}");
    assert_eq!(report["closes"]["reset"], 40, "{report:#}");
}

/// The queries of docs/fleet.md, over two hosts.
#[test]
fn duckdb_finds_the_sums_of_many_hosts() {
    let python = root().join("target/data-frames/bin/python");
    assert!(python.is_file(), "no {}: run `cargo xtask test`", python.display());
    let hosts = [recorded(), recorded()];
    for (folder, file) in &hosts {
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("report.json"), twtrace(&["report", file, "--json"])).expect("writing");
        let out = path("connections.parquet");
        twtrace(&["export", file, "--format", "parquet", "--connections", "-o", &out]);
    }
    let mut fleet = Command::new(python);
    fleet.arg(root().join("tests/dataframes/fleet.py")).arg(root().join("docs/fleet.md"));
    let read = Run::of(fleet.args(hosts.iter().map(|(folder, _)| folder.path())));
    assert_eq!(read.code, Some(0), "{}\n{}", read.stdout, read.stderr);
}

#[test]
fn a_browser_shows_the_page_and_asks_nobody_for_anything() {
    let (folder, file) = recorded();
    let page = folder.path().join("report.html").display().to_string();
    let shot = folder.path().join("report.png").display().to_string();
    twtrace(&["report", &file, "--html", &page]);
    let check = root().join("tests/browser/page.py");
    let seen = Run::of(Command::new("/usr/bin/python3").arg(check).args([&page, &shot]));
    assert_eq!(seen.code, Some(0), "{}\n{}", seen.stdout, seen.stderr);
    let pixels = fs::metadata(&shot).expect("there is a screenshot").len();
    assert!(pixels > 20_000, "the screenshot has {pixels} bytes");
}
