//! Who does not close: as many sockets as `ss` counts, of the process that holds them, for as
//! long as they have been there; by hooks and without any; live, recorded, and in part.

use std::fs::File;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use twtrace::frame::Frame;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::peer::Peer;
use twtrace_tests::recording::{
    Place, Recording, Told, record_to, report_is_end, wait_for_end, wait_for_next,
};
use twtrace_tests::tool::{Run, Tool, program};
use twtrace_tests::traffic::Family;
use twtrace_tests::wait_for;

/// A look comes every five seconds, and who holds what is looked for no more often than every
/// ten.
const FOUND: Duration = Duration::from_secs(30);

/// Connects and closes so many times, and waits until that many more are in CLOSE_WAIT.
fn leak(netns: &PrivateNetns, port: u16, count: u64) {
    let wanted = by_ss(netns) + count;
    netns.run(|| {
        for _ in 0..count {
            drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connecting to the leak"));
        }
    });
    wait_for("every FIN to arrive", FOUND, || (by_ss(netns) == wanted).then_some(()));
}

fn by_ss(netns: &PrivateNetns) -> u64 {
    netns.output("ss", &["-Htan", "state", "close-wait"]).lines().count() as u64
}

fn rows(snapshot: &Value) -> &[Value] {
    let rows = snapshot["close_wait"].as_array();
    rows.unwrap_or_else(|| panic!("close_wait is {}", snapshot["close_wait"]))
}

/// Whether there is one row, of `pid`, with so many sockets.
fn is_alone(snapshot: &Value, pid: u32, count: u64) -> bool {
    let rows = snapshot["close_wait"].as_array();
    rows.is_some_and(|rows| rows.len() == 1 && rows[0]["pid"] == pid && rows[0]["count"] == count)
}

fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or_else(|| panic!("{key} is no number: {row:#}"))
}

/// A leak from before and while the tool is at work, until its process ends.
fn a_leak_is_seen(args: &[&str]) {
    let netns = PrivateNetns::new();
    let (leaking, port) = Peer::leaking(&netns, Peer::program());
    let began = Instant::now();
    leak(&netns, port, 20);
    std::thread::sleep(Duration::from_secs(2));
    let before_s = began.elapsed().as_secs_f64();
    let tool = Tool::on(&netns, args);
    let first = tool.wait_for("a first look", |it| it["close_wait"] != json!(null));
    let counted: u64 = rows(&first).iter().map(|row| number(row, "count") as u64).sum();
    assert_eq!(counted, 20, "all are seen at once: {:#}", first["close_wait"]);
    // Its age is told by the kernel, and not by when we came: less a tick of the clock or two.
    let oldest_s = number(&rows(&first)[0], "oldest_s");
    assert!(oldest_s > before_s - 0.1 && oldest_s < 30.0, "{oldest_s} s, not {before_s}");
    leak(&netns, port, 30);
    let counted = by_ss(&netns);
    let found = |it: &Value| is_alone(it, leaking.pid(), counted);
    let snapshot = tool.wait_long_for("the process that leaks", FOUND, found);
    let row = &rows(&snapshot)[0];
    assert_eq!(counted, 50);
    assert_eq!(
        (&row["comm"], &row["netns"], &row["unaccepted"]),
        (&json!("twtrace-peer"), &json!(netns.inode()), &json!(0)),
        "{row:#}"
    );
    assert!(row["cgroup"].as_str().is_some_and(|path| path.starts_with('/')), "{row:#}");
    assert!(number(row, "growth_per_min") > 0.0, "{row:#}");
    let oldest_s = number(row, "oldest_s");
    assert!(oldest_s > before_s && oldest_s <= began.elapsed().as_secs_f64(), "{row:#}");
    let words = &snapshot["probes"]["exactness"];
    assert_eq!(
        (&words["close_wait"], &words["close_wait.oldest_s"]),
        (&json!("exact"), &json!("inferred"))
    );
    leaking.kill();
    tool.wait_long_for("nobody to leak", FOUND, |it| it["close_wait"] == json!([]));
    tool.finish();
}

#[test]
fn a_leak_is_seen_by_hooks() {
    a_leak_is_seen(&[]);
}

#[test]
fn a_leak_is_seen_without_any() {
    a_leak_is_seen(&["--probes", "none"]);
}

/// Nobody can close what nobody has accepted.
#[test]
fn a_service_that_does_not_accept_holds_none() {
    let netns = PrivateNetns::new();
    let listener = netns.run(|| Family::V4.listen());
    leak(&netns, listener.local_addr().expect("it is bound").port(), 7);
    let tool = Tool::on(&netns, &[]);
    let snapshot = tool.wait_for("a look", |it| it["close_wait"] != json!(null));
    let [row] = rows(&snapshot) else { panic!("{:#}", snapshot["close_wait"]) };
    assert_eq!(
        (&row["pid"], &row["comm"], &row["count"], &row["unaccepted"]),
        (&json!(null), &json!("unknown"), &json!(7), &json!(7)),
        "{row:#}"
    );
    let accepted: Vec<_> = (0..7).map(|_| listener.accept().expect("they wait")).collect();
    let me = std::process::id();
    let snapshot = tool.wait_long_for("us to hold them", FOUND, |it| is_alone(it, me, 7));
    assert_eq!(rows(&snapshot)[0]["unaccepted"], 0);
    drop(accepted);
    tool.wait_long_for("none", FOUND, |it| it["close_wait"] == json!([]));
    tool.finish();
}

/// On the whole host each process has a row of its own, and filters leave what they ask for.
#[test]
fn filters_leave_one_of_two() {
    let directory = tempfile::tempdir().expect("a directory for a link");
    let link = directory.path().join("leaks-too");
    symlink(Peer::program(), &link).expect("linking the helper program");
    let (one, other) = (PrivateNetns::new(), PrivateNetns::new());
    let (first, first_port) = Peer::leaking(&one, Peer::program());
    let (second, second_port) = Peer::leaking(&other, link);
    leak(&one, first_port, 5);
    leak(&other, second_port, 9);
    let port = second_port.to_string();
    let inode = other.inode().to_string();
    let of_pid = ["--pid", &second.pid().to_string()].map(str::to_owned);
    let filters: [Vec<String>; 4] = [
        of_pid.to_vec(),
        ["--comm", "leaks-too", "-4"].map(str::to_owned).to_vec(),
        ["--netns", &inode].map(str::to_owned).to_vec(),
        ["--netns", &inode, "--lport", &port, "--raddr", "127.0.0.0/8"].map(str::to_owned).to_vec(),
    ];
    let whole = Tool::start(&[]);
    let tools = filters.map(|args| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Tool::start(&args)
    });
    for tool in tools {
        tool.wait_long_for("nobody else", FOUND, |it| is_alone(it, second.pid(), 9));
        tool.finish();
    }
    let snapshot = whole.wait_long_for("both", FOUND, |snapshot| {
        let has = |pid, count| {
            let rows = snapshot["close_wait"].as_array().map_or(&[][..], Vec::as_slice);
            rows.iter().any(|row| row["pid"] == pid && row["count"] == count)
        };
        has(first.pid(), 5) && has(second.pid(), 9)
    });
    let row = rows(&snapshot).iter().find(|row| row["pid"] == second.pid()).expect("it is there");
    assert_eq!((&row["comm"], &row["netns"]), (&json!("leaks-too"), &json!(other.inode())));
    whole.finish();
}

/// A recording, its second file, and a flight trace tell of the leak each by itself.
fn a_recording_tells_of_it(args: &[&str]) {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let files = [place.file("trace.twt"), place.file("trace.1.twt")];
    let (leaking, port) = Peer::leaking(&netns, Peer::program());
    leak(&netns, port, 20);
    let args = [&["-G", "15", "--duration", "22"], args].concat();
    let recording = Recording::spawn(&mut record_to(&netns, &files[0], &args));
    wait_for("a first look", FOUND, || has_looked(&files[0]).then_some(()));
    leak(&netns, port, 30);
    wait_for_next(&files[1]);
    // The next look finds them where there were some before.
    leak(&netns, port, 3);
    assert_eq!(recording.ended().code, Some(0));
    for (file, count) in files.iter().zip([50, 53]) {
        let snapshot = report_is_end(file);
        let [row] = rows(&snapshot) else { panic!("{:#}", snapshot["close_wait"]) };
        assert_eq!((&row["pid"], &row["comm"]), (&json!(leaking.pid()), &json!("twtrace-peer")));
        assert_eq!((&row["count"], number(row, "growth_per_min") > 0.0), (&json!(count), true));
    }
}

/// Whether a look is in a file that is written.
fn has_looked(file: &Path) -> bool {
    let told = File::open(file).ok().and_then(|file| Told::read(file).ok());
    let is_look = |frame: &Frame| matches!(frame, Frame::CloseWaits(_));
    told.is_some_and(|told| told.frames.iter().any(is_look))
}

#[test]
fn a_recording_tells_of_it_by_hooks() {
    a_recording_tells_of_it(&[]);
}

#[test]
fn a_recording_tells_of_it_without_any() {
    a_recording_tells_of_it(&["--probes", "none"]);
}

#[test]
fn a_flight_trace_tells_of_it() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("flight.twt");
    let (leaking, port) = Peer::leaking(&netns, Peer::program());
    leak(&netns, port, 20);
    let recording = Recording::launch(&mut record_to(&netns, &file, &["--flight", "2"]));
    recording.wait_seconds(7.0);
    recording.signal(Signal::USR2);
    wait_for_end(&file);
    assert!(is_alone(&report_is_end(&file), leaking.pid(), 20));
    recording.stop(Signal::TERM);
}

/// Whose it is that may not be looked at is unknown, and nobody is named in its place.
#[test]
fn a_process_of_another_user_is_not_named() {
    let netns = PrivateNetns::new();
    let directory = tempfile::tempdir().expect("a directory for a copy of the tool");
    let copy = readable_copy(directory.path());
    let (_leaking, port) = Peer::leaking(&netns, Peer::program());
    leak(&netns, port, 4);
    std::thread::sleep(Duration::from_secs(5));
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
        .args(["--bounding-set=-all", "--no-new-privs"])
        .arg(copy)
        .args(["top", "--batch", "--json", "--probes", "none", "--netns", "self"])
        .args(["-d", "2", "-n", "2"])
        .current_dir("/");
    let run = netns.run(|| Run::of(&mut command));
    let snapshots = run.snapshots();
    let last = snapshots.last().unwrap_or_else(|| panic!("{}", run.stderr));
    let [row] = rows(last) else { panic!("{:#}", last["close_wait"]) };
    assert_eq!(
        (&row["pid"], &row["comm"], &row["count"], &row["unaccepted"]),
        (&json!(null), &json!("unknown"), &json!(4), &json!(0)),
        "{row:#}"
    );
}

fn readable_copy(directory: &Path) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory, open).expect("opening the directory to all");
    let copy = directory.join("twtrace");
    std::fs::copy(program(), &copy).expect("copying the tool");
    copy
}
