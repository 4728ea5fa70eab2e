//! `top --demo`: within a minute everything is there to be seen, and afterwards nothing is left,
//! however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use twtrace_tests::bpf_objects::held_by;
use twtrace_tests::snapshot::{missed, number};
use twtrace_tests::tool::{Run, Tool, program};
use twtrace_tests::wait_for;

/// Whoever plays.
const ACTORS: [&str; 8] = [
    "demo-caller",
    "demo-catalog",
    "demo-database",
    "demo-leaky",
    "demo-legacy",
    "demo-poller",
    "demo-shop",
    "demo-worker",
];
/// How many namespaces they play in.
const SCENES: usize = 4;
/// Where the ports run out.
const DATABASE: u16 = 5_432;
/// In the environment of a tool and of all that it starts.
const MARK: &str = "TWTRACE_TEST_DEMO";
/// All actors have ended.
const GONE: Duration = Duration::from_secs(5);

/// A demo shows the sockets of another one too.
static STAGE: Mutex<()> = Mutex::new(());

fn take_the_stage() -> MutexGuard<'static, ()> {
    STAGE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `twtrace top --demo`, found again by `mark`.
fn top(mark: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(["top", "--demo", "--batch"]).args(args).env(MARK, mark);
    command
}

fn json(mark: &str, args: &[&str]) -> Tool {
    Tool::launch(&mut top(mark, &[&["--json"], args].concat()))
}

/// A process of the demo.
struct Actor {
    pid: u32,
    name: String,
    netns: PathBuf,
}

/// Processes that a tool with this mark has started.
fn actors(mark: &str) -> Vec<Actor> {
    let mark = format!("{MARK}={mark}");
    let pids = fs::read_dir("/proc").expect("/proc can be listed").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| actor(pid, &mark)).collect()
}

/// `None` if it is none, or has just ended.
fn actor(pid: u32, mark: &str) -> Option<Actor> {
    let has = |file: &str, word: &str| {
        let words = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|it| it == word.as_bytes())
    };
    if !has("environ", mark) || !has("cmdline", "demo-actor") {
        return None;
    }
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned();
    Some(Actor { pid, name, netns: fs::read_link(format!("/proc/{pid}/ns/net")).ok()? })
}

/// The whole company, once it is there.
#[track_caller]
fn company(mark: &str) -> Vec<Actor> {
    wait_for("all actors", GONE, || {
        let actors = actors(mark);
        let mut names: Vec<_> = actors.iter().map(|actor| actor.name.as_str()).collect();
        names.sort_unstable();
        (names == ACTORS).then_some(actors)
    })
}

fn namespaces(actors: &[Actor]) -> BTreeSet<PathBuf> {
    actors.iter().map(|actor| actor.netns.clone()).collect()
}

/// No process is left, and nobody holds any of `namespaces`: a process that ends leaves its
/// namespace after its memory.
#[track_caller]
fn assert_nothing_left(mark: &str, namespaces: &BTreeSet<PathBuf>) {
    wait_for("the actors to end", GONE, || actors(mark).is_empty().then_some(()));
    wait_for("everybody to leave their namespaces", GONE, || {
        let is_entered = held().iter().any(|netns| namespaces.contains(netns));
        (!is_entered).then_some(())
    });
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
    for netns in namespaces {
        assert!(!mounts.contains(&*netns.to_string_lossy()), "{} is mounted", netns.display());
    }
}

/// The network namespace of every thread.
fn held() -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").expect("/proc can be listed").flatten();
    let tasks = processes.filter_map(|process| fs::read_dir(process.path().join("task")).ok());
    let tasks = tasks.flatten().flatten();
    tasks.filter_map(|task| fs::read_link(task.path().join("ns/net")).ok()).collect()
}

/// The row of a process in `closers`.
fn closer<'a>(snapshot: &'a Value, comm: &str, role: &str) -> Option<&'a Value> {
    let mut rows = snapshot["closers"].as_array().expect("closers is a list").iter();
    rows.find(|row| row["comm"] == comm && row["role"] == role)
}

/// The destination whose ports run out.
fn database(snapshot: &Value) -> Option<&Value> {
    let mut rows = snapshot["destinations"].as_array().expect("destinations are known").iter();
    rows.find(|row| row["rport"] == DATABASE && row["comm"] == "demo-worker")
}

fn used_ratio(snapshot: &Value) -> f64 {
    database(snapshot).and_then(|row| row["used_ratio"].as_f64()).unwrap_or_default()
}

#[test]
fn everything_is_there_to_be_seen() {
    let _stage = take_the_stage();
    let tool = json("everything", &["-d", "1", "--top", "1000"]);
    let namespaces = namespaces(&company("everything"));
    let count = |snapshot: &Value, comm: &str, role: &str, key: &str| {
        closer(snapshot, comm, role).map_or(0, |row| number(row, key))
    };
    tool.wait_for("those who close first", |seen| {
        count(seen, "demo-shop", "client", "active_closes") > 0
            && count(seen, "demo-shop", "client", "resets") > 0
            && count(seen, "demo-legacy", "server", "active_closes") > 0
            && count(seen, "demo-poller", "client", "peer_closes") > 0
            && number(seen, "fin_wait2.born") > 0
    });
    let early = tool.wait_for("a destination that fills up", |seen| {
        let known = |key| database(seen).is_some_and(|row| row[key].as_f64() > Some(0.0));
        known("knee_in_s") && known("exhausted_in_s")
    });
    let rows = early["destinations"].as_array().expect("destinations are known");
    assert!(
        rows.iter().any(|row| row["raddr"] == "::1" && row["comm"] == "demo-shop"),
        "{rows:#?}"
    );
    let close_wait = |snapshot: &Value| number(snapshot, "states.CLOSE_WAIT");
    tool.wait_for("more ports taken and more connections leaked", |seen| {
        used_ratio(seen) > used_ratio(&early) + 0.05 && close_wait(seen) > close_wait(&early) + 3
    });
    let past = tool.wait_long_for("the knee", Duration::from_secs(40), |seen| {
        database(seen).is_some_and(|row| row["knee_in_s"] == 0.0)
    });
    assert!(used_ratio(&past) >= 0.5, "{:#}", past["destinations"]);
    let full = tool.wait_long_for("a connect without a port", Duration::from_secs(40), |seen| {
        let failed = database(seen).and_then(|row| row["connect_errors"]["EADDRNOTAVAIL"].as_u64());
        failed > Some(0) && number(seen, "connects.no_port") > 0
    });
    assert_eq!(database(&full).map(|row| &row["exhausted_in_s"]), Some(&Value::from(0.0)));
    assert!(number(&full, "time_wait.refused") <= missed(&full), "{:#}", full["time_wait"]);
    tool.finish();
    assert_nothing_left("everything", &namespaces);
}

/// What the demo sets in its own namespaces.
fn settings_of_the_host() -> Vec<String> {
    let keys = ["tcp_max_tw_buckets", "ip_local_port_range", "tcp_tw_reuse"];
    let read = |key| fs::read_to_string(format!("/proc/sys/net/ipv4/{key}")).expect(key);
    keys.map(read).into()
}

#[test]
fn nothing_is_left_however_it_is_ended() {
    let _stage = take_the_stage();
    let (settings, host) = (settings_of_the_host(), fs::read_link("/proc/self/ns/net"));
    let host = host.expect("the own namespace");
    for signal in [Signal::TERM, Signal::KILL] {
        let mark = format!("{signal:?}");
        // No snapshot is due, so none is cut in two by SIGKILL.
        let tool = json(&mark, &["-d", "3"]);
        let company = company(&mark);
        let namespaces = namespaces(&company);
        assert_eq!(namespaces.len(), SCENES, "{namespaces:?}");
        assert!(!namespaces.contains(&host), "{namespaces:?}");
        for Actor { pid, name, .. } in &company {
            assert_eq!(held_by(*pid), [], "{name} holds what is the tool's");
        }
        let ended = tool.stop(signal);
        assert_eq!(ended.stderr, "", "{:?}", ended.status);
        assert_nothing_left(&mark, &namespaces);
        assert_eq!(settings_of_the_host(), settings);
    }
}

#[test]
fn nothing_is_left_when_it_is_killed_while_it_begins() {
    let _stage = take_the_stage();
    let quietly = |mark: &str| -> Child {
        let mut command = top(mark, &[]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("starting the tool")
    };
    for present in 1..=ACTORS.len() {
        let mark = format!("beginning {present}");
        let mut tool = quietly(&mark);
        let namespaces = wait_for("some actors", Duration::from_secs(20), || {
            let actors = actors(&mark);
            (actors.len() >= present).then(|| namespaces(&actors))
        });
        tool.kill().expect("killing the tool");
        tool.wait().expect("waiting for the tool");
        assert_nothing_left(&mark, &namespaces);
    }
}

#[test]
fn it_ends_by_itself_and_shows_text() {
    let _stage = take_the_stage();
    let run = Run::of(&mut top("text", &["-n", "2"]));
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{}", run.stdout);
    assert!(run.stdout.contains("demo-shop"), "{}", run.stdout);
    assert!(actors("text").is_empty(), "they end before the tool does");
}

/// Exit code 2, and one line that says why.
#[track_caller]
fn assert_refused(command: &mut Command, because: &[&str]) {
    let run = Run::of(command);
    let said = format!("code {:?}, stdout {:?}, stderr {:?}", run.code, run.stdout, run.stderr);
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{said}");
    assert_eq!(run.stderr.lines().count(), 1, "{said}");
    for word in because {
        assert!(run.stderr.contains(word), "{word}: {said}");
    }
}

#[test]
fn what_cannot_be_is_said_in_one_line() {
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps=-all", "--bounding-set=-all"]).arg(program());
    assert_refused(command.args(["top", "--demo"]), &["--demo", "run as root", "CAP_SYS_ADMIN"]);
    assert_refused(&mut top("refused", &["--netns", "self"]), &["--demo", "--netns"]);
    assert_refused(&mut top("refused", &["--replay", "x.twt"]), &["--demo", "--replay"]);
    // By hand, on the host.
    let mut command = Command::new(program());
    assert_refused(command.args(["demo-actor", "demo-shop", "1"]), &["top --demo"]);
    let mut command = Command::new(program());
    assert_refused(command.args(["demo-actor", "demo-nobody", "1"]), &["demo-nobody"]);
}
