//! Process numbers that are used again at once: nobody is credited with what another did.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;
use twtrace_tests::faults::longer;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::recording::{Place, Recording, reading};
use twtrace_tests::snapshot::missed;
use twtrace_tests::tool::helper;
use twtrace_tests::traffic::{End, Family, Traffic};

/// With `TWTRACE_TESTS_LONG=20` there are 100,000.
const PROCESSES: u64 = 5_000;
/// So few numbers are shared by all of them.
const NUMBERS: u64 = 8;

/// Makes `count` processes, each with one connection; returns their numbers, in order.
fn churn(netns: &PrivateNetns, count: u64) -> Vec<u64> {
    let all = Traffic::closed_by(End::Client, count);
    let listener = netns.run(|| Family::V4.listen());
    let port = listener.local_addr().expect("its address").port().to_string();
    let server = thread::spawn(move || all.serve(&listener));
    let mut command = Command::new(helper("twtrace-named"));
    command.args(["reborn", &port, &count.to_string(), &NUMBERS.to_string()]);
    let output = netns.spawn(command.stdout(Stdio::piped())).wait_with_output();
    let output = output.expect("waiting for the processes");
    assert!(output.status.success(), "{}", output.status);
    assert_eq!(server.join().expect("the server ends").closed_second, count);
    let text = String::from_utf8(output.stdout).expect("numbers");
    text.lines().map(|line| line.parse().expect("a number")).collect()
}

#[test]
fn a_number_that_is_used_again_is_another_process() {
    let count = PROCESSES * longer();
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("trace.twt");
    let recording = Recording::on(&netns, &file, &["--ring-size", "64M"]);
    let numbers = churn(&netns, count);
    let done = recording.finish();
    let mut distinct = numbers.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert!((distinct.len() as u64) < count / 10, "{} numbers were used again", distinct.len());

    let top = (count + 10).to_string();
    let run = reading(&["report", "--json", "--top", &top], &[&file]);
    assert_eq!((run.code, &run.stderr[..]), (Some(0), ""));
    let snapshot = done.forgiving(run.snapshots().remove(0));
    let missed = missed(&snapshot);
    let rows = snapshot["closers"].as_array().expect("a list");
    let clients: BTreeMap<&str, &Value> = rows
        .iter()
        .filter(|row| row["role"] == "client")
        .map(|row| (row["comm"].as_str().expect("it is told"), row))
        .collect();
    let mut absent = 0;
    for (i, number) in numbers.iter().enumerate() {
        let Some(row) = clients.get(&format!("reborn-{i}")[..]) else {
            absent += 1;
            continue;
        };
        assert_eq!((&row["pid"], &row["active_closes"]), (&(*number).into(), &1.into()), "{row:#}");
    }
    assert!(absent <= missed, "{absent} of {count} are not there, {missed} were missed");
    assert_eq!(clients.len() as u64 + absent, count, "nobody else closed anything");
    // Every one began at another time, so that the same number is told apart.
    let started =
        |row: &&Value| (row["pid"].as_u64(), row["start_time"].as_str().map(String::from));
    assert!(clients.values().all(|row| started(row).1.is_some()));
}
