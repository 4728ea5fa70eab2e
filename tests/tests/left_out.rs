//! What is left out in the kernel: nothing that a filter would have let pass, and nothing of it
//! costs room in the ring.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::recording::{Place, Recording, reading};
use twtrace_tests::snapshot::{Exact, missed, number};
use twtrace_tests::tool::{Run, Tool, program};
use twtrace_tests::traffic::{End, Family, Traffic};

const CONNECTIONS: u64 = 30;
/// Each round must find one in which no program missed anything, or nothing can be compared.
const ROUNDS: usize = 5;

/// Connections of every kind: either end closes first, RST, refused, IPv6, IPv4 in IPv6, and
/// listeners whose port nobody asks for.
fn traffic() {
    let by_client = Traffic::closed_by(End::Client, CONNECTIONS);
    by_client.run();
    Traffic::closed_by(End::Server, CONNECTIONS).run();
    Traffic::aborted(CONNECTIONS).run();
    by_client.clone().family(Family::V6).run();
    by_client.clone().family(Family::MappedServer).run();
    by_client.family(Family::MappedBoth).run();
    let nobody = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
    for _ in 0..CONNECTIONS {
        assert!(TcpStream::connect(nobody).is_err(), "nobody listens on port 1");
    }
}

/// What a filter may not change, whoever applies it: of a Snapshot all that is counted and does
/// not depend on the moment.
fn counted(snapshot: &Value) -> Value {
    let whole = ["transitions", "connects", "closes", "roles", "states"];
    let mut counted: serde_json::Map<String, Value> =
        whole.iter().map(|key| ((*key).to_owned(), snapshot[*key].clone())).collect();
    for key in ["born", "now", "ended"] {
        counted.insert(format!("time_wait.{key}"), snapshot["time_wait"][key].clone());
    }
    let search = &snapshot["port_search"];
    for kind in ["connect", "bind", "bind_explicit"] {
        counted.insert(format!("search.{kind}"), search[kind]["count"].clone());
    }
    let rows = |key: &str, columns: &[&str]| {
        let rows = snapshot[key].as_array().unwrap_or_else(|| panic!("{key} is a list"));
        let mut rows: Vec<Value> = rows
            .iter()
            .map(|row| columns.iter().map(|column| row[*column].clone()).collect())
            .collect();
        rows.sort_by_key(Value::to_string);
        Value::from(rows)
    };
    let closers = ["pid", "role", "active_closes", "peer_closes", "resets", "time_wait_now"];
    counted.insert("closers".to_owned(), rows("closers", &closers));
    let destinations = ["laddr", "raddr", "rport", "ports_used", "time_wait"];
    counted.insert("destinations".to_owned(), rows("destinations", &destinations));
    Value::Object(counted)
}

/// The same traffic by a run that leaves out in the kernel, and by a recording of everything that
/// is filtered when it is read; or `None` if a program missed something.
fn both_ways(filter: &[&str]) -> Option<(Value, Value)> {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("everything.twt");
    let recording = Recording::on(&netns, &file, &[]);
    let tool = Tool::on(&netns, &[&["--top", "1000"], filter].concat());
    netns.run(traffic);
    let live = tool.finish();
    recording.finish();
    let (report, netns) =
        (["report", "--json", "--top", "1000", "--netns"], netns.inode().to_string());
    let run = reading(&[&report[..], &[&netns], filter].concat(), &[&file]);
    assert_eq!((run.code, &run.stderr[..]), (Some(0), ""), "{filter:?}");
    let read = run.snapshots().remove(0);
    let is_whole = missed(&live) == 0 && missed(&read) == 0;
    is_whole.then(|| (counted(&live), counted(&read)))
}

#[test]
fn nothing_that_passes_in_user_space_is_left_out_in_the_kernel() {
    let filters: [&[&str]; 8] = [
        &["-4"],
        &["-6"],
        &["-D", "1"],
        &["-D", "2-65535"],
        &["-L", "1-29999"],
        &["-L", "30000-65535"],
        &["-6", "-D", "2-65535"],
        &["-4", "-L", "32768-45000", "--raddr", "127.0.0.0/8"],
    ];
    for filter in filters {
        let compared = (0..ROUNDS).find_map(|_| both_ways(filter));
        let (live, read) = compared.expect("a round in which nothing is missed");
        assert_eq!(live, read, "{filter:?}");
        assert_ne!(live["transitions"], json!({}), "{filter:?} lets something pass");
    }
}

/// A ring of one page is full at once if nobody reads it, unless nothing is written.
#[test]
fn what_is_left_out_takes_no_room_in_the_ring() {
    for (args, is_full) in
        [(&[][..], true), (&["-D", "1"], false), (&["-L", "1"], true), (&["-6"], false)]
    {
        let netns = PrivateNetns::new();
        let tool = Tool::on(&netns, &[&["--ring-size", "4K"], args].concat());
        let pid = Pid::from_raw(tool.pid().cast_signed()).expect("a process has a number");
        kill_process(pid, Signal::STOP).expect("it is ours");
        netns.run(|| Traffic::closed_by(End::Client, CONNECTIONS).run());
        kill_process(pid, Signal::CONT).expect("it is ours");
        let snapshot = tool.finish();
        // By -L each connect is told until its port is found.
        assert_eq!(number(&snapshot, "loss.ring_full") > 0, is_full, "{args:?}");
    }
}

#[test]
fn light_counts_all_and_tells_of_mini_sockets_alone() {
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &["--light"]);
    netns.run(|| Traffic::closed_by(End::Client, CONNECTIONS).run());
    netns.run(|| Traffic::aborted(CONNECTIONS).run());
    let snapshot = tool.finish();
    let exact = Exact::new(&snapshot, netns.inode());
    exact.object("connects", &[("ok", 2 * CONNECTIONS)]);
    exact.count("closes.active", CONNECTIONS);
    exact.count("closes.reset_local", CONNECTIONS);
    exact.count("transitions.by_pair.LISTEN>SYN_RECV", 2 * CONNECTIONS);
    exact.count("time_wait.born", CONNECTIONS);
    exact.count("time_wait.now", CONNECTIONS);
    assert_eq!(snapshot["time_wait"]["refused"], Value::Null, "closes tell, one by one");
    exact.reconciles();
    assert_eq!(snapshot["probes"]["light"], true);
    assert_eq!(number(&snapshot, "loss.unmatched"), 0, "nobody waits for their sockets");
    let unknown =
        ["closers", "roles", "destinations", "clients", "proxies", "tw_reuse", "port_search"];
    for key in unknown {
        assert_eq!(snapshot[key], Value::Null, "{key}");
    }
    let words = &snapshot["probes"]["exactness"];
    assert_eq!(words["closes.active"], "upper_bound", "one could be simultaneous");
    assert_eq!(words["states"], Value::Null);
}

#[test]
fn light_says_what_it_leaves_out() {
    let netns = PrivateNetns::new();
    let args = ["top", "--batch", "-n", "1", "--light", "--netns", &netns.selector()];
    let run = Run::of(Command::new(program()).args(args));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.contains("light"), "{}", run.stdout);
    assert!(run.stdout.contains("closers    unavailable: left out by --light"), "{}", run.stdout);
    for conflict in [&["-p", "1"][..], &["--comm", "x"], &["-D", "80"], &["--sort", "active"]] {
        let run = Run::of(Command::new(program()).args(["top", "--light"]).args(conflict));
        assert_eq!(run.code, Some(2), "{conflict:?}: {}", run.stderr);
        assert!(run.stderr.contains("--light"), "{conflict:?}: {}", run.stderr);
    }
}
